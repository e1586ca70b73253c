"""VBench's own results, read from the `*_eval_results.json` that its `evaluate` writes.

The form, as `vbench/__init__.py` of Vchitect/VBench writes it: an object of dimension →
[score, [{"video_path", "video_results", …}, …]]. A score is VBench's and not the mean of its videos: subject
consistency is a mean over frames, imaging quality may be on 0 … 1 beside videos on 0 … 100, and color leaves
out videos without the object. So nothing is computed anew here.

A result belongs to a video by its content key, which the names of videos hold: one results file serves all
variants.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onaspr_core.artifacts import content_key
from onaspr_core.errors import UserError
from onaspr_core.paths import file_sha256, resolve
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.video_names import key_in_name
from onaspr_core.workspace import Workspace


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


@dataclass(frozen=True)
class VBenchResults:
    """Results by dimension and by content key of the video; `unknown` are paths of no video of the store.

    `fingerprint` is that of the files; it is empty where there are none.
    """

    dimensions: Mapping[str, Mapping[str, float]]
    unknown: frozenset[str]
    fingerprint: str
    label: str = "VBench"
    name: str = "VBench's own results"

    @property
    def videos(self) -> frozenset[str]:
        """The keys of all videos that have a result."""
        return frozenset(key for results in self.dimensions.values() for key in results)


def read_vbench(workspace: Workspace, e: Experiment) -> VBenchResults:
    """The results files that the experiment names, together.

    A path that VBench wrote is known by the key in its name, or else by the bytes of the file, where that is
    there and a video of the store. Raises UserError for a file that cannot be read or is of another form, and
    for two results of one video that differ.
    """
    files = [Path(resolve(path, workspace.settings.base)) for path in e.evaluation.vbench]
    keys: dict[str, list[str]] = {}
    dimensions: dict[str, dict[str, float]] = {}
    for file in files:
        for name, dimension in parse_vbench(_bytes(file), str(file)).items():
            results = dimensions.setdefault(name, {})
            for path, value in dimension.videos.items():
                if path not in keys:
                    keys[path] = _keys_of(workspace, path)
                for key in keys[path]:
                    if results.setdefault(key, value) != value:
                        raise UserError(
                            f"{file}, dimension {name}: {path} has the result {value:g}, and before it the "
                            f"same video had {results[key]:g}; name no earlier results of it."
                        )
    unknown = frozenset(path for path, found in keys.items() if not found)
    fingerprint = content_key("vbench", files=[file_sha256(file) for file in files]) if files else ""
    return VBenchResults(dimensions, unknown, fingerprint)


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise UserError(
            f"{file} cannot be read: {problem.strerror or problem}; put VBench's results there, or take it "
            "out of evaluation.vbench."
        ) from problem


def _keys_of(workspace: Workspace, path: str) -> list[str]:
    """The video that a path names, or those whose bytes the file has: its result holds for all of them."""
    if key := key_in_name(path):
        return [key]
    try:
        file = Path(resolve(path, workspace.settings.base))
        return workspace.store.keys_of_content(VIDEO, file_sha256(file)) if file.is_file() else []
    # What VBench wrote need be no path here: a name that is too long, a user who is not there.
    except (OSError, ValueError, UserError):
        return []


def parse_vbench(text: str | bytes, where: str) -> dict[str, VBenchDimension]:
    """The dimensions of one results file, by name in the file's order; `where` names it in errors.

    Raises UserError for what is not JSON or not of VBench's form, for a number that is not finite, and for a
    dimension without videos or with one twice.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as problem:
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
    if not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise UserError(f"{place}: expected a finite number, found {_shown(value)}; run VBench on it again.")
    return float(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
