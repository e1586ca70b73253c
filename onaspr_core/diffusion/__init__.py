"""The method's arithmetic: noise levels, the two solvers, noise and hybrid semantics.

Pure functions of tensors and numbers. Models, files and settings do not belong here.
"""
