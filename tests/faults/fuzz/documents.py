"""Bad documents: settings, prompts, lists of benchmarks, VBench's results, takedown lists."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from onaspr_core.errors import UserError
from onaspr_core.evaluation.benchmark_lists import read_benchmark
from onaspr_core.pool.withdrawal import takedown_names
from onaspr_core.prompts import read_prompt_file
from onaspr_core.settings import BenchmarkSettings, load_settings
from tests.faults.fuzz.damage import damaged
from tests.faults.fuzz.pools import assert_told, workspace_of
from tests.faults.fuzz.sandbox import taking_in
from tests.faults.fuzz.texts import hostile

DEEP, LONG, BIG = 100_000, 10_000_000, "9" * 5000

JSON: tuple[Callable[[Random], str], ...] = (
    lambda rng: "",
    lambda rng: "null",
    lambda rng: "[]",
    lambda rng: "{}",
    lambda rng: "[" * DEEP,
    lambda rng: "[" * DEEP + "]" * DEEP,
    lambda rng: '{"a":' * DEEP + "1" + "}" * DEEP,
    lambda rng: BIG,
    lambda rng: f'{{"subject": [{BIG}, []]}}',
    lambda rng: '{"a": NaN, "b": -Infinity, "c": 1e999}',
    lambda rng: '{"a": 1, "a": 2}',
    lambda rng: '"' + "x" * LONG + '"',
    lambda rng: "\ufeff{}",
    lambda rng: '{"id": "\\udc00", "prompt": "a \\ud83d", "\\ud800": "x"}',
    lambda rng: json.dumps({"subject": [1, [{"video_path": "x" * 5000, "video_results": 1}]]}),
    lambda rng: json.dumps({"subject": [1, [{"video_path": "~nobody/x", "video_results": 1}]]}),
    lambda rng: json.dumps({"subject": [1, [{"video_path": "\0", "video_results": 10**400}]]}),
    lambda rng: "{" + ",".join(f'"k{i}": {i}' for i in range(50_000)) + "}",
)

VALUES: tuple[Callable[[Random], Any], ...] = (
    lambda rng: None,
    lambda rng: rng.choice((0, -1, 2**31, 2**63, 2**64, -(2**200), 10**400, 0.0, 1e308, 5e-324)),
    lambda rng: rng.choice((float("inf"), float("nan"), -0.0)),
    lambda rng: rng.choice((True, [], {}, [[]], [None], {"a": {}}, "")),
    hostile,
    lambda rng: {hostile(rng): hostile(rng)},
    lambda rng: [hostile(rng)] * rng.choice((1, 2, 1000)),
)


def with_changes(rng: Random, value: Any, times: int = 3) -> Any:
    """A copy of a JSON value with values, keys or items replaced, doubled or gone."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, times)):
        place, key = rng.choice(list(_places(value)))
        match rng.randrange(4):
            case 0:
                del place[key]
            case 1 if isinstance(place, list):
                place.append(place[key])
            case 1:
                place[hostile(rng)] = place.pop(key)
            case _:
                place[key] = rng.choice(VALUES)(rng)
        if not value:
            break
    return value


def _places(value: Any) -> Any:
    """Every place of a value that holds another."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def json_bytes(rng: Random, number: int, valid: Any) -> bytes:
    """A document of no form, or one of some form with changes of values or of bytes."""
    if number < len(JSON):
        return JSON[number](rng).encode()
    if rng.random() < 0.7:
        changed = json.dumps(with_changes(rng, valid), ensure_ascii=rng.random() < 0.5)
        return changed.encode("utf-8", "surrogatepass")
    return damaged(rng, json.dumps(valid).encode())


def _refused_or_read(folder: Path, read: Callable[[], Any]) -> Any:
    """What is read of a document, None for one that is refused with a reason."""
    with taking_in(folder):
        try:
            return read()
        except UserError as problem:
            assert_told(str(problem))
            return None


VBENCH = {
    "subject_consistency": [0.9, [{"video_path": f"v/{i}.mp4", "video_results": 0.5 + i} for i in range(3)]],
    "human_action": [1.0, [{"video_path": "v/0.mp4", "video_results": True}]],
}


def vbench(folder: Path, number: int, rng: Random) -> None:
    """VBench's results."""
    # It brings PyTorch, which no other kind of input needs.
    from onaspr_core.evaluation.vbench import read_vbench

    (folder / "results.json").write_bytes(json_bytes(rng, number, VBENCH))
    workspace = workspace_of(folder, format="folder", path=".")
    evaluation: Any = SimpleNamespace(evaluation=SimpleNamespace(vbench=("results.json",)))
    found = _refused_or_read(folder, lambda: read_vbench(workspace, evaluation))
    assert found is None or found.unknown


