from pathlib import Path

import pytest

from onaspr_core.__main__ import main
from onaspr_core.errors import UserError
from onaspr_core.settings import Experiment, NetworkSettings, Settings, load_settings
from onaspr_core.studies.__main__ import main as studies

GOOD = """
[pools.p]
format = "webvid"
path = "pool.csv"
videos = "."
[backbones.b]
family = "modelscope"
path = "weights"
[experiments.e]
pool = "p"
backbone = "b"
prompts = "prompts.txt"
eta = 0.5
gamma = 0.2
[experiments.e.evaluation.features]
label = "x"
image_classifier = "a"
image_text = "b"
video_classifier = "c"
"""


def write(folder: Path, text: str) -> Path:
    (folder / "pool.csv").touch()
    (folder / "prompts.txt").touch()
    file = folder / "settings.toml"
    file.write_text(text)
    return file


def mistakes(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as error:
        load_settings(write(folder, text))
    return str(error.value)


def test_good_settings_load_with_defaults_and_know_their_folder(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, GOOD))
    assert settings.base == tmp_path
    assert settings.experiments["e"].name == "e"
    assert settings.experiments["e"].sampling.steps == 50
    assert settings.pools["p"].size == 100_000


def test_every_mistake_is_listed_at_once_with_its_key_and_what_is_allowed(tmp_path: Path) -> None:
    text = GOOD.replace("eta = 0.5", "eta = -1\netta = 3").replace("gamma = 0.2", "gamma = 1.5")
    text = text.replace('backbone = "b"', 'backbone = "zzz"').replace('"pool.csv"', '"nowhere.csv"')
    text += '[experiments."a/b"]\neta = nan\n'
    told = mistakes(tmp_path, text)
    for expected in (
        "experiments.e.eta: input should be greater than or equal to 0, got -1",
        "experiments.e.etta: unknown key",
        "experiments.e.gamma: input should be less than or equal to 1, got 1.5",
        "experiments.e.backbone: unknown backbone 'zzz'; allowed: b",
        "pools.p.path: 'nowhere.csv' does not exist",
        "experiments.a/b: 'a/b' is not a name; allowed: letters",
        "experiments.a/b.eta: ",
    ):
        assert expected in told


def test_keys_have_no_place_in_the_settings_and_are_not_repeated(tmp_path: Path) -> None:
    told = mistakes(tmp_path, f'[store]\nroot = "s3://me:planted@bucket/store"\n{GOOD}')
    assert "store.root: names a user or a key; leave it out" in told and "planted" not in told
    load_settings(write(tmp_path, f'[store]\nroot = "s3://bucket/a@b"\n{GOOD}'))


