"""The report stage: one page over all experiments that have a gallery, and the studies.

It lies beside the experiments' folders, shows their galleries from the files there, and opens from disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Outcome, version_of
from onaspr_core.folders import Folder
from onaspr_core.reports.files import ReportFile, report_folder, write_files
from onaspr_core.reports.gallery import HEAD
from onaspr_core.reports.page import report_page, template_texts
from onaspr_core.reports.study_view import StudyView
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace


def write_report(workspace: Workspace, studies: Sequence[StudyView]) -> Outcome:
    """Write the page of all experiments and studies; `facts["report"]` is its path.

    Of the settings' experiments those are shown whose gallery has been written by this version; one whose
    files are damaged is a Failure.
    """
    heads, failures = [], []
    for name in workspace.settings.experiments:
        try:
            head = _head(workspace, workspace.settings.experiment(name))
        except (ValueError, OSError) as problem:
            failures.append(Failure(name, f"its gallery cannot be read ({problem}); materialize gallery"))
            continue
        if head is not None:
            heads.append(head)
    key = content_key(
        "report-page",
        version=code_versions.REPORT,
        templates=template_texts(),
        heads=heads,
        studies=[repr(asdict(study)) for study in studies],
    )
    page = ReportFile("index.html", key, lambda: report_page(heads, studies).encode())
    folder = Folder(workspace.reports_path)
    outcome = write_files("report", folder, [page], prune=True)
    facts = {
        "report": folder.path("index.html"),
        "experiments": len(heads),
        "studies": len(studies),
    }
    if failures:
        version = version_of([outcome.version, *(f"failed {failure.item}" for failure in failures)])
        told = (*outcome.failures, *failures)
        outcome = replace(outcome, version=version, total=outcome.total + len(failures), failures=told)
    return replace(outcome, facts=facts)


def _head(workspace: Workspace, e: Experiment) -> Mapping[str, Any] | None:
    """What stands above an experiment's cards; None before its gallery is written in this form."""
    folder = report_folder(workspace, e)
    text = folder.found(HEAD)
    if text is None:
        return None
    head = json.loads(text)
    if not isinstance(head, dict):
        raise ValueError(f"{folder.path(HEAD)} is not a JSON object")
    return head if head.get("version") == code_versions.GALLERY else None
