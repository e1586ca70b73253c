"""What moves which setting."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from onaspr_core import parameters
from onaspr_core.parameters import contents, version
from onaspr_core.paths import file_sha256
from onaspr_core.settings import load_settings


def versions(file: Path) -> dict[str, str]:
    return {where: version(content) for where, content in contents(load_settings(file)).items()}


def moved(file: Path, edit: Callable[[str], str]) -> set[str]:
    """Names of the settings whose version an edit of the file moves."""
    before = versions(file)
    file.write_text(edit(file.read_text()))
    after = versions(file)
    return {where for where in after if before.get(where) != after[where]}


def test_eta_moves_alone(settings_file: Path) -> None:
    assert moved(settings_file, lambda text: text.replace("eta = 0.5", "eta = 0.6")) == {"eta|one"}


def test_equal_values_move_nothing(settings_file: Path) -> None:
    assert moved(settings_file, lambda text: text.replace("eta = 0.5", "eta = 0.50 # the same")) == set()


def test_steps_move_sampling_and_inversion_but_guidance_moves_sampling_alone(settings_file: Path) -> None:
    add = "gamma = 0.2\nsampling = {{ steps = {}, guidance_scale = {} }}"
    assert moved(settings_file, lambda text: text.replace("gamma = 0.2", add.format(50, 5.0))) == {
        "sampling|one",
        "sampling|two",
    }
    assert moved(settings_file, lambda text: text.replace("steps = 50", "steps = 25")) == {
        f"{name}|{experiment}" for name in ("sampling", "inversion") for experiment in ("one", "two")
    }


def test_batch_sizes_move_nothing(settings_file: Path) -> None:
    add = "gamma = 0.2\nsampling = { batch_size = 4 }"
    assert moved(settings_file, lambda text: text.replace("gamma = 0.2", add)) == set()


def test_the_choice_of_a_pool_moves_alone(settings_file: Path) -> None:
    settings_file.write_text(
        settings_file.read_text() + '[pools.q]\nformat = "webvid"\npath = "pool.csv"\nvideos = "."\n'
    )
    assert moved(settings_file, lambda text: text.replace('pool = "p"', 'pool = "q"', 1)) == {"source|one"}


def test_another_row_in_a_file_moves_the_setting_that_names_it(settings_file: Path) -> None:
    def add_row(name: str) -> set[str]:
        before = versions(settings_file)
        with (settings_file.parent / name).open("a") as file:
            file.write("one more\n")
        after = versions(settings_file)
        return {where for where in after if before[where] != after[where]}

    assert add_row("prompts.txt") == {"prompts|one", "prompts|two"}
    assert add_row("pool.csv") == {"pool"}
    text = settings_file.read_text()
    settings_file.write_text(text.replace("eta = 1.0", 'eta = 1.0\ninversion.scope = "pool"'))
    assert add_row("pool.csv") == {"pool", "inversion|two"}


@pytest.mark.parametrize(
    "change",
    [
        'evaluation.metrics = ["is", "fid", "clip_fid", "clipsim", "fvd"]',
        "rewriter = { timeout_seconds = 5.0 }",
        "evaluation.batch_size = 3",
        "inversion = { batch_size = 4 }",
    ],
)
def test_what_changes_no_result_moves_nothing(settings_file: Path, change: str) -> None:
    assert (
        moved(settings_file, lambda text: text.replace("gamma = 0.2", f"gamma = 0.2\n{change}", 1)) == set()
    )


def test_another_choice_of_metrics_moves_the_evaluation_alone(settings_file: Path) -> None:
    chosen = 'gamma = 0.2\nevaluation.metrics = ["kid"]'
    assert moved(settings_file, lambda text: text.replace("gamma = 0.2", chosen, 1)) == {"evaluation|one"}


def test_results_of_vbench_move_the_evaluation_by_their_content(settings_file: Path) -> None:
    def named(text: str) -> str:
        return text.replace("gamma = 0.2", 'gamma = 0.2\nevaluation.vbench = ["r_eval_results.json"]', 1)

    (settings_file.parent / "r_eval_results.json").write_text("{}")
    assert moved(settings_file, named) == {"evaluation|one"}
    before = versions(settings_file)
    (settings_file.parent / "r_eval_results.json").rename(settings_file.parent / "moved.json")
    settings_file.write_text(settings_file.read_text().replace("r_eval_results.json", "moved.json"))
    assert versions(settings_file) == before
    (settings_file.parent / "moved.json").write_text("{ }")
    after = versions(settings_file)
    assert {where for where in after if before[where] != after[where]} == {"evaluation|one"}


def test_a_motion_adapter_moves_the_backbone_by_its_content(settings_file: Path) -> None:
    for name in ("first", "second"):
        (settings_file.parent / name).mkdir()
        (settings_file.parent / name / "config.json").write_text("{}")
    table = 'family = "animatediff"\nmotion_adapter = "first"'
    both = {"backbone|one", "backbone|two"}
    assert moved(settings_file, lambda text: text.replace('family = "modelscope"', table)) == both
    assert moved(settings_file, lambda text: text.replace('"first"', '"second"')) == set()
    (settings_file.parent / "first" / "config.json").write_text("{ }")
    assert moved(settings_file, lambda text: text.replace('"second"', '"first"')) == both


def test_a_hubs_motion_adapter_moves_the_backbone_by_its_id_and_revision(settings_file: Path) -> None:
    (settings_file.parent / "folder").mkdir()
    (settings_file.parent / "folder" / "config.json").write_text("{}")
    both = {"backbone|one", "backbone|two"}

    def named(adapter: str, revision: str) -> set[str]:
        table = f'motion_adapter = "{adapter}"\nmotion_adapter_revision = "{revision}"'
        lines = [one for one in settings_file.read_text().splitlines() if "motion_adapter" not in one]
        text = "\n".join(lines).replace("modelscope", "animatediff")
        return moved(settings_file, lambda _: text.replace('path = "weights"', f'path = "weights"\n{table}'))

    assert named("a/b", "main") == both
    table = 'motion_adapter_revision = "main"\n'
    assert moved(settings_file, lambda text: text.replace(table, "")) == set()
    assert named("a/b", "v2") == both
    assert named("a/c", "v2") == both
    assert named("folder", "v2") == both
    assert named("folder", "v3") == set()


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('family = "modelscope"\npath = "o/m"', "8334cc6ff47afdf5895bf3f83717a07a8b12a836"),
        (
            'family = "animatediff"\npath = "o/m"\nmotion_adapter = "motion"',
            "5cc0e040a614fc0f82fe1a3b1dcba93ae7e9603a",
        ),
    ],
)
def test_a_backbone_that_says_nothing_of_an_adapters_revision_keeps_its_version(
    settings_file: Path, table: str, expected: str
) -> None:
    old = 'family = "modelscope"\npath = "weights"'
    settings_file.write_text(settings_file.read_text().replace(old, table))
    assert versions(settings_file)["backbone|one"] == expected


def test_images_have_no_frame_rate_and_are_told_from_videos(settings_file: Path) -> None:
    text = settings_file.read_text().replace(', video_classifier = "c"', "")
    settings_file.write_text(text.replace('path = "weights"', 'path = "weights"\nframes = 1'))
    assert contents(load_settings(settings_file))["backbone|one"]["encoding"] == ".png"  # type: ignore[index]
    assert moved(settings_file, lambda text: text.replace("frames = 1", "frames = 1\nfps = 5")) == set()


def test_the_device_moves_nothing_and_the_precision_moves_the_backbone(settings_file: Path) -> None:
    path = 'path = "weights"'
    assert moved(settings_file, lambda text: text.replace(path, f'{path}\ndevice = "cpu"')) == set()
    assert moved(settings_file, lambda text: text.replace(path, f'{path}\ndtype = "float16"')) == {
        "backbone|one",
        "backbone|two",
    }


def test_a_new_experiment_brings_its_own_settings_and_moves_no_other(settings_file: Path) -> None:
    def add(text: str) -> str:
        start = text.index("[experiments.two]")
        return text + text[start:].replace("two", "three")

    assert {where.partition("|")[2] for where in moved(settings_file, add)} == {"three"}


@pytest.mark.parametrize("where", ["pool", "eta|one"])
def test_contents_name_shared_settings_once_and_others_by_experiment(settings_file: Path, where: str) -> None:
    assert where in versions(settings_file)


def test_a_line_of_the_takedown_list_and_a_file_of_a_folder_move_the_pool(settings_file: Path) -> None:
    folder = settings_file.parent
    (folder / "gone.txt").write_text("a\n")
    (folder / "parts").mkdir()
    (folder / "parts/0.csv").write_text("videoid\n")
    text = settings_file.read_text().replace('path = "pool.csv"', 'path = "parts"\ntakedown = "gone.txt"')
    settings_file.write_text(text)
    seen = [versions(settings_file)["pool"]]
    (folder / "gone.txt").write_text("a\nb\n")
    seen.append(versions(settings_file)["pool"])
    (folder / "parts/1.csv").write_text("videoid\n")
    seen.append(versions(settings_file)["pool"])
    assert len(set(seen)) == 3
    assert versions(settings_file)["pool"] == seen[-1]


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_a_file_that_holds_videos_is_not_read_and_moves_the_pool(
    settings_file: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = settings_file.parent / {"webdataset": "0.tar", "parquet": "1.parquet"}[form]
    file.write_bytes(b"gigabytes")
    text = settings_file.read_text().replace('path = "pool.csv"', f'path = "{file.name}"')
    settings_file.write_text(text.replace('format = "webvid"', f'format = "{form}"', 1))

    def small(path: Path) -> str:
        assert path != file
        return file_sha256(path)

    monkeypatch.setattr(parameters, "file_sha256", small)
    seen = [versions(settings_file)["pool"]]
    (settings_file.parent / "0.parquet").write_bytes(b"what lies beside the tar")
    seen.append(versions(settings_file)["pool"])
    assert (seen[0] != seen[1]) == (form == "webdataset")
    file.write_bytes(b"more gigabytes")
    assert versions(settings_file)["pool"] not in seen


def test_the_benchmark_moves_a_pool_only_where_the_pool_refuses_its_items(settings_file: Path) -> None:
    benchmark = settings_file.parent / "benchmark.csv"
    benchmark.write_text("videoid\n")
    text = settings_file.read_text().replace(
        "gamma = 0.2\nevaluation.",
        'gamma = 0.2\nevaluation.benchmark = { path = "benchmark.csv", videos = "." }\nevaluation.',
    )

    def moved_by_a_row() -> bool:
        before = versions(settings_file)["pool"]
        with benchmark.open("a") as file:
            file.write("1\n")
        return versions(settings_file)["pool"] != before

    settings_file.write_text(text)
    assert not moved_by_a_row()
    settings_file.write_text(text.replace('videos = "."\n', 'videos = "."\nbenchmark_items = "refuse"\n', 1))
    assert moved_by_a_row()


def test_a_networks_content_and_what_pins_it_move_the_evaluation_alone(settings_file: Path) -> None:
    plain = {"image_classifier": "a", "image_text": "b", "video_classifier": "c"}
    assert contents(load_settings(settings_file))["evaluation|one"] == {
        "label": "x",
        "networks": plain,
        "benchmark": None,
        "inception_splits": 10,
        "bootstrap_samples": 2000,
        "seed": 0,
    }

    def put(old: str, new: str) -> set[str]:
        return moved(settings_file, lambda text: text.replace(old, new, 1))

    own = 'video_classifier = "c", inception_score_network = "c3d.safetensors"'
    assert put('video_classifier = "c"', own) == {"evaluation|one"}
    (settings_file.parent / "c3d.safetensors").write_bytes(b"weights")
    networks = contents(load_settings(settings_file))["evaluation|one"]["networks"]
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert networks == {**plain, "inception_score_network": sha256}
    assert put('image_text = "b"', 'image_text = { path = "a/b", revision = "v2" }') == {"evaluation|one"}
    assert put('"v2"', '"v3"') == {"evaluation|one"}
    pinned = f'{{ path = "c3d.safetensors", sha256 = "{sha256}" }}'
    assert put('"c3d.safetensors"', pinned) == {"evaluation|one"}
    networks = contents(load_settings(settings_file))["evaluation|one"]["networks"]
    assert networks["inception_score_network"] == {"content": sha256, "sha256": sha256}


def test_a_part_of_the_pool_moves_the_source_and_what_inverts_the_pool(settings_file: Path) -> None:
    assert contents(load_settings(settings_file))["source|one"] == {"pool": "p"}
    assert versions(settings_file)["source|one"] == "b78862280156ac4aa73a5b060917b0415bd69329", (
        "as before there were parts"
    )
    assert moved(settings_file, lambda text: text.replace("eta = 0.5", "eta = 0.5\npool_size = 50")) == {
        "source|one"
    }
    whole = 'eta = 1.0\ninversion.scope = "pool"'
    moved(settings_file, lambda text: text.replace("eta = 1.0", whole))
    assert "size" not in contents(load_settings(settings_file))["inversion|two"]
    assert moved(settings_file, lambda text: text.replace(whole, f"{whole}\npool_size = 60")) == {
        "source|two",
        "inversion|two",
    }


def test_studies_move_by_themselves_and_by_what_they_say(settings_file: Path) -> None:
    said = '[studies]\nexperiments = ["one"]\nrewriters = { a = { model = "m" } }\n'
    assert moved(settings_file, lambda text: f"{text}{said}") == {"studies"}
    assert moved(settings_file, lambda text: text.replace('"m"', '"m", timeout_seconds = 3.0')) == set()
    assert moved(settings_file, lambda text: text.replace('"m"', '"n"')) == {"studies"}
    usual = "eta = [0, 0.1, 0.2, 0.5, 1, 2, 5, 10, inf]\nrewriters"
    assert moved(settings_file, lambda text: text.replace("rewriters", usual)) == set()
    assert moved(settings_file, lambda text: text.replace(", inf]", "]")) == {"studies"}
