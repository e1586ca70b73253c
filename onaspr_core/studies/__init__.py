"""The paper's tables and figures, made again: which videos each compares, and how it is shown.

A study sets one thing after another and scores what comes out, through the same items as every experiment:
what exists is found again, what is missing is made and kept. What does not belong here: making and scoring
videos themselves (`generation`, `evaluation`), and the page that shows studies (`reports`).
"""
