"""Media: the frames of video and image files, the files of frames, and frames as models have them.

What does not belong here: where files lie and which a pool has (`pool`), what a clip is, which frames a
metric sees (`evaluation`), figures and pages (`reports`), and settings, stores and models of any kind.
"""
