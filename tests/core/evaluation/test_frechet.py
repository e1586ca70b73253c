"""The Fréchet distance against closed forms and against scipy's matrix square root."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.linalg import sqrtm  # type: ignore[import-untyped]

from onaspr_core.errors import UserError
from onaspr_core.evaluation.frechet import (
    ReferenceGaussian,
    frechet_distance,
    frechet_distance_from_moments,
)

Array = npt.NDArray[np.float64]


def textbook(a: Array, b: Array) -> float:
    """Heusel et al.'s formula as clean-fid writes it, with np.cov and sqrtm."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    cross = np.trace(sqrtm(cov_a @ cov_b)).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def correlated(rng: np.random.Generator, rows: int, width: int) -> Array:
    mixed: Array = rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)
    return mixed


def test_diagonal_covariances_give_the_hand_worked_seventeen() -> None:
    found = frechet_distance_from_moments([0, 0, 0], np.diag([1.0, 4, 9]), [1, 2, 3], np.diag([4.0, 9, 16]))
    assert found == pytest.approx(17.0, rel=1e-14)


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0, 3.0])
def test_a_scaled_covariance_gives_one_minus_c_squared_times_the_trace(factor: float) -> None:
    root = np.random.default_rng(0).normal(size=(6, 6))
    covariance = root @ root.T
    found = frechet_distance_from_moments(np.zeros(6), covariance, np.zeros(6), factor**2 * covariance)
    assert found == pytest.approx((1 - factor) ** 2 * np.trace(covariance), rel=1e-9, abs=1e-9)


def test_scaled_features_give_the_same_with_more_dimensions_than_samples() -> None:
    x = np.random.default_rng(1).normal(size=(5, 40))
    x -= x.mean(axis=0)
    assert frechet_distance(x, 3 * x) == pytest.approx(4 * np.trace(np.cov(x, rowvar=False)), rel=1e-12)


@pytest.mark.parametrize(("rows_a", "rows_b"), [(200, 150), (12, 150), (150, 12)])
def test_it_agrees_with_an_independent_matrix_square_root(rows_a: int, rows_b: int) -> None:
    rng = np.random.default_rng(2)
    a, b = correlated(rng, rows_a, 24), correlated(rng, rows_b, 24)
    assert frechet_distance(a, b) == pytest.approx(textbook(a, b), rel=1e-6)


def torch_fidelity(a: Array, b: Array) -> float:
    """`fid_statistics_to_metric` of torch-fidelity's metric_fid.py, as torchmetrics' `_compute_fid`."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    diff = a.mean(axis=0) - b.mean(axis=0)
    cross = np.sum(np.sqrt(np.linalg.eigvals(cov_a.dot(cov_b))).real)
    return float(diff.dot(diff) + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def falling(decay: float) -> tuple[Array, Array]:
    rng = np.random.default_rng(7)
    mix = rng.normal(size=(64, 64)) * np.arange(1, 65)[:, None] ** -decay
    return rng.normal(size=(500, 64)) @ mix, rng.normal(size=(400, 64)) @ mix * 1.1 + 0.1


@pytest.mark.parametrize("decay", [1.5, 2.5])
def test_it_is_exact_where_a_falling_spectrum_makes_matrix_square_roots_inexact(decay: float) -> None:
    # At 2.5 both published functions are 2e-6 off a computation with 50 digits, which this agrees with.
    a, b = falling(decay)
    root_a, root_b = (np.linalg.qr((x - x.mean(0)) / np.sqrt(len(x) - 1)).R for x in (a, b))
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = np.square(root_a).sum() + np.square(root_b).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() + spread - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("decay", [0.0, 1.5, 2.5])
@pytest.mark.parametrize("few", [2, 20, 60])
def test_few_samples_on_one_side_are_as_exact_as_singular_values(few: int, decay: float) -> None:
    a, b = falling(decay)
    a = a[:few]
    root_a, root_b = (np.linalg.qr((x - x.mean(0)) / np.sqrt(len(x) - 1)).R for x in (a, b))
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = np.square(root_a).sum() + np.square(root_b).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() + spread - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-11)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_it_agrees_with_clean_fid_and_torch_fidelity(decay: float) -> None:
    a, b = falling(decay)
    assert frechet_distance(a, b) == pytest.approx(textbook(a, b), rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(torch_fidelity(a, b), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Matrix is singular")
def test_dead_features_are_no_obstacle_to_a_reference() -> None:
    rng = np.random.default_rng(8)
    a, b = correlated(rng, 40, 6), correlated(rng, 50, 6)
    a[:, 2] = b[:, 2] = b[:, 4] = 0.5
    gaussian = ReferenceGaussian(b)
    found = gaussian.distance(gaussian.project(a), np.ones(40))
    assert found == pytest.approx(textbook(a, b), rel=1e-6)
    assert frechet_distance(a[:5], b) == pytest.approx(frechet_distance(b, a[:5]), rel=1e-9)
    assert frechet_distance(a[:5], b) == pytest.approx(textbook(a[:5], b), rel=1e-6)


def test_few_samples_agree_with_the_eigenvalues_of_the_product_in_longer_arithmetic() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(4, 30)), rng.normal(size=(5, 30)) * 2 + 1
    centred_a, centred_b = (a - a.mean(0)) / np.sqrt(3), (b - b.mean(0)) / 2.0
    gram = centred_a @ centred_b.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(gram @ gram.T), 0, None)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + (centred_a**2).sum() + (centred_b**2).sum() - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_a_set_has_no_distance_to_itself_and_order_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    for rows in (6, 60):
        a, b = correlated(rng, rows, 10), correlated(rng, rows, 10)
        scale = np.trace(np.cov(a, rowvar=False))
        assert 0 <= frechet_distance(a, a[::-1]) < 1e-6 * scale
        assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_a_singular_covariance_is_no_obstacle() -> None:
    found = frechet_distance_from_moments([0, 0], np.diag([1.0, 0.0]), [0, 0], np.diag([4.0, 0.0]))
    assert found == pytest.approx(1.0, rel=1e-12)


def test_integer_and_single_precision_features_are_computed_in_double() -> None:
    x = np.random.default_rng(5).integers(0, 255, size=(30, 4))
    assert frechet_distance(x.astype(np.uint8), x[:20].astype(np.float32)) == frechet_distance(
        x.astype(np.float64), x[:20].astype(np.float64)
    )


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), "at least 2"),
        (np.zeros((4, 3)), np.array([[0.0, 1, np.nan], [0, 0, 0]]), "NaN"),
        (np.zeros((4, 3)), np.zeros((4, 2)), "width 3 and 2"),
        (np.zeros(4), np.zeros((4, 2)), "samples, dimensions"),
    ],
)
def test_what_has_no_distance_is_refused_in_a_sentence(a: Array, b: Array, told: str) -> None:
    with pytest.raises(UserError, match=told):
        frechet_distance(a, b)


@pytest.mark.parametrize(("rows", "width", "reference_rows"), [(40, 8, 60), (6, 20, 60), (30, 12, 7)])
def test_a_weighted_resample_is_the_distance_of_the_repeated_rows(
    rows: int, width: int, reference_rows: int
) -> None:
    rng = np.random.default_rng(6)
    x, reference = correlated(rng, rows, width), correlated(rng, reference_rows, width)
    gaussian = ReferenceGaussian(reference)
    counts = np.bincount(rng.integers(0, rows, rows), minlength=rows)
    found = gaussian.distance(gaussian.project(x), counts)
    assert found == pytest.approx(frechet_distance(np.repeat(x, counts, axis=0), reference), rel=1e-6)
