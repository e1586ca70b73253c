"""A study's files: CSV with every number, Markdown, LaTeX, PNG and SVG, and its view as JSON for the report.

They lie in `reports/studies/`, those of one experiment in a folder of its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace

import matplotlib
from matplotlib.figure import Figure
from pydantic import TypeAdapter, ValidationError

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.compute import Outcome, Preview, merge, version_of
from onaspr_core.folders import Folder
from onaspr_core.reports.figures import in_formats
from onaspr_core.reports.files import ReportFile, write_files
from onaspr_core.reports.study_view import StudyView
from onaspr_core.settings import Settings
from onaspr_core.studies.plans import ALL, OF_ONE
from onaspr_core.studies.writing import latex, markdown
from onaspr_core.workspace import Workspace

FOLDER = "studies"
_VIEW = TypeAdapter(StudyView)


def place(name: str, experiment: str) -> str:
    """Where a study's files lie below the folder of reports, without their suffix."""
    return "/".join(part for part in (FOLDER, experiment, name) if part)


def write_study(
    workspace: Workspace, view: StudyView, csv: str, draw: Callable[[], Figure], made: Outcome
) -> Outcome:
    """Write a study's files and sum up; the version is that of everything they show.

    Args:
        workspace: Where.
        view: What is shown.
        csv: Every number.
        draw: The picture.
        made: What was made for it.
    """
    stem = place(view.name, view.experiment)
    key = content_key(
        "study", version=code_versions.STUDIES, view=asdict(view), csv=csv, library=matplotlib.__version__
    )
    files = [
        ReportFile(f"{stem}.csv", key, csv.encode),
        ReportFile(f"{stem}.md", key, lambda: markdown(view).encode()),
        ReportFile(f"{stem}.tex", key, lambda: latex(view).encode()),
        ReportFile(f"{stem}.json", key, json.dumps(asdict(view), ensure_ascii=False, indent=1).encode),
        *in_formats(stem, key, draw),
    ]
    folder = Folder(workspace.reports_path)
    written = write_files(stem.replace("/", " "), folder, files)
    return replace(
        merge([made, written]),
        version=version_of([key]),
        facts={"rows": len(view.rows), "folder_path": folder.path(stem).rpartition("/")[0]},
        preview=Preview(markdown(replace(view, pictures=())), folder.found(f"{stem}.png") or b""),
    )


def study_views(workspace: Workspace) -> list[StudyView]:
    """The studies that have been made, in the paper's order, of the experiments that the settings name.

    One whose file is of an earlier version, or damaged, is left out until it is made again.
    """
    settings: Settings = workspace.settings
    folder, found = Folder(workspace.reports_path), []
    for name in ALL:
        for experiment in settings.experiments if name in OF_ONE else [""]:
            text = folder.found(f"{place(name, experiment)}.json")
            if text is not None:
                with suppress(ValidationError):
                    found.append(_VIEW.validate_json(text))
    return found
