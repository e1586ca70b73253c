"""Published benchmarks in an experiment: both sides from one list, counted, and what is missing told."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from onaspr_core.checks.features import the_real_side_is_complete
from onaspr_core.checks.retrieval import every_prompt_is_in_the_catalog
from onaspr_core.errors import UserError
from onaspr_core.evaluation import benchmarks
from onaspr_core.evaluation.benchmark_lists import BenchmarkList, read_benchmark
from onaspr_core.evaluation.benchmarks import ingest_benchmark, real_videos, shortage
from onaspr_core.evaluation.features import reference_features
from onaspr_core.parameters import contents, version
from onaspr_core.paths import file_sha256
from onaspr_core.prompts import ingest_prompts, load_prompts
from onaspr_core.settings import BenchmarkSettings, Experiment, load_settings
from onaspr_core.workspace import Workspace
from tests.core.evaluation.conftest import SETTINGS, VIDEO_CLASSIFIER
from tests.published import UCF101_LIST, coco, msr_vtt, write_coco, write_json, write_msr_vtt, write_ucf101

PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "msr-vtt": (write_msr_vtt, "videos"),
    "ucf101": (write_ucf101, "UCF-101"),
    "coco": (write_coco, "val2014"),
}


@dataclass
class Project:
    """A folder with one experiment whose prompts and real side are a published benchmark's."""

    folder: Path
    models: Path
    form: str
    list: Path
    more: str = ""
    prompts: str = "benchmark"

    def __post_init__(self) -> None:
        (self.folder / "real").mkdir()
        (self.folder / "real.csv").write_text("videoid,contentUrl,duration,page_dir,name\n")

    @property
    def file(self) -> Path:
        """The settings file, written anew."""
        values = {"models": self.models, "label": "x", "frames": 4, "splits": 2, "family": "modelscope"}
        text = (SETTINGS + VIDEO_CLASSIFIER).format(**values)
        text = text.replace('"prompts.jsonl"', f'"{self.prompts}"')
        text += f'[experiments.e.evaluation.benchmark]\nformat = "{self.form}"\npath = "{self.list.name}"\n'
        text += f'videos = "{PLACES[self.form][1]}"\n{self.more}\n'
        (self.folder / "settings.toml").write_text(text)
        return self.folder / "settings.toml"

    def open(self) -> Workspace:
        return Workspace(load_settings(self.file))

    @property
    def e(self) -> Experiment:
        return self.open().settings.experiment("e")

    def versions(self) -> dict[str, str]:
        return {name: version(content) for name, content in contents(load_settings(self.file)).items()}


Open = Callable[[str], Project]


@pytest.fixture
def project(tmp_path: Path, models: Path) -> Open:
    def open_(form: str) -> Project:
        return Project(tmp_path, models, form, PLACES[form][0](tmp_path))

    return open_


@pytest.mark.parametrize("form", list(PLACES))
def test_prompts_and_real_videos_have_the_same_ids_and_captions(project: Open, form: str) -> None:
    one = project(form)
    outcome = ingest_prompts(one.open(), one.e)
    ingest_benchmark(one.open(), one.e)
    prompts, videos = load_prompts(one.open(), one.e), real_videos(one.open(), one.e)
    assert [(p.id, p.text) for p in prompts] == [(v.id, v.caption) for v in videos]
    assert len(prompts) == outcome.computed == (6 if form == "coco" else 4)
    assert every_prompt_is_in_the_catalog(one.open(), one.e).passed
    classes = {line.rpartition("/")[2][:-4]: line.partition("/")[0] for line in UCF101_LIST}
    for prompt in prompts:
        assert prompt.attributes == ({"class": classes[prompt.id]} if form == "ucf101" else {})


def test_a_prompt_limit_takes_the_first_and_leaves_the_real_side_whole(project: Open) -> None:
    one = project("ucf101")
    ingest_prompts(one.open(), one.e)
    whole = [p.id for p in load_prompts(one.open(), one.e)]
    few = one.e.changed(prompt_limit=2)
    assert ingest_prompts(one.open(), few).reused == 2
    ingest_benchmark(one.open(), few)
    assert [p.id for p in load_prompts(one.open(), few)] == whole[:2]
    assert len(real_videos(one.open(), few)) == 4


