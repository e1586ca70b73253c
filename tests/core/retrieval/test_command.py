from collections.abc import Callable

import pytest

from onaspr_core.retrieval.__main__ import main
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.workspace import Workspace

CAPTIONS = {"a.mp4": "a dog runs", "b.mp4": "a blue bird sings", "c.mp4": "a cat sleeps"}
SETTINGS = """
[embedding]
model = "./model"
[pools.all]
format = "folder"
path = "captions.csv"
videos = "videos"
seed = 5
[backbones]
[experiments]
"""


def test_it_prints_the_nearest_captions_and_says_what_is_wrong(
    open_pools: Callable[..., Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = open_pools(CAPTIONS)
    file = workspace.settings.base / "settings.toml"
    file.write_text(SETTINGS)
    assert main(["all", "a blue bird", "--settings", str(file)]) == 1
    assert "materialize caption_embeddings" in capsys.readouterr().err
    embed_captions(workspace)
    assert main(["all", "a blue bird", "-k", "2", "--settings", str(file)]) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("b.mp4, a blue bird sings") and "b.mp4" not in second
    assert main(["none", "a blue bird", "--settings", str(file)]) == 1
    assert "allowed: all" in capsys.readouterr().err
