"""The embedded default: a procedural world of captioned clips, and small models trained on it.

What lives here: the world's attributes, captions and renders, the MP4 files of its pool and benchmark,
the code that trains the shipped models, and the weights themselves (`weights/`).
What does not: loading models for generation (`onaspr_core.backbones`), ingestion of pools
(`onaspr_core.pool`) and metrics (`onaspr_core.evaluation`): the miniature goes through the same code as
WebVid and ModelScope do.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""The folder of the shipped models: text-to-video, image-text, image-classifier, video-classifier."""