def test_fewer_than_were_published_is_a_failure_with_both_numbers_and_the_remedy(project: Open) -> None:
    one = project("msr-vtt")
    outcome = ingest_benchmark(one.open(), one.e)
    (failure,) = outcome.failures
    assert failure.item == "the list test_videodatainfo.json"
    assert "lists 4 videos in place of the 2,990 of MSR-VTT test" in failure.reason
    facts = {name: outcome.facts[name] for name in ("expected", "listed", "real_videos", "missing")}
    assert facts == {"expected": 2990, "listed": 4, "real_videos": 4, "missing": 0}
    assert outcome.preview and "| 2,990 | 4 | 4 | 0 |" in outcome.preview.markdown
    found = the_real_side_is_complete(one.open(), one.e)
    assert not found.passed
    assert "4 of the 2,990 real videos of MSR-VTT test are usable, and its list has 4" in found.summary


def test_a_list_is_read_again_to_tell_what_is_short_only_where_it_is_another(
    project: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = project("msr-vtt")
    read: list[str] = []

    def counted(benchmark: BenchmarkSettings, base: Path) -> BenchmarkList:
        read.append(benchmark.path)
        return read_benchmark(benchmark, base)

    monkeypatch.setattr(benchmarks, "read_benchmark", counted)
    assert shortage(one.open(), one.e).startswith("0 of the 2,990 ") and len(read) == 1, "none is ingested"
    ingest_benchmark(one.open(), one.e)
    read.clear()
    assert shortage(one.open(), one.e).startswith("4 of the 2,990 ") and not read
    one.more = "seed = 1"
    assert shortage(one.open(), one.e).startswith("4 of the 2,990 ") and len(read) == 1
    one.more = ""
    write_json(one.list, msr_vtt(7010, 3))
    told = "3 of the 2,990 real videos of MSR-VTT test are usable, and its list has 3"
    assert shortage(one.open(), one.e) == told and len(read) == 2
    ingest_benchmark(one.open(), one.e)
    read.clear()
    assert shortage(one.open(), one.e) == told and not read


def test_missing_and_unreadable_videos_are_counted_by_class(project: Open) -> None:
    one = project("ucf101")
    (one.folder / "UCF-101" / UCF101_LIST[0]).unlink()
    (one.folder / "UCF-101" / UCF101_LIST[3]).write_bytes(b"no video")
    outcome = ingest_benchmark(one.open(), one.e)
    failed = {failure.item: failure.reason for failure in outcome.failures[1:]}
    assert failed.keys() == {"v_Archery_g01_c01", "v_YoYo_g07_c04"}
    assert all(reason.endswith("; put the video there") for reason in failed.values())
    assert (outcome.facts["real_videos"], outcome.facts["missing"]) == (2, 2)
    assert outcome.preview is not None
    told = outcome.preview.markdown
    assert "| Archery | 2 | 1 |" in told and "| YoYo | 1 | 0 |" in told and "| Handstand" not in told
    assert "v\\_YoYo\\_g07\\_c04" in told and "UCF101.rar" in told
    assert "2 of the 3,783" in the_real_side_is_complete(one.open(), one.e).summary


def test_a_choice_of_coco_that_is_all_there_is_complete(project: Open) -> None:
    one = project("coco")
    one.more = "size = 3"
    outcome = ingest_benchmark(one.open(), one.e)
    assert (outcome.failures, outcome.facts["expected"], outcome.facts["real_videos"]) == ((), 3, 3)
    assert outcome.preview is not None and "cocodataset" not in outcome.preview.markdown
    assert the_real_side_is_complete(one.open(), one.e).passed
    one.more = "size = 5"
    assert not the_real_side_is_complete(one.open(), one.e).passed


def test_equal_files_move_nothing_whatever_their_order(project: Open) -> None:
    one = project("coco")
    stages = (ingest_prompts, ingest_benchmark)
    first = [stage(one.open(), one.e) for stage in stages]
    value = coco(6)
    value["images"].reverse()  # type: ignore[attr-defined]
    write_json(one.list, value)
    second = [stage(one.open(), one.e) for stage in stages]
    assert [outcome.computed for outcome in second] == [0, 0]
    assert [outcome.version for outcome in second] == [outcome.version for outcome in first]


def test_videos_as_published_have_features(project: Open) -> None:
    one = project("ucf101")
    ingest_benchmark(one.open(), one.e)
    assert reference_features(one.open(), one.e).computed == 3 * 4


def test_a_video_without_a_caption_is_lost_on_both_sides_and_told_on_both(project: Open) -> None:
    one = project("msr-vtt")
    value = json.loads(one.list.read_text())
    value["sentences"] = [row for row in value["sentences"] if row["video_id"] != "video7011"]
    write_json(one.list, value)
    prompts, videos = ingest_prompts(one.open(), one.e), ingest_benchmark(one.open(), one.e)
    assert [failure.item for failure in prompts.failures] == ["video7011"]
    assert "video7011" in [failure.item for failure in videos.failures]
    ids = [prompt.id for prompt in load_prompts(one.open(), one.e)]
    assert ids == [video.id for video in real_videos(one.open(), one.e)]
    value["sentences"] = []
    write_json(one.list, value)
    with pytest.raises(UserError, match="holds no prompt: the list has no caption"):
        ingest_prompts(one.open(), one.e)


def moved(one: Project, before: dict[str, str]) -> set[str]:
    now = one.versions()
    return {name for name in now if now[name] != before[name]}


def test_the_list_moves_prompts_and_evaluation_and_a_video_moves_neither(project: Open) -> None:
    one = project("msr-vtt")
    before = one.versions()
    (one.folder / "videos/video7010.mp4").write_bytes(b"other bytes")
    (one.folder / "videos/video1.mp4").write_bytes(b"one more")
    assert moved(one, before) == set()
    one.more = "fvd_stride = 4"
    assert moved(one, before) == {"evaluation|e"}
    one.more = "seed = 3"
    assert moved(one, before) == {"evaluation|e", "prompts|e"}
    one.more = "seed = 0"
    assert moved(one, before) == set()
    with one.list.open("a") as file:
        file.write("\n")
    assert moved(one, before) == {"evaluation|e", "prompts|e"}


def test_a_benchmark_of_a_form_that_there_was_is_made_of_what_it_was(project: Open) -> None:
    one = project("msr-vtt")
    text = one.file.read_text().replace('format = "msr-vtt"\n', "")
    (one.folder / "webvid.toml").write_text(text.replace("test_videodatainfo.json", "real.csv"))
    content = contents(load_settings(one.folder / "webvid.toml"))
    assert content["evaluation|e"]["benchmark"] == {
        "format": "webvid",
        "path": "real.csv",
        "videos": "videos",
        "fvd_stride": 5,
        "listing": file_sha256(one.folder / "real.csv"),
    }
    assert content["prompts|e"]["benchmark"].keys() == {"format", "path", "listing"}


def test_prompts_of_a_benchmark_need_one(project: Open) -> None:
    one = project("msr-vtt")
    text = one.file.read_text()
    (one.folder / "none.toml").write_text(text[: text.index("[experiments.e.evaluation.benchmark]")])
    with pytest.raises(UserError, match=r'prompts = "benchmark" needs evaluation\.benchmark'):
        load_settings(one.folder / "none.toml")


def test_files_that_settings_name_and_that_are_not_there_are_told_with_the_remedy(project: Open) -> None:
    one = project("ucf101")
    (one.folder / "testlist01.txt").unlink()
    with pytest.raises(
        UserError, match=r"benchmark\.path: .* does not exist .*; https://www\.crcv\.ucf\.edu"
    ):
        one.open()
