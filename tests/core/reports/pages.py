"""Galleries of any size made of a few files, and studies, as a browser is shown them."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from onaspr_core.evaluation.score_table import ScoreTable
from onaspr_core.media.video import encode_mp4
from onaspr_core.reports.gallery_data import (
    GalleryView,
    PromptView,
    VideoView,
    chunks_of,
    gallery_data,
    head_data,
    script_call,
)
from onaspr_core.reports.page import experiment_page, report_page
from onaspr_core.reports.study_view import Curve, Series, StudyCell, StudyRow, StudyView
from onaspr_core.variants import VARIANTS

FILES = 5
"""How many different videos there are."""


def moving(seed: int, count: int) -> bytes:
    """A bright bar that moves, with 8 frames a second."""
    frames = np.full((count, 32, 32, 3), 30 * seed, np.uint8)
    for i, frame in enumerate(frames):
        frame[:, 2 * i : 2 * i + 4] = 230
    return encode_mp4(frames, 8)


def view_of(name: str, count: int, table: ScoreTable) -> GalleryView:
    """Prompts with gains that no two variants rank alike, the last of them without a video of `ona`."""
    prompts = []
    for i in range(count):
        videos = [
            VideoView(
                variant,
                None if variant == "ona" and i == count - 1 else f"{(i + v) % FILES:040x}",
                "materialize ona_videos" if variant == "ona" and i == count - 1 else "",
                0.25 + gain(i, v),
                gain(i, v) if v else None,
                [("colour", "red", bool(v) == (i % 2 == 0))],
            )
            for v, variant in enumerate(VARIANTS)
        ]
        references = [(f"a caption of {i}", 1 - i / (2 * count))]
        rewrite, reason = (f"a rewrite of {i}", "too long" if i % 3 == 0 else None)
        prompts.append(
            PromptView(f"p{i}", f"prompt number {i}", videos, f"{9:040x}", references, rewrite, reason)
        )
    return GalleryView(
        experiment=name,
        summary=f"{count} prompts.",
        settings=[("Method", [("eta", "0.5")])],
        table=replace(table, experiment=name),
        prompts=prompts,
        pixelated=True,
        noun="video",
        suffix=".mp4",
    )


def gain(prompt: int, variant: int) -> float:
    return round(math.sin(1 + prompt * (variant + 1)) / 10, 6) if variant else 0.0


def write_folder(reports: Path, view: GalleryView) -> Path:
    """Write a gallery's page, data and files: videos of two seconds, clips of one."""
    folder = reports / view.experiment
    for seed, name in enumerate([f"videos/{i:040x}" for i in range(FILES)] + [f"clips/{9:040x}"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.mp4").write_bytes(moving(seed, 8 if name.startswith("clips") else 16))
    (folder / "index.html").write_text(experiment_page(head_data(view)), encoding="utf-8")
    (folder / "gallery.js").write_bytes(script_call("onaspr.gallery", gallery_data(view)))
    for number, prompts in enumerate(chunks_of(view.prompts)):
        rows = [[[["made of", f"{prompt.id} {one.variant}"]] for one in prompt.videos] for prompt in prompts]
        script = script_call("onaspr.provenance", view.experiment, number, rows)
        (folder / f"provenance-{number:04d}.js").write_bytes(script)
    return folder / "index.html"


def write_all(reports: Path, views: list[GalleryView]) -> Path:
    """Write several galleries and the page over them, with two studies."""
    for view in views:
        write_folder(reports, view)
    page = reports / "index.html"
    page.write_text(report_page([head_data(view) for view in views], [sweep(), comparison()]), "utf-8")
    return page


def sweep() -> StudyView:
    """A curve over three points: the second has an interval, the third no value, the paper no second."""
    curve = Curve(
        "η",
        ("0", "0.5", "∞"),
        (
            Series("FID", "↓", (40.0, 38.5, None), (None, (-3.0, 0.25), None), (50.0, None, 47.5)),
            Series("CLIPSIM", "↑", (0.25, 0.26, 0.24), (None, None, (-0.02, 0.001)), (None, None, None)),
        ),
    )
    counts = ("200", "199", "200")
    rows = tuple(StudyRow(f"η {p}", (StudyCell(n),)) for p, n in zip(curve.points, counts, strict=True))
    return StudyView("figure_4", "Figure 4: metrics over η", "first", ("n",), rows, ("Few prompts.",), curve)


def comparison() -> StudyView:
    """A table of two groups with every kind of cell."""
    cells = (
        StudyCell("43.21", "-1.2 [-3.4, +0.9]", "even", "47.5"),
        StudyCell("0.2843", "+0.003 [+0.001, +0.008]", "better", "0.2951", comparable=True),
    )
    rows = (
        StudyRow("ONA", cells, "scvideo"),
        StudyRow("SPR", (StudyCell("none"), StudyCell("0.1", "-0.1 [-0.2, -0.1]", "worse")), "modelscope"),
    )
    return StudyView("table_1", "Table 1", "", ("FID ↓", "CLIPSIM ↑"), rows, ())