def test_nothing_is_written_when_settings_are_wrong(tmp_path: Path) -> None:
    mistakes(tmp_path, GOOD.replace("eta = 0.5", "eta = -1"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pool.csv", "prompts.txt", "settings.toml"]


@pytest.mark.parametrize(
    ("given", "told"), [('["fid", "kdi"]', "unknown metric 'kdi'"), ("[]", "names no metric")]
)
def test_a_metric_that_is_not_known_is_a_mistake_that_names_all(
    tmp_path: Path, given: str, told: str
) -> None:
    text = GOOD.replace(
        "[experiments.e.evaluation.features]",
        f"""[experiments.e.evaluation]
metrics = {given}
[experiments.e.evaluation.features]""",
    )
    found = mistakes(tmp_path, text)
    assert f"experiments.e.evaluation.metrics: {told}; allowed: fid, clip_fid, clipsim, fvd, is, kid" in found
    assert "frame_consistency" in found


@pytest.mark.parametrize("text", ["pools = 3", "experiments = 1", "[experiments]\ne = 2", "[pools]\np = []"])
def test_sections_of_the_wrong_shape_are_mistakes_and_not_crashes(tmp_path: Path, text: str) -> None:
    assert "mistake" in mistakes(tmp_path, text)


def test_a_file_that_is_not_toml_or_not_there_says_so(tmp_path: Path) -> None:
    assert "not valid TOML" in mistakes(tmp_path, "eta = = 1")
    with pytest.raises(UserError, match="cannot be read"):
        load_settings(tmp_path / "absent.toml")


def test_numbers_in_quotes_are_refused(tmp_path: Path) -> None:
    assert "experiments.e.eta" in mistakes(tmp_path, GOOD.replace("eta = 0.5", 'eta = "0.5"'))


def test_infinite_eta_is_allowed_and_infinite_gamma_is_not(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, GOOD.replace("eta = 0.5", "eta = inf")))
    assert settings.experiments["e"].eta == float("inf")
    assert "gamma" in mistakes(tmp_path, GOOD.replace("gamma = 0.2", "gamma = inf"))


def test_an_unknown_experiment_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no experiment 'f' in the settings; allowed: e"):
        load_settings(write(tmp_path, GOOD)).experiment("f")


def test_equal_values_are_equal_settings(tmp_path: Path) -> None:
    first = load_settings(write(tmp_path, GOOD))
    same = GOOD.replace("eta = 0.5\ngamma = 0.2", "gamma = 0.20 # twenty percent\neta = 0.50")
    assert load_settings(write(tmp_path, same)) == first
    assert load_settings(write(tmp_path, GOOD.replace("eta = 0.5", "eta = 0.51"))) != first


def test_model_folders_that_are_not_there_are_mistakes_and_hub_ids_are_not(tmp_path: Path) -> None:
    text = GOOD.replace('path = "weights"', 'path = "./weights"').replace(
        '= "c"', '= "package:nowhere.sub/c"'
    )
    text += '[embedding]\nmodel = "/nowhere/minilm"\n[backbones.hub]\nfamily = "modelscope"\npath = "a/b"\n'
    told = mistakes(tmp_path, text)
    assert "backbones.b.path: './weights' does not exist (looked for" in told
    assert "embedding.model: '/nowhere/minilm' does not exist" in told
    assert (
        "experiments.e.evaluation.features.video_classifier: package:nowhere.sub/c: the Python pack" in told
    )
    assert "has 3 mistake(s)" in told


def test_animatediff_alone_has_a_motion_adapter_a_folder_or_a_hub_id(tmp_path: Path) -> None:
    def told(family: str, *more: str) -> str:
        table = [f'family = "{family}"', *more]
        return mistakes(tmp_path, GOOD.replace('family = "modelscope"', "\n".join(table)))

    adapter = 'motion_adapter = "./motion"'
    revision = 'motion_adapter_revision = "v2"'
    assert "backbones.b: family animatediff needs motion_adapter: name a folder or" in told("animatediff")
    assert "backbones.b: family sdxl takes no motion_adapter_revision: remove it" in told(
        "sdxl", "frames = 1", revision
    )
    assert "backbones.b: family sdxl takes no motion_adapter: remove it" in told(
        "sdxl", "frames = 1", adapter
    )
    assert "backbones.b.motion_adapter: './motion' does not exist (looked for" in told("animatediff", adapter)
    assert "backbones.b: family sdxl makes images: set frames = 1" in told("sdxl")
    (tmp_path / "motion").mkdir()
    good = GOOD.replace('family = "modelscope"', f'family = "animatediff"\n{adapter}')
    assert load_settings(write(tmp_path, good)).backbones["b"].motion_adapter == "./motion"
    of_hub = load_settings(write(tmp_path, good.replace(adapter, f'motion_adapter = "a/b"\n{revision}')))
    assert of_hub.backbones["b"].motion_adapter_revision == "v2"


def test_the_command_names_what_the_file_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, GOOD)
    assert main(["e", "--settings", str(file)]) == 0
    assert capsys.readouterr().out == "pools: p\nbackbones: b\nexperiments: e\n"


