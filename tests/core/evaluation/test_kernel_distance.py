"""Kernel distances against published values and the published functions, written out."""

import numpy as np
import numpy.typing as npt
import pytest

from onaspr_core.errors import UserError
from onaspr_core.evaluation import kernel_distance as module
from onaspr_core.evaluation.kernel_distance import (
    CMMD,
    JEDI,
    KID,
    Discrepancy,
    cmmd,
    jedi_distance,
    kernel_distance,
    kernel_distance_over_subsets,
)

Array = npt.NDArray[np.float64]


def sides(rows_a: int = 30, rows_b: int = 30, width: int = 7) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows_a, width)), rng.normal(size=(rows_b, width)) * 1.3 + 0.4


def torch_fidelity(x: Array, y: Array) -> float:
    """`polynomial_mmd` of torch-fidelity's metric_kid.py (after Bińkowski's), for equal numbers of rows."""
    m, d = x.shape
    xx, yy, xy = ((p @ q.T / d + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
    own = xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)
    return float(own / (m * (m - 1)) - 2 * xy.sum() / (m * m))


def clean_fid(x: Array, y: Array) -> float:
    """One subset of clean-fid's `kernel_distance`."""
    m, n = x.shape
    a = (x @ x.T / n + 1) ** 3 + (y @ y.T / n + 1) ** 3
    b = (x @ y.T / n + 1) ** 3
    return float(((a.sum() - np.diag(a).sum()) / (m - 1) - b.sum() * 2 / m) / m)


def reference_cmmd(x: Array, y: Array) -> float:
    """google-research's cmmd/distance.py in numpy."""
    gamma = 1 / (2 * 10**2)
    xn, yn = (x * x).sum(1), (y * y).sum(1)
    xx = np.exp(-gamma * (-2 * x @ x.T + xn[:, None] + xn)).mean()
    xy = np.exp(-gamma * (-2 * x @ y.T + xn[:, None] + yn)).mean()
    yy = np.exp(-gamma * (-2 * y @ y.T + yn[:, None] + yn)).mean()
    return float(1000 * (xx + yy - 2 * xy))


@pytest.fixture(params=[4, 1024])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with blocks smaller and larger than the samples."""
    monkeypatch.setattr(module, "_ROWS", request.param)


@pytest.mark.usefixtures("block")
def test_kid_agrees_with_clean_fid_and_torch_fidelity() -> None:
    a, b = sides()
    assert kernel_distance(a, b) == pytest.approx(torch_fidelity(a, b), rel=1e-10)
    assert kernel_distance(a, b) == pytest.approx(clean_fid(a, b), rel=1e-10)


def test_one_subset_of_everything_is_the_estimate_over_all() -> None:
    a, b = sides()
    mean, deviation = kernel_distance_over_subsets(a, b, subsets=5, size=30)
    assert mean == pytest.approx(torch_fidelity(a, b), rel=1e-10)
    assert deviation == pytest.approx(0.0, abs=1e-12)


def test_subsets_are_drawn_without_repetition_from_the_seed_and_centre_on_it() -> None:
    a, b = sides(60, 80)
    found = kernel_distance_over_subsets(a, b, subsets=400, size=20, seed=1)
    assert found == kernel_distance_over_subsets(a, b, subsets=400, size=20, seed=1)
    assert found != kernel_distance_over_subsets(a, b, subsets=400, size=20, seed=2)
    assert found[0] == pytest.approx(kernel_distance(a, b), abs=4 * found[1] / 20)
    generator = np.random.default_rng(3)
    first = [x[generator.choice(len(x), 20, replace=False)] for x in (a, b)]
    once = kernel_distance_over_subsets(a, b, subsets=1, size=20, seed=3)
    assert once == pytest.approx((torch_fidelity(*first), 0.0))


def test_it_is_unbiased_where_both_sides_are_alike() -> None:
    rng = np.random.default_rng(4)
    values = [kernel_distance(rng.normal(size=(9, 3)), rng.normal(size=(14, 3))) for _ in range(800)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(800)


def test_frames_of_one_video_bias_it_unless_their_owner_is_known() -> None:
    rng = np.random.default_rng(5)
    owners = np.repeat(np.arange(8), 5)
    known, unknown = [], []
    for _ in range(400):
        a, b = (rng.normal(size=(8, 3))[owners] + 0.1 * rng.normal(size=(40, 3)) for _ in range(2))
        known.append(kernel_distance(a, b, owners_a=owners, owners_b=owners))
        unknown.append(kernel_distance(a, b))
    assert abs(np.mean(known)) < 4 * np.std(known) / 20
    assert np.mean(unknown) > 10 * np.std(unknown) / 20


@pytest.mark.usefixtures("block")
def test_owners_leave_out_exactly_the_pairs_of_one_video() -> None:
    a, b = sides(6, 5)
    owners = ["x", "y", "x", "z", "y", "x"]
    cubes = (a @ a.T / 7 + 1) ** 3
    kept = [cubes[i, j] for i in range(6) for j in range(6) if owners[i] != owners[j]]
    plain = kernel_distance(a, b)
    all_pairs = (cubes.sum() - np.trace(cubes)) / 30
    expected = plain - all_pairs + np.mean(kept)
    assert kernel_distance(a, b, owners_a=owners) == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("block")
def test_cmmd_agrees_with_its_authors_on_unit_embeddings() -> None:
    a, b = sides(20, 25)
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    assert cmmd(a, b) == pytest.approx(reference_cmmd(*units), rel=1e-8)
    assert cmmd(a, a) == pytest.approx(0.0, abs=1e-9)


def test_opposite_points_have_the_cmmd_worked_by_hand() -> None:
    # Two points at distance 2: 1 + 1 − 2·exp(−4/200).
    one = np.array([[2.0, 0.0], [2.0, 0.0]])
    assert cmmd(one, -one) == pytest.approx(2000 * (1 - np.exp(-0.02)), rel=1e-10)


@pytest.mark.usefixtures("block")
def test_jedi_is_the_value_that_its_authors_print_times_a_hundred() -> None:
    a = np.arange(1, 10).reshape(3, 3)
    b = np.array([[7, 6, 5], [4, 3, 2], [1, 1, 8], [0, 2, 5]])
    assert jedi_distance(a, b) / 100 == pytest.approx(270.7, abs=0.05)


def test_jedi_is_the_distance_of_second_moments() -> None:
    a, b = sides(20, 25)
    moments = a.T @ a / 20 - b.T @ b / 25
    assert jedi_distance(a, b) == pytest.approx(100 * (moments**2).sum() / 49, rel=1e-10)


@pytest.mark.parametrize("distance", [kernel_distance, cmmd, jedi_distance])
def test_what_does_not_fit_is_refused(distance: object) -> None:
    assert callable(distance)
    good = np.ones((3, 2))
    for bad in (np.ones((3, 4)), np.ones((1, 2)), np.ones(3), np.full((3, 2), np.nan)):
        with pytest.raises(UserError):
            distance(good, bad)


def test_one_video_wrong_owners_zero_embeddings_and_large_subsets_are_refused() -> None:
    a, b = sides()
    with pytest.raises(UserError, match="one video"):
        kernel_distance(a, b, owners_a=np.zeros(30))
    with pytest.raises(UserError, match="one owner per sample"):
        kernel_distance(a, b, owners_b=np.zeros(29))
    with pytest.raises(UserError, match="zero"):
        cmmd(a, np.zeros((4, 7)))
    with pytest.raises(UserError, match="smaller subsets"):
        kernel_distance_over_subsets(a, b, size=31)


@pytest.mark.parametrize("discrepancy", [KID, CMMD, JEDI], ids=["kid", "cmmd", "jedi"])
@pytest.mark.parametrize("block", [7, 1024])
def test_a_group_left_out_gives_what_the_rest_alone_gives(
    discrepancy: Discrepancy, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS", block)
    a, b = sides(24, 20)
    owners = np.repeat(np.arange(8), 3)
    groups = np.array([0, 1, 2, 0, 1, 2, 0, 1])[owners]
    found = discrepancy.without(a, b, groups, owners_a=owners)
    by_hand = [discrepancy.of(a[groups != g], b, owners_a=owners[groups != g]) for g in range(3)]
    assert found == pytest.approx(by_hand, rel=1e-9)
    assert len(set(found)) == 3


def test_one_video_that_is_left_has_no_kernel_distance() -> None:
    a, b = sides(4, 6)
    with pytest.raises(UserError, match="of one video"):
        KID.without(a, b, [0, 0, 1, 1], owners_a=[0, 0, 1, 1])