_LISTS: dict[str, Any] = {
    "msr-vtt": {
        "videos": [{"video_id": f"video{i}", "split": "test", "url": "u"} for i in range(3)],
        "sentences": [
            {"video_id": f"video{i % 3}", "caption": f"caption {i}", "sen_id": i} for i in range(6)
        ],
    },
    "coco": {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg"} for i in range(3)],
        "annotations": [{"image_id": i % 3, "id": i, "caption": f"caption {i}"} for i in range(6)],
    },
    "flickr30k": {
        "images": [
            {"filename": f"{i}.jpg", "split": "test", "imgid": i, "sentences": [{"raw": "a", "sentid": i}]}
            for i in range(3)
        ]
    },
}
UCF101 = "Archery/v_Archery_g01_c01.avi\nBowling/v_Bowling_g01_c02.avi\n"
WEBVID = "videoid,contentUrl,duration,page_dir,name\n1,,1,d,a cat\n2,,1,d,a dog\n"


def benchmark(folder: Path, number: int, rng: Random) -> None:
    """Lists of benchmarks: a row of one that is read has a caption and a file, or a problem."""
    form = ("msr-vtt", "coco", "flickr30k", "ucf101", "webvid")[number % 5]
    if form in _LISTS:
        name, data = "list.json", json_bytes(rng, number // 5, _LISTS[form])
    else:
        text = UCF101 if form == "ucf101" else WEBVID
        name, data = ("list.txt" if form == "ucf101" else "list.csv"), damaged(rng, text.encode())
        if rng.random() < 0.3:
            data = text.encode() + f"3,,1,d,{hostile(rng)!r}\n".encode("utf-8", "surrogatepass")
    (folder / name).write_bytes(data)
    settings = BenchmarkSettings.model_validate({"format": form, "path": name, "videos": "videos"})
    found = _refused_or_read(folder, lambda: read_benchmark(settings, folder))
    for row in found.rows if found else ():
        assert row.id and (row.problem or (row.caption and "\0" not in row.caption and row.media.path)), row
        row.caption.encode()
        assert "/../" not in f"/{row.media.path}/" or row.problem, row


PROMPTS = {
    ".txt": "a cat\na dog\n",
    ".csv": 'id,prompt,class\n1,a cat,x\n2,"a, dog",y\n',
    ".jsonl": '{"id": "1", "prompt": "a cat"}\n{"id": "2", "prompt": "a dog", "class": "y"}\n',
}


def prompts(folder: Path, number: int, rng: Random) -> None:
    """Prompt files: what is read can be stored, and has an id and a text."""
    suffix = (".txt", ".csv", ".jsonl")[number % 3]
    text = PROMPTS[suffix]
    match rng.randrange(4):
        case 0:
            data = damaged(rng, text.encode())
        case 1 if suffix == ".jsonl":
            data = text.encode() + json_bytes(
                rng, rng.randrange(len(JSON) + 5), {"id": "3", "prompt": "a pig"}
            )
        case 1 if suffix == ".csv":
            data = f'{text}3,"{hostile(rng)}",{"z" * rng.choice((1, 200_000))}\n'.encode()
        case _:
            data = f"{text}{hostile(rng)}\n".encode()
    file = folder / f"prompts{suffix}"
    file.write_bytes(data)
    for prompt in _refused_or_read(folder, lambda: read_prompt_file(file)) or ():
        assert prompt.id and prompt.text
        assert prompt.key
        prompt.text.encode()


def takedown(folder: Path, number: int, rng: Random) -> None:
    """Takedown lists."""
    lines = (hostile(rng) for _ in range(3))
    (folder / "takedown.txt").write_bytes(damaged(rng, "\n".join(lines).encode())[:50_000])
    settings = workspace_of(folder, format="folder", path=".", takedown="takedown.txt").settings.pools["p"]
    _refused_or_read(folder, lambda: takedown_names(settings, folder))


SETTINGS = """
[store]
root = "store"
[embedding]
model = "stand-in/embedder"
batch_size = 8
[checks]
[pools.clips]
format = "folder"
path = "captions.csv"
videos = "videos"
licence = "CC0"
size = 100
seed = 1
caption_limit = 2000
takedown = "takedown.txt"
filter = [{ column = "licence", between = [0, 1] }, { column = "x", one_of = ["a", 1] }]
columns = { id = "file" }
clip = { resolution = 16, frame_stride = 2, max_frames = 3, fps = 8.0, crf = 14 }
[backbones.tiny]
family = "modelscope"
path = "stand-in/model"
frames = 3
height = 16
width = 16
[experiments.one]
pool = "clips"
backbone = "tiny"
prompts = "prompts.txt"
seed = 3
pool_size = 50
eta = 0.5
gamma = 0.5
references.k = 2
rewriter = { model = "stand-in", temperature = 0.5, seed = 1, timeout_seconds = 10 }
sampling = { steps = 4, guidance_scale = 2.0, batch_size = "auto" }
inversion = { similarity_gate = [0.1, 0.9], forward_diffusion_steps = 1 }
[experiments.one.evaluation]
metrics = ["fvd"]
inception_splits = 1
bootstrap_samples = 20
benchmark = { path = "benchmark.csv", videos = "real" }
vbench = ["prompts.txt"]
[experiments.one.evaluation.features]
label = "tiny"
image_classifier = "stand-in/classifier"
image_text = "stand-in/text"
video_classifier = { path = "stand-in/classifier", revision = "main" }
[studies]
eta = [0.1, inf]
pool_sizes = [10, 50]
"""
TOML: tuple[Callable[[Random], str], ...] = (
    lambda rng: "",
    lambda rng: "\0",
    lambda rng: "a = " + "[" * DEEP,
    lambda rng: "a = " + "[" * DEEP + "]" * DEEP,
    lambda rng: "a = " + "{a = " * 20_000,
    lambda rng: "a." * 50_000 + "b = 1",
    lambda rng: "[" + "a." * 50_000 + "b]",
    lambda rng: "a = 1\na = 2",
    lambda rng: "[pools.clips]\n[pools.clips]",
    lambda rng: f"a = {BIG}",
    lambda rng: f"a = 0x{'f' * 20_000}",
    lambda rng: f"a = {BIG}.5e{BIG}",
    lambda rng: f"{'x' * LONG} = 1",
    lambda rng: "".join(f"[pools.p{i}]\n" for i in range(100)),
)
_WRONG = (
    *(
        "-1",
        "0",
        "2147483648",
        "9223372036854775808",
        BIG[:400],
        "1e400",
        "inf",
        "-inf",
        "nan",
        "true",
        "[]",
        "{}",
    ),
    *(
        '""',
        "2020-01-01",
        '"\\u0000"',
        '"~nobody-of-that-name/x"',
        '"a**b/**"',
        '"*"',
        '"/"',
        '"package:"',
        '"::://"',
    ),
    *(
        '"package:..x/y"',
        '"package:onaspr_core/../../x"',
        f'"{"x" * 5000}"',
        f'"{"x/" * 3000}"',
        '"[[]"',
        '"..\\\\"',
    ),
    *('["a"]', "[[[]]]", '{path = "x"}', "9" * 18, '"s3:/x"', '"file:///etc/passwd"', '"\\U0001F600"', '"?"'),
)


def settings(folder: Path, number: int, rng: Random) -> None:
    """Settings: what is read is a number that can be computed with."""
    (folder / "videos").mkdir()
    (folder / "real").mkdir()
    for name in ("captions.csv", "prompts.txt", "benchmark.csv", "takedown.txt"):
        (folder / name).write_text("")
    data = SETTINGS.encode()
    if number < len(TOML):
        data = TOML[number](rng).encode()
    elif number % 3:
        lines = SETTINGS.splitlines()
        for _ in range(rng.randint(1, 2)):
            at = rng.choice([i for i, line in enumerate(lines) if " = " in line])
            key = lines[at].partition(" = ")[0]
            lines[at] = f"{rng.choice((key, key, key, 'seed', 'size'))} = {rng.choice(_WRONG)}"
        data = "\n".join(lines).encode()
    else:
        data = damaged(rng, data)
    (folder / "settings.toml").write_bytes(data)
    found = _refused_or_read(folder, lambda: load_settings(folder / "settings.toml"))
    if found is not None:
        found.model_dump_json()
        assert all(-(2**63) <= one < 2**63 for one in _numbers(found.model_dump()))


def _numbers(value: Any) -> list[int]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    own = [value] if isinstance(value, int) else []
    return own + [number for one in inner for number in _numbers(one)]
