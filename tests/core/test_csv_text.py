"""What stands in a table comes back from its CSV as it was."""

import csv

from onaspr_core.csv_text import csv_text

NASTY = 'a,b "c"\nd;\'e'


def test_floats_of_the_csv_come_back_as_they_were() -> None:
    values = [0.1 + 0.2, 1e-17, -3.0, 12345.678901234567, float("inf")]
    text = csv_text({"row": NASTY, "value": value, "none": None, "n": 3} for value in values)
    found = list(csv.DictReader(text.splitlines(keepends=True)))
    assert [float(row["value"]) for row in found] == values
    assert {(row["row"], row["none"], row["n"]) for row in found} == {(NASTY, "", "3")}


def test_without_rows_there_is_a_header_only_where_columns_are_named() -> None:
    assert csv_text([]) == ""
    assert csv_text([], ["a", "b"]) == "a,b\n"
