"""Checks: what is looked at after a stage, and what is said of it.

A check reads what a stage stored and compares it with what should be there. It makes nothing, loads no model,
and decides nothing: whether work goes on after a failed check is the business of `onaspr_assets`.
"""
