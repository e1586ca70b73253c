"""A curve as the page's script gets it: where its points lie, and what each says."""

from dataclasses import replace

import pytest

from onaspr_core.reports.plot_data import curve_data
from onaspr_core.reports.study_view import Series, StudyView
from tests.core.reports.pages import comparison, sweep


def with_series(*series: Series) -> StudyView:
    study = sweep()
    assert study.curve is not None
    return replace(study, curve=replace(study.curve, series=series))


def test_a_study_without_a_curve_has_no_data() -> None:
    assert curve_data(comparison()) is None


def test_ranges_lie_at_the_first_points_value_and_every_point_says_what_it_is() -> None:
    data = curve_data(sweep())
    assert data is not None
    fid, clipsim = data["series"]
    assert (data["axis"], data["points"]) == ("η", ["0", "0.5", "∞"])
    assert fid["values"] == [40.0, 38.5, None]
    assert fid["ranges"] == [None, [37.0, 40.25], None]
    assert fid["words"] == [
        "η 0: FID 40.00; n 200; the paper's 50, not comparable",
        "η 0.5: FID 38.50; difference to η 0 -1.50, 95 % interval [-3.00, +0.25]; n 199",
        "η ∞: FID not measured; n 200; the paper's 47.5, not comparable",
    ]
    assert clipsim["words"][2] == (
        "η ∞: CLIPSIM 0.2400; difference to η 0 -0.0100, 95 % interval [-0.0200, +0.0010]; n 200"
    )


def test_what_is_not_finite_is_no_number() -> None:
    nan, inf = float("nan"), float("inf")
    data = curve_data(
        with_series(Series("FID", "↓", (1.0, nan, 3.0), (None, None, (-inf, 1.0)), (inf, 1, nan)))
    )
    assert data is not None
    (series,) = data["series"]
    assert (series["values"], series["ranges"]) == ([1.0, None, 3.0], [None, None, None])
    assert series["paper"] == [None, 1, None]


def test_a_difference_to_a_first_point_that_has_no_value_is_not_drawn() -> None:
    data = curve_data(with_series(Series("FID", "↓", (None, 2.0, 3.0), (None, (0, 1), (0, 1)), (None,) * 3)))
    assert data is not None
    assert data["series"][0]["ranges"] == [None, None, None]


def test_a_series_of_another_length_than_the_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        curve_data(with_series(Series("FID", "↓", (1.0, 2.0), (None, None), (None, None))))