def test_the_command_refuses_an_experiment_that_is_not_there_and_says_which_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONASPR_SETTINGS", str(write(tmp_path, GOOD)))
    assert main(["other"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "there is no experiment 'other' in the settings; allowed: e\n"


def test_pools_say_where_their_videos_lie_and_filter_by_one_comparison_each(tmp_path: Path) -> None:
    text = GOOD.replace('format = "webvid"', 'format = "panda70m"').replace('videos = "."\n', "")
    assert "pools.p: format panda70m needs `videos`" in mistakes(tmp_path, text)
    text = GOOD.replace('videos = "."', 'filter = [{ column = "duration", at_least = 4, at_most = 30 }]')
    told = mistakes(tmp_path, text)
    assert "pools.p.filter.0: must hold a column and exactly one of equals, differs_from, at_least" in told
    text = GOOD.replace(
        'videos = "."', 'filter = [{ column = "duration", between = [4, 30] }]\ntakedown = "gone.txt"'
    )
    assert "pools.p.takedown: 'gone.txt' does not exist" in mistakes(tmp_path, text)


def test_the_path_of_a_pool_may_be_a_pattern(tmp_path: Path) -> None:
    assert "'parts/*.csv' does not exist" in mistakes(tmp_path, GOOD.replace("pool.csv", "parts/*.csv"))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/0.csv").touch()
    settings = load_settings(write(tmp_path, GOOD.replace("pool.csv", "parts/*.csv")))
    assert settings.pools["p"].path == "parts/*.csv"


def test_all_mistakes_are_told_where_one_of_them_is_a_missing_network(tmp_path: Path) -> None:
    text = GOOD.replace('video_classifier = "c"\n', "").replace("eta = 0.5", "eta = -1")
    text += '[experiments.e.evaluation.benchmark]\npath = "pool.csv"\n'
    told = mistakes(tmp_path, text)
    assert "has 3 mistake" in told
    assert "video_classifier: missing; backbone b makes videos" in told
    assert "experiments.e.eta: input should be greater" in told
    assert "experiments.e.evaluation.benchmark: format webvid needs `videos`" in told


def test_images_are_not_classified_as_videos_and_videos_are(tmp_path: Path) -> None:
    image = GOOD.replace('family = "modelscope"', 'family = "stable-diffusion-1.5"\nframes = 1')
    key = "experiments.e.evaluation.features.video_classifier"
    told = mistakes(tmp_path, image)
    assert "has 1 mistake" in told
    assert f"- {key}: backbone b makes images, of one frame; remove it" in told
    classifier = 'video_classifier = "c"\n'
    assert load_settings(write(tmp_path, image.replace(classifier, ""))).backbones["b"].makes_images
    told = mistakes(tmp_path, GOOD.replace(classifier, ""))
    assert f"- {key}: missing; backbone b makes videos" in told


def test_networks_stand_as_paths_or_in_tables_that_pin_them(tmp_path: Path) -> None:
    where = "experiments.e.evaluation.features.video_classifier"

    def with_network(network: str) -> str:
        return GOOD.replace('video_classifier = "c"', f"video_classifier = {network}")

    def told(network: str) -> str:
        return mistakes(tmp_path, with_network(network))

    pin = "0" * 64
    pinned = f'{{ path = "https://example.invalid/i3d.pt", sha256 = "{pin}" }}'
    features = load_settings(write(tmp_path, with_network(pinned))).experiments["e"].evaluation.features
    assert features.video_classifier == NetworkSettings(path="https://example.invalid/i3d.pt", sha256=pin)
    url = '"https://example.invalid/i3d.pt"'
    for unpinned in (url, f"{{ path = {url} }}"):
        assert f"{where}: a URL needs its hash: write {{ path = 'https://" in told(unpinned)
    assert f"{where}.sha256: must be 64 hexadecimal digits in lower case, got 'A'" in told(
        '{ path = "a", sha256 = "A" }'
    )
    assert f"{where}.sha: unknown key" in told(f'{{ path = "a", sha = "{pin}" }}')
    assert f"{where}.path: missing" in told("{}")
    assert f"{where}: must be a path, or a table {{ path = …, sha256 = … }}, got 3" in told("3")
    assert f"{where}: './gone.pt' does not exist (looked for" in told(
        f'{{ path = "./gone.pt", sha256 = "{pin}" }}'
    )


def test_images_have_no_inception_score_network(tmp_path: Path) -> None:
    image = GOOD.replace('family = "modelscope"', 'family = "stable-diffusion-1.5"\nframes = 1')
    told = mistakes(tmp_path, image.replace("video_classifier", "inception_score_network"))
    key = "experiments.e.evaluation.features.inception_score_network"
    assert f"- {key}: backbone b makes images, of one frame; remove it" in told


def test_an_experiment_borrows_from_no_more_of_a_pool_than_there_is(tmp_path: Path) -> None:
    def sized(value: str) -> str:
        return GOOD.replace("eta = 0.5", f"eta = 0.5\npool_size = {value}")

    assert load_settings(write(tmp_path, sized("100000"))).experiments["e"].pool_size == 100_000
    told = "experiments.e.pool_size: 100001 is more than pools.p.size = 100000; make the pool larger"
    assert told in mistakes(tmp_path, sized("100001"))
    text = sized("51").replace('path = "pool.csv"', 'path = "pool.csv"\nsize = 50')
    assert "pool_size: 51 is more than pools.p.size = 50" in mistakes(tmp_path, text)
    assert "experiments.e.pool_size: input should be greater" in mistakes(tmp_path, sized("0"))


def test_studies_are_the_papers_where_nothing_is_said(tmp_path: Path) -> None:
    found = load_settings(write(tmp_path, GOOD)).studies
    assert found.eta == (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, float("inf"))
    assert (found.gamma, found.references) == ((0.0, 0.1, 0.2, 0.5, 1.0), (0, 1, 2, 5, 10))
    assert found.pool_sizes == (10_000, 100_000, 1_000_000, 10_000_000)
    assert (found.experiments, found.rewriters) == ((), {})


def test_all_mistakes_of_studies_are_told_at_once(tmp_path: Path) -> None:
    text = """
[studies]
experiments = ["e", "nobody", "e"]
eta = [0.5, -1, nan]
gamma = [0.1, 0.1]
references = []
pool_sizes = [10, 10]
rewriter = 3
rewriters = { x = { modle = "m" } }
"""
    told = mistakes(tmp_path, GOOD + text)
    for expected in (
        "studies.experiments: unknown experiment 'nobody'; allowed: e",
        "studies.experiments: must be different values; 'e' stands twice",
        "studies.eta.1: input should be greater than or equal to 0, got -1",
        "studies.eta.2: ",
        "studies.gamma: must be different values; 0.1 stands twice",
        "studies.references: ",
        "studies.pool_sizes: must be different values; 10 stands twice",
        "studies.rewriter: unknown key",
        "studies.rewriters.x.modle: unknown key",
    ):
        assert expected in told
    assert "has 9 mistake(s)" in told


@pytest.mark.parametrize(
    "studied", ["studies = 3", "studies.experiments = 3", 'studies.experiments = [["e"]]']
)
def test_studies_of_the_wrong_shape_are_a_mistake_and_not_a_crash(tmp_path: Path, studied: str) -> None:
    assert "has 1 mistake(s)" in mistakes(tmp_path, f"{studied}\n{GOOD}")


def test_the_command_names_the_experiments_of_studies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, GOOD + '[studies]\nexperiments = ["e"]\n')
    assert studies(["--settings", str(file)]) == 0
    assert capsys.readouterr().out == "e\n"
    assert studies(["--settings", str(tmp_path / "absent.toml")]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_an_infinite_eta_comes_back_from_json(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, GOOD.replace("eta = 0.5", "eta = inf")))
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    e = settings.experiments["e"]
    assert Experiment.model_validate_json(e.model_dump_json()).eta == float("inf")
    assert e.changed(gamma=0.3).eta == float("inf")


def test_a_file_that_was_cut_anywhere_is_told_as_a_mistake(tmp_path: Path) -> None:
    for length in range(len(GOOD) - len('"c"\n')):
        assert "settings file" in mistakes(tmp_path, GOOD[:length])
