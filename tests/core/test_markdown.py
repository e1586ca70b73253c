import pytest

from onaspr_core.markdown import cell, table, table_of_numbers


def test_nothing_in_a_cell_is_markup_or_ends_it() -> None:
    assert cell("a | b\nc\td") == "a \\| b c d"
    assert cell("<b> & ![x](y)") == "&lt;b&gt; &amp; \\!\\[x\\](y)"
    assert cell("*_`~#\\") == "\\*\\_\\`\\~\\#\\\\"
    assert cell("ein Hund, läuft!?") == "ein Hund, läuft\\!?"


def test_a_table_has_a_head_and_a_line_for_each_row_of_plain_texts() -> None:
    lines = ["| who | what\\_is |", "|---|---|", "| a \\| b | c |", "|  | d |"]
    assert table(("who", "what_is"), [("a | b", "c"), ("", "d\n")]).splitlines() == lines
    assert table(("who",), []).splitlines() == ["| who |", "|---|"]


def test_a_row_of_another_length_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="1 cells under 2 headings"):
        table(("who", "what"), [("a",)])


def test_a_table_of_numbers_takes_cells_as_they_are() -> None:
    lines = ["| row | **n** |", "| :--- | ---: |", "| a | 1<br>2 |"]
    assert table_of_numbers(["row", "**n**"], [["a", "1<br>2"]]).splitlines() == lines
    with pytest.raises(ValueError, match="1 cells under 2 headings"):
        table_of_numbers(["", "n"], [["a"]])
