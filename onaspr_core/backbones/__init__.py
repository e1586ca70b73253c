"""Diffusion models behind one protocol: `protocol` says what is asked of one, `registry` loads one.

A family is one file. Solvers, noise and everything else that does not depend on the model stay outside.
"""
