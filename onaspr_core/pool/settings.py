"""What the user turns about pools: where captioned videos come from, which of them count, how clips are cut.

What does not belong here: reading any source (`sources`), and what a filter means in SQL (`filters`).
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from onaspr_core.setting_types import Count, Positive, Section, finite

Form = Literal["webvid", "openvid", "internvid", "panda70m", "flickr30k", "webdataset", "parquet", "folder"]
"""A form that captioned videos are published in; `onaspr_core.pool.source_forms` reads each."""

NEED_VIDEOS = ("internvid", "panda70m", "flickr30k")
"""Forms that name no file: theirs are made of an id and the folder of videos."""


def _tuple_of_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Number = Annotated[float, AfterValidator(finite)]
Scalar = str | bool | int | Number
Few = BeforeValidator(_tuple_of_list)


class ClipSettings(Section):
    """How a pool clip is cut from its source: a central square of `resolution` pixels, every n-th frame.

    `frame_stride` counts frames as they are shown, whatever their times. `max_frames` left out keeps all, up
    to 4096. `crf` is x264's quality, 0 (best) to 51: at 14, 16 frames of 256 × 256 take 100 to 160 KB, at an
    SSIM of 0.975 or more to the frames before compression.
    """

    resolution: Annotated[int, Field(ge=8, le=4096, multiple_of=2)] = 256
    frame_stride: Count = 8
    max_frames: Count | None = 16
    fps: Positive = 8.0
    crf: Annotated[int, Field(ge=0, le=51)] = 14


class ColumnSettings(Section):
    """Which columns of a source say what, where they are not named as in its published form.

    `path` names the video: a path below `videos`, a URL, or, in Parquet, the bytes themselves. `start` and
    `stop` are seconds or `hours:minutes:seconds` into it.
    """

    id: str | None = None
    caption: str | None = None
    path: str | None = None
    start: str | None = None
    stop: str | None = None
    licence: str | None = None


class Condition(Section):
    """One demand on a column of the source: exactly one comparison.

    Numbers are compared as numbers, and an ISO 8601 duration such as WebVid's `PT00H00M29S` is its seconds.
    A row whose value is missing, or no number where one is asked for, is not taken.
    """

    column: str
    equals: Scalar | None = None
    differs_from: Scalar | None = None
    at_least: Number | None = None
    at_most: Number | None = None
    between: Annotated[tuple[Number, Number] | None, Few] = None
    one_of: Annotated[tuple[Scalar, ...] | None, Few] = None
    known: bool | None = None

    @model_validator(mode="after")
    def _one_comparison(self) -> "Condition":
        if len(self.model_dump(exclude={"column"}, exclude_none=True)) != 1:
            allowed = ", ".join(name for name in type(self).model_fields if name != "column")
            raise ValueError(f"must hold a column and exactly one of {allowed}")
        return self


class PoolSettings(Section):
    """A candidate pool of captioned videos: `size` is the paper's N.

    `path` is a file, a folder or a pattern with `*`, here or at any URL that fsspec opens; `videos` is the
    folder of the videos, and may be left out where the source holds them or names them by URL or full path.
    A row may name a URL of these `schemes`; what `path` and `videos` say is the user's own word.
    A caption of more than `caption_limit` characters is refused. Of pairs with equal captions, of equal
    videos, and of pairs that a benchmark of this pool's experiments has too, all are counted; "refuse" keeps
    the later ones, or those of the benchmark, out. `takedown` is a file of ids and URLs, one a line: what it
    names is removed from the pool and from everything made of it.
    """

    format: Form
    path: str
    videos: str | None = None
    schemes: Annotated[tuple[str, ...], Few] = ("https", "http")
    columns: ColumnSettings = ColumnSettings()
    licence: str = ""
    filter: Annotated[tuple[Condition, ...], Few] = ()
    size: Count | None = 100_000
    seed: int = 0
    caption_limit: Count = 2000
    equal_captions: Literal["keep", "refuse"] = "keep"
    equal_videos: Literal["keep", "refuse"] = "keep"
    benchmark_items: Literal["report", "refuse"] = "report"
    takedown: str | None = None
    clip: ClipSettings = ClipSettings()

    @model_validator(mode="after")
    def _where_videos_lie(self) -> "PoolSettings":
        if self.videos is None and self.format in NEED_VIDEOS:
            raise ValueError(f"format {self.format} needs `videos`, the folder of its files")
        return self
