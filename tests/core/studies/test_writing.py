"""A study as Markdown, LaTeX and CSV: nothing in a text is markup, and marks stand where they must alone."""

import re
from dataclasses import replace

import pytest

from onaspr_core.reports.study_view import StudyCell, StudyRow, StudyView
from onaspr_core.studies.writing import escaped, latex, markdown

NASTY = "a|b <i>_50 % & $x^2 #1 {y} \\z ~"
VIEW = StudyView(
    name="table_2d",
    title=f"Table 2d: {NASTY}",
    experiment="e",
    columns=("FID ↓", "CLIPSIM ↑"),
    rows=(
        StudyRow(NASTY, (StudyCell("12.34"), StudyCell("0.281", paper="0.287"))),
        StudyRow(
            "γ = 1",
            (
                StudyCell("11.00", "-1.34 [-2.00, -0.10]", paper="42.9", comparable=True),
                StudyCell("0.300", "+0.019 [+0.004, +0.020]", "better"),
            ),
        ),
        StudyRow(
            "η = ∞", (StudyCell("13.00", "+0.66 [-1, +2]"), StudyCell("0.2", "-0.1 [-0.2, -0.05]", "worse"))
        ),
        StudyRow("Llama", (StudyCell("none"), StudyCell("", paper="0.275")), "in the paper alone"),
    ),
    notes=(f"One note: {NASTY}",),
    pictures=(("studies/e/table_2d.png", NASTY),),
)


def lines_of(text: str) -> list[str]:
    """Lines of Markdown's tables, without headings and rules."""
    return [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]


def test_markdown_escapes_every_text_and_keeps_its_columns() -> None:
    text = markdown(VIEW)
    assert len(lines_of(text)) == 2 + 4
    for line in lines_of(text):
        assert len(re.findall(r"(?<!\\)\|", line)) == 4, line
    assert "a\\|b &lt;i&gt;\\_50" in text
    assert not re.search(r"<(?!br>|/?small>)", text), "no tag but ours"
    assert "![a\\|b" in text and "](table_2d.png)" in text
    assert "### in the paper alone" in text
    assert text.splitlines()[-1] == "- † the paper's; not comparable."


def test_only_supported_differences_are_bold() -> None:
    assert re.findall(r"\*\*(.*?)\*\*", markdown(VIEW)) == [
        "+0.019 \\[+0.004, +0.020\\] better",
        "-0.1 \\[-0.2, -0.05\\] worse",
    ]
    bold = re.findall(r"\\textbf\{([^}]*)\}", latex(VIEW))
    assert bold == ["+0.019 [+0.004, +0.020]", "-0.1 [-0.2, -0.05]"]


def test_the_dagger_stands_at_numbers_that_do_not_compare_and_nowhere_else() -> None:
    shown = "\n".join(lines_of(markdown(VIEW)))
    assert re.findall(r"paper ([\d.]+)(†?)", shown) == [("0.287", "†"), ("42.9", ""), ("0.275", "†")]
    assert shown.count("†") == 2
    body = latex(VIEW).split("\\begin{itemize}")[0]
    assert re.findall(r"paper ([\d.]+)(\\textsuperscript)?", body) == [
        ("0.287", "\\textsuperscript"),
        ("42.9", ""),
        ("0.275", "\\textsuperscript"),
    ]
    comparable = [replace(row, cells=row.cells[:1]) for row in VIEW.rows]
    plain = replace(VIEW, rows=tuple(comparable), columns=VIEW.columns[:1])
    assert plain.all_notes == VIEW.notes
    assert "†" not in markdown(plain)


SPECIAL = "&%$#_{}~^\\"


@pytest.mark.parametrize("character", SPECIAL)
def test_every_special_character_of_latex_is_escaped(character: str) -> None:
    text = escaped(f"a{character}b")
    assert text.startswith("a") and text.endswith("b")
    assert text[1] == "\\"
    left = re.sub(r"\\(textbackslash|textasciicircum|textasciitilde)\{\}|\\[&%$#_{}]", "", text)
    assert left == "ab"


def test_latex_is_whole_and_every_line_has_its_cells() -> None:
    text = latex(VIEW)
    assert text.isascii()
    for name in ("table", "tabular", "itemize"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") == 1
    plain = re.sub(r"\\[{}&%#$_]", "", text)
    assert plain.count("{") == plain.count("}")
    depth = 0
    for character in plain:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    rows = [line for line in plain.splitlines() if line.endswith("\\\\") and "multicolumn" not in line]
    assert {line.count("&") for line in rows} == {2}
    assert len(rows) == 1 + (1 + 1) + 3 + 2 + 2
    assert plain.count("$") % 2 == 0
