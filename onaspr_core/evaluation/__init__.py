"""Scores of generated videos: frame sampling, feature extractors, distances, paired statistics.

Belongs here: everything between a finished video and a number with its n and its interval, and
the real side of a benchmark. Does not belong here: how numbers are shown (`onaspr_core.reports`)
and how videos are made (`onaspr_core.generation`).
"""
