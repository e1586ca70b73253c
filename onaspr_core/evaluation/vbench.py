"""VBench's own results, read from the `*_eval_results.json` that its `evaluate` writes.

The form, as `vbench/__init__.py` of Vchitect/VBench writes it: an object of dimension →
[score, [{"video_path", "video_results", …}, …]]. A score is VBench's and not the mean of its videos: subject
consistency is a mean over frames, imaging quality may be on 0 … 1 beside videos on 0 … 100, and color leaves
out videos without the object. So nothing is computed anew here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from onaspr_core.errors import UserError


@dataclass(frozen=True)
class VBenchDimension:
    """One dimension: its score as VBench gives it, and each video's result by the path that VBench wrote.

    Results that are true or false (human action, dynamic degree) are 1.0 or 0.0.
    """

    name: str
    score: float
    videos: Mapping[str, float]

    @property
    def n(self) -> int:
        """How many videos have a result."""
        return len(self.videos)


def parse_vbench(text: str | bytes, where: str) -> dict[str, VBenchDimension]:
    """The dimensions of one results file, by name in the file's order; `where` names it in errors.

    Raises UserError for what is not JSON or not of VBench's form, for a number that is not finite, and for a
    dimension without videos or with one twice.
    """
    try:
        content = json.loads(text)
    except ValueError as problem:
        raise UserError(f"{where} is not JSON ({problem}); give VBench's *_eval_results.json.") from problem
    if not isinstance(content, dict) or not content:
        raise UserError(
            f"{where} holds no VBench dimensions; give its *_eval_results.json, not *_full_info.json."
        )
    return {name: _dimension(name, value, where) for name, value in content.items()}


def _dimension(name: str, value: object, where: str) -> VBenchDimension:
    place = f"{where}, dimension {name}"
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], list):
        raise UserError(f"{place}: expected [score, [videos]] as VBench writes it, found {_shown(value)}.")
    videos: dict[str, float] = {}
    for position, one in enumerate(value[1]):
        at = f"{place}, video {position}"
        if not isinstance(one, dict) or not isinstance(one.get("video_path"), str):
            raise UserError(f"{at}: expected video_path and video_results, found {_shown(one)}.")
        path = one["video_path"]
        if path in videos:
            raise UserError(f"{at}: {path} is there twice; evaluate each video once.")
        videos[path] = _number(one.get("video_results"), at)
    if not videos:
        raise UserError(f"{place}: there is a score and no video; run VBench with the videos in place.")
    return VBenchDimension(name, _number(value[0], place), videos)


def _number(value: object, place: str) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{place}: expected a finite number, found {_shown(value)}; run VBench on it again.")
    return float(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
