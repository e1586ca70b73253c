"""A study as text: Markdown and LaTeX. Only a difference that its test supports is set in bold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from onaspr_core.markdown import cell, table_of_numbers
from onaspr_core.reports.study_view import NOT_COMPARABLE, StudyCell, StudyRow, StudyView

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "η": r"$\eta$",
    "γ": r"$\gamma$",
    "∞": r"$\infty$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "…": r"\ldots{}",
    NOT_COMPARABLE: r"\textsuperscript{\dag}",
}


def markdown(view: StudyView) -> str:
    """The study as a table of GitHub's Markdown, the paper's numbers in its cells, and notes below."""
    lines = [f"## {cell(view.title)}", ""]
    if view.experiment:
        lines += [f"Experiment `{view.experiment}`.", ""]
    for group, rows in grouped(view.rows):
        if group:
            lines += [f"### {cell(group)}", ""]
        body = [[cell(row.label), *(_markdown_cell(one) for one in row.cells)] for row in rows]
        lines += [table_of_numbers(["", *map(cell, view.columns)], body), ""]
    # The file lies beside its pictures.
    lines += [f"![{cell(text)}]({PurePosixPath(path).name})" for path, text in view.pictures]
    return "\n".join([*lines, "", *(f"- {cell(note)}" for note in view.all_notes)]) + "\n"


def latex(view: StudyView) -> str:
    """The study as a `table` of LaTeX; needs the package booktabs."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        "\\small",
        f"\\caption{{{escaped(view.title)}}}",
        f"\\label{{tab:{view.name.replace('_', '-')}}}",
        f"\\begin{{tabular}}{{l{'r' * len(view.columns)}}}",
        "\\toprule",
        " & ".join(["", *map(escaped, view.columns)]) + " \\\\",
    ]
    for group, rows in grouped(view.rows):
        lines.append("\\midrule")
        if group:
            lines.append(f"\\multicolumn{{{len(view.columns) + 1}}}{{l}}{{\\emph{{{escaped(group)}}}}} \\\\")
        for row in rows:
            lines += _latex_lines(row)
    lines += ["\\bottomrule", "\\end{tabular}", "", "\\begin{itemize}"]
    lines += [f"\\item {escaped(note)}" for note in view.all_notes]
    return "\n".join([*lines, "\\end{itemize}", "\\end{table}"]) + "\n"


def grouped(rows: Sequence[StudyRow]) -> list[tuple[str, list[StudyRow]]]:
    """Rows by their group, in order."""
    found: dict[str, list[StudyRow]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return list(found.items())


def escaped(text: str) -> str:
    """A text that LaTeX sets as it stands, on one line."""
    marks = "|".join(map(re.escape, _LATEX))
    return re.sub(marks, lambda found: _LATEX[found[0]], " ".join(text.split()))


def _markdown_cell(one: StudyCell) -> str:
    difference = cell(one.difference)
    if one.verdict != "even":
        difference = f"**{difference} {one.verdict}**"
    paper = f"<small>{cell(_paper(one))}</small>" if one.paper else ""
    return "<br>".join(part for part in (cell(one.value), difference, paper) if part)


def _latex_lines(row: StudyRow) -> list[str]:
    """Up to three lines: values, differences, the paper's numbers; a part that no cell has is left out."""
    values = [escaped(row.label), *(escaped(one.value) for one in row.cells)]
    differences = ["", *(_latex_difference(one) for one in row.cells)]
    papers = ["", *(f"{{\\scriptsize {escaped(_paper(one))}}}" if one.paper else "" for one in row.cells)]
    return [" & ".join(line) + " \\\\" for line in (values, differences, papers) if any(line)]


def _latex_difference(one: StudyCell) -> str:
    if not one.difference:
        return ""
    text = escaped(one.difference)
    return f"{{\\scriptsize \\textbf{{{text}}}}}" if one.verdict != "even" else f"{{\\scriptsize {text}}}"


def _paper(one: StudyCell) -> str:
    return f"paper {one.paper}{'' if one.comparable else NOT_COMPARABLE}"
