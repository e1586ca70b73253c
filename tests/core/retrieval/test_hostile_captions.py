"""Captions that would be SQL, HTML or Markdown if anybody took them for it."""

import re
from pathlib import Path

from onaspr_core.pool.manifest import build_manifest
from onaspr_core.prompts import ingest_prompts
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.neighbours import neighbours_of
from tests.core.pool.rows import statuses
from tests.core.retrieval.asking import Ask, Open

CAPTIONS = {
    "a.mp4": "'); drop table manifest; --",
    "b.mp4": "x' or '1'='1",
    "c'd.mp4": "<script>fetch('http://evil.test')</script> red ball",
    "e.mp4": "![](http://evil.test/x.png) red ball",
    "f.mp4": "red ball' or rank >= 0 --",
}
PROMPT = "red ball' ![](http://evil.test/x.png) <script>alert(1)</script>"


def harmless(markdown: str) -> bool:
    """Whether no picture, link or element stands in it."""
    return not re.search(r"(?<!\\)(!\[|\]\()|<\w", markdown)


def test_they_are_kept_found_and_shown_as_they_are_and_do_nothing(
    open_pools: Open, ask: Ask, tmp_path: Path
) -> None:
    workspace = open_pools(CAPTIONS)
    experiment, outcome = ask(workspace, {"p'1": PROMPT}, k=len(CAPTIONS))
    ((prompt_id, found),) = neighbours_of(workspace, experiment).items()
    assert prompt_id == "p'1"
    assert {one.pair_id: one.caption for one in found} == CAPTIONS
    assert {one.caption for one in found[:2]} <= {CAPTIONS[name] for name in ("c'd.mp4", "e.mp4", "f.mp4")}
    for shown in (outcome.preview, ingest_prompts(workspace, experiment).preview):
        assert shown is not None and "evil.test" in shown.markdown and harmless(shown.markdown)
    assert not harmless(PROMPT)

    gone = "f.mp4"
    listed = tmp_path / "captions.csv"
    listed.write_text("\n".join(line for line in listed.read_text().splitlines() if gone not in line))
    build_manifest(workspace)
    embed_captions(workspace)
    assert statuses(workspace).keys() == CAPTIONS.keys() - {gone}
    experiment, _ = ask(workspace, {"p'1": PROMPT}, k=len(CAPTIONS))
    left = neighbours_of(workspace, experiment)["p'1"]
    assert {one.pair_id for one in left} == CAPTIONS.keys() - {gone}
