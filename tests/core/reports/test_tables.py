"""Tables as they are printed, character for character."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from onaspr_core.evaluation.score_layout import format_difference, format_value, markdown_table
from onaspr_core.evaluation.score_table import ScoreTable, scores_of
from onaspr_core.reports.__main__ import main
from onaspr_core.reports.tables import csv_table, text_table, write_tables
from onaspr_core.workspace import Workspace

MARKDOWN = """\
| metric | n | `baseline` | `ona` |
| :--- | ---: | ---: | ---: |
| FID ↓ | 200, 120 real | 12.35 | 10.25<br>-2.10 [-3.00, -1.25] |
| CLIPSIM ↑ | 200 | 0.2812 | 0.2843<br>+0.0030 [-0.0021, +0.0083] |
| colour right ↑ | 200 / 199 | 96.5 % | 97.5 %<br>+1.0 pp [+0.5, +2.0]* |

- Features: miniature ResNetForImageClassification (abcdef01) for FID; miniature CLIPModel (12345678) for \
CLIPSIM; miniature VideoMAE (12345678) for colour right.
- Samples of FID: 200 generated × 5 frames, 120 real × 5 frames.
- Intervals of FID: set bootstrap.
- Intervals of CLIPSIM, colour right: paired bootstrap over prompts, 2000 resamples.
- FID: a difference is never marked; only paired prompts are tested.
- CLIPSIM by prompt: ona 54.8 % [47.8, 61.5], 1,234 prompts needed.
- By prompt: the share of paired prompts where the variant is better than the baseline, ties as half, with \
Wilson's 95 % interval, and how many prompts a paired test at 5 % needs to see a difference as large as the \
one observed with 80 % power.
- 1 of 400 videos is missing.
- Marked *: the 95 % interval leaves out zero and the sign-flip test finds a difference at 5 %.
"""

TEXT = """\
Experiment miniature, 200 prompts

                            n  baseline     ona
FID ↓           200, 120 real     12.35   10.25
CLIPSIM ↑                 200    0.2812  0.2843
colour right ↑      200 / 199    96.5 %  97.5 %

less baseline, 95 %                         ona
FID ↓                      -2.10 [-3.00, -1.25]
CLIPSIM ↑            +0.0030 [-0.0021, +0.0083]
colour right ↑            +1.0 pp [+0.5, +2.0]*
"""


def test_the_markdown_table_is_this(table: ScoreTable) -> None:
    assert markdown_table(table) == MARKDOWN


def test_the_terminal_table_is_this(table: ScoreTable) -> None:
    assert text_table(table).startswith(TEXT)
    assert "1 of 400 videos is missing." in text_table(table)


def test_the_csv_carries_every_field_unrounded(table: ScoreTable) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table(table))))
    assert len(rows) == 6
    assert (rows[1]["variant"], rows[1]["metric"], float(rows[1]["difference"])) == ("ona", "fid", -2.0956)
    assert (rows[0]["difference"], rows[0]["n_real"], rows[5]["missing"]) == ("", "120", "1")
    assert (rows[3]["wins"], rows[3]["prompts_needed"], rows[1]["wins"]) == ("0.5475", "1234", "")
    assert (rows[0]["rows"], rows[0]["rows_real"], rows[0]["splits"]) == ("1000", "600", "")


def test_only_a_per_prompt_metrics_interval_without_zero_is_marked(table: ScoreTable) -> None:
    marked = [table.supported(score) for score in table.scores]
    assert marked == [False, False, False, False, False, True]
    assert markdown_table(table).count("]*") == 1


def three_variants(table: ScoreTable, p_values: Sequence[float]) -> ScoreTable:
    """The accuracy of the baseline and of as many variants, each with an interval that leaves out zero."""
    base, one = table.scores[4:]
    variants = ("ona", "spr", "ona_spr")
    compared = [replace(one, variant=v, p_value=p) for v, p in zip(variants, p_values, strict=False)]
    return replace(table, scores=(base, *compared))


@pytest.mark.parametrize(
    ("p_values", "marked"),
    [
        ((0.04, 0.5, 0.5), [False, False, False]),  # uncorrected it would be marked
        ((0.016, 0.024, 0.04), [True, True, True]),
        ((0.016, 0.026, 0.04), [True, False, False]),  # Holm stops at 2 × 0.026
        ((0.04,), [True]),
    ],
)
def test_the_variants_of_a_metric_are_one_family(
    table: ScoreTable, p_values: Sequence[float], marked: list[bool]
) -> None:
    found = three_variants(table, p_values)
    assert [found.supported(one) for one in found.scores] == [False, *marked]
    assert markdown_table(found).count("]*") == sum(marked)
    corrected = "corrected for three comparisons by Holm" in markdown_table(found)
    assert corrected == (any(marked) and len(marked) == 3)


def test_a_corrected_test_marks_nothing_whose_interval_holds_zero(table: ScoreTable) -> None:
    found = three_variants(table, (0.001, 0.001, 0.001))
    wide = replace(found, scores=(found.scores[0], *(replace(s, low=-0.1) for s in found.scores[1:])))
    assert not any(wide.supported(one) for one in wide.scores)


def test_a_caution_stands_among_the_notes(table: ScoreTable) -> None:
    careful = tuple(replace(one, caution="too few samples") for one in table.scores[:2])
    assert "- FID: too few samples.\n" in markdown_table(replace(table, scores=careful))


def test_the_note_on_marks_stands_only_where_set_metrics_are_compared(table: ScoreTable) -> None:
    per_prompt = replace(table, scores=table.scores[2:])
    assert "never marked" not in markdown_table(per_prompt)
    alone = replace(table, scores=tuple(replace(one, difference=None) for one in table.scores))
    assert "never marked" not in markdown_table(alone)


def test_an_empty_table_says_whether_scoring_was_tried(table: ScoreTable) -> None:
    assert "materialize the asset `scores`" in markdown_table(ScoreTable("e", 0, ()))
    tried = text_table(ScoreTable("e", 2, (), ("Not computed: ona FID.",)))
    assert tried == "No score could be computed. Not computed: ona FID.\n"


def test_values_and_differences_have_the_same_decimals(table: ScoreTable) -> None:
    score = replace(table.scores[1], value=143.21, spread=1.25, difference=-0.04, low=-12.3, high=4.5)
    assert (format_value(score), format_difference(score)) == ("143.2 ± 1.2", "-0.0 [-12.3, +4.5]")


def test_no_scores_yet_is_said() -> None:
    empty = ScoreTable("e", 0, ())
    for text in (markdown_table(empty), text_table(empty)):
        assert "materialize the asset `scores`" in text


def test_tables_are_written_once(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    first, second = write_tables(reported, e), write_tables(reported, e)
    assert (first.total, first.computed, second.computed) == (3, 3, 0)
    assert first.version == second.version
    assert first.preview is not None
    assert "| FID ↓ |" in first.preview.markdown
    assert (Path(reported.reports_path) / "e" / "scores.csv").read_text() == csv_table(scores_of(reported, e))


def test_the_command_prints_the_table_and_names_what_is_missing(
    reported: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = str(reported.settings.base / "settings.toml")
    assert main(["e", "--settings", settings]) == 0
    shown = capsys.readouterr().out
    assert "CLIPSIM ↑" in shown
    assert "materialize `gallery`" in shown
    assert main(["other", "--settings", settings]) == 1
    assert "no experiment 'other'" in capsys.readouterr().err
