"""The report's page: one template, script and style for one experiment and for all of them.

Pure: nothing is read but the templates, and every text is escaped. Cards are no part of the page: its script
builds them from the data files beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from onaspr_core.reports.plot_data import curve_data
from onaspr_core.reports.study_view import StudyView
from onaspr_core.variants import VARIANTS

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("elements.js", "playing.js", "cards.js", "plot.js", "report.js")
"""The page's script in the order of its parts."""


@dataclass(frozen=True)
class Shown:
    """One experiment on a page: what stands above its cards (`head_data`), and its folder from the page.

    `base` is empty for the page inside the experiment's folder, else an address that ends with "/".
    """

    head: Mapping[str, Any]
    base: str = ""


def experiment_page(head: Mapping[str, Any]) -> str:
    """The page of one experiment, as one HTML document that fetches nothing but the files beside it."""
    return _render(title=head["experiment"], summary=head["summary"], shown=[Shown(head)], many=False)


def report_page(heads: Sequence[Mapping[str, Any]], studies: Sequence[StudyView]) -> str:
    """The page of all experiments, each in the folder of its name, and of the studies."""
    shown = [Shown(head, f"{quote(head['experiment'], safe='')}/") for head in heads]
    counts = [f"{len(shown)} experiment{'' if len(shown) == 1 else 's'}"]
    if studies:
        counts.append(f"{len(studies)} stud{'y' if len(studies) == 1 else 'ies'}")
    summary = f"{', '.join(counts)}."
    return _render(title="Report", summary=summary, shown=shown, many=True, studies=studies)


def template_texts() -> dict[str, str]:
    """The texts a page is made from besides its values, for its content key."""
    return {
        path.name: path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.iterdir()) if path.is_file()
    }


def _render(
    *, title: str, summary: str, shown: Sequence[Shown], many: bool, studies: Sequence[StudyView] = ()
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    texts = template_texts()
    script = "\n".join(texts[name] for name in SCRIPTS)
    return environment.get_template("report.html.j2").render(
        title=title,
        summary=summary,
        shown=shown,
        many=many,
        studies=[_study(study) for study in studies],
        variants=VARIANTS,
        style=Markup(texts["report.css"]),
        script=Markup(f'(() => {{\n"use strict";\n{script}}})();'),
    )


def _study(study: StudyView) -> dict[str, Any]:
    """A study with its rows in groups, its curve as the script reads it, and pictures as addresses inside."""
    groups = groupby(study.rows, key=lambda row: row.group)
    return {
        "view": study,
        "groups": [(group, list(rows)) for group, rows in groups],
        "curve": curve_data(study),
        "pictures": [(quote(path), text) for path, text in study.pictures],
    }
