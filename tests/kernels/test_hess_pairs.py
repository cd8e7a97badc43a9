import numpy as np
import pytest

from pymc_starpop.kernels.hess_companions import merge_pieces
from pymc_starpop.kernels.hess_pairs import (
    BY_STAR,
    BY_SYSTEM,
    cell_moments,
    cell_of,
    gather_pairs,
    moment_sums,
)
from pymc_starpop.kernels.reference import hess as reference_hess
from tolerances import assert_close

MATRIX = np.array([[1.0, -1.0], [0.0, 1.0]])
# Rows of 0.1 and 0.05 mag from -2 to 6, one row over two strips, and one cell less at its end.
GRID = (
    -1.0, -2.0, 10.0,
    np.concatenate([np.arange(0, 120, 3), np.full(2, 120), np.arange(121, 159)]),
    np.concatenate([np.full(40, 3.0), np.ones(40)]),
    np.concatenate([np.full(120, 25.0), np.full(39, 10.0)]),
    np.concatenate([np.full(120, 100), np.full(39, 40)]),
    np.concatenate([100 * np.arange(120), 12_000 + 40 * np.arange(39)]),
)  # fmt: skip


def isochrone(n_band=2):
    """A main sequence, a turn-off and a giant branch, a gap, and a clump that turns back."""
    mass = np.array([0.15, 0.3, 0.6, 0.8, 0.88, 0.9, 0.905, 0.905, 0.907, 0.908])
    blue = np.array([7.9, 7.5, 6.3, 4.8, 3.9, 2.5, 1.2, 1.5, 1.4, 1.55])
    color = np.array([1.6, 1.4, 0.9, 0.6, 0.55, 0.85, 1.2, 0.3, 0.4, 0.35])
    mag = np.stack([blue, blue - color, blue - 1.7 * color], axis=1)[:, :n_band]
    return mass, mag


def split(mass, mag, number):
    """Ends (2, P), (2, P, B) of equal pieces of the segments, and whether they are joined."""
    ends = [[], []], [[], []]
    joined = []
    for e in np.flatnonzero(np.diff(mass) > 0.0):
        t = np.linspace(0.0, 1.0, number + 1)
        m = mass[e] + t * (mass[e + 1] - mass[e])
        x = mag[e] + t[:, None] * (mag[e + 1] - mag[e])
        for k, part in enumerate((slice(None, -1), slice(1, None))):
            ends[0][k].append(m[part])
            ends[1][k].append(x[part])
        joined += [e > 0 and mass[e] > mass[e - 1], *[True] * (number - 1)]
    masses, mags = (np.array([np.concatenate(x) for x in side]) for side in ends)
    return masses, mags, np.array(joined)


def gather(
    iso, primaries, law, slope, step, least=0.0, matrix=MATRIX, number=16, near=0.0, spread=None
):
    """Cells of pairs: indices (-1 - i for those of primary i), weight, mean, covariance."""
    mass1, factor1, mag1, limits = primaries
    mass, mag, _ = split(*iso, number)
    pieces = mass, mag, slope, (0.0, 1.0, np.ones(2))
    n, n_band = mag1.shape
    spread = np.zeros((n, n_band + 1, n_band + 1)) if spread is None else spread
    steps, least = np.full(mag1.shape, step), np.full(mass1.shape, least)
    index = np.zeros(12_000 + 40 * 39, dtype=np.int32)
    sums = gather_pairs(
        (mass1, factor1, mag1, spread, limits, steps, least), pieces, merge_pieces(pieces), law,
        tuple(map(tuple, matrix.tolist())), GRID, (0.15, near), index,
        moment_sums(np.zeros(n), mag1, np.zeros((n, n_band, n_band))),
    )  # fmt: skip
    cells = np.arange(sums.shape[0]) - 2 * sums.shape[0]
    cells[:n] = -1 - np.arange(n)
    cells[index[index > 0] - 1] = np.flatnonzero(index)
    held = sums[:, 0] > 0.0
    return cells[held], *cell_moments(sums[held], n_band)


def primaries_of(iso, lowest=0.0):
    """Few primaries in all phases, with companions up to their own mass."""
    mass = np.array([0.2, 0.45, 0.79, 0.87, 0.9001, 0.9049, 0.9062])
    up = np.diff(iso[0], prepend=0.0) > 0.0
    mag = np.stack([np.interp(mass, iso[0][up], column[up]) for column in iso[1].T], axis=1)
    return mass, np.linspace(1.0, 2.0, mass.size), mag, np.stack([lowest * mass, mass], axis=1)


def brute(iso, primaries, weight, step=1e-3):
    """Every pair by itself: numbers and magnitudes."""
    numbers, mags = [], []
    for m1, f1, x1, (lowest, highest) in zip(*primaries, strict=True):
        for e in np.flatnonzero(np.diff(iso[0]) > 0.0):
            low, high = max(iso[0][e], lowest), min(iso[0][e + 1], highest)
            if high <= low:
                continue
            n = int(np.ceil(np.abs(np.diff(iso[1][e : e + 2], axis=0)).max() / step))
            m2 = low + (np.arange(n) + 0.5) * (high - low) / n
            x2 = np.stack([np.interp(m2, iso[0][e : e + 2], c[e : e + 2]) for c in iso[1].T], 1)
            numbers.append(f1 * weight(m1, m2) * (high - low) / n)
            mags.append(-2.5 * np.log10(10.0 ** (-0.4 * x1) + 10.0 ** (-0.4 * x2)))
    return np.concatenate(numbers), np.concatenate(mags)


def table_of(function):
    log_mass = np.linspace(np.log(0.1), np.log(3.0), 8000)
    return log_mass[0], log_mass[1] - log_mass[0], function(np.exp(log_mass))


@pytest.mark.parametrize("n_band", [2, 3])
@pytest.mark.parametrize("kind", [BY_STAR, BY_SYSTEM])
def test_pairs_against_every_pair_by_itself(kind, n_band):
    """Sum, mean and covariance over all cells, for evolved pairs, equal masses and lowest ratios.

    The last mass function has a break; the third band is that of the magnitude.
    """
    iso = isochrone(n_band)
    matrix = MATRIX if n_band == 2 else np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    primaries, slope = primaries_of(iso, lowest=0.25), -0.7

    def system(mass):
        return mass**-1.3 * np.minimum(1.0, (mass / 0.7) ** -1.0)

    law = (BY_STAR, 0.0, 1.0, np.ones(2)) if kind == BY_STAR else (kind, *table_of(system))
    number, mag = brute(
        iso, primaries,
        lambda m1, m2: m2**slope * (1.0 if kind == BY_STAR else system(m1 + m2)),
    )  # fmt: skip
    _, weight, mean, covariance = gather(iso, primaries, law, slope, 0.01, matrix=matrix)
    assert_close(weight.sum(), number.sum(), "pair_moments")
    found = moments_together(weight, mean, covariance)
    assert_close(found[1], np.average(mag, axis=0, weights=number), "pair_moments")
    assert_close(found[2], np.cov(mag.T, aweights=number, ddof=0), "pair_moments")


def brute_boxes(iso, primaries, spread, law, slope, number):
    """Every primary with every piece: numbers, magnitudes and covariances to second order."""
    mass, mag, _ = split(*iso, number)
    boxes = []
    for (m1, f1, x1, (_, highest)), own in zip(zip(*primaries, strict=True), spread, strict=True):
        for low, high, x_low, x_high in zip(*mass, *mag, strict=True):
            width = min(high, highest) - low
            if width <= 0.0:
                continue
            m2 = low + width * np.array([0.5 - np.sqrt(1 / 12), 0.5 + np.sqrt(1 / 12)])
            x2 = x_low + (m2[:, None] - low) / (high - low) * (x_high - x_low)
            z = np.column_stack([m2, 10.0 ** (-0.4 * (x2 - x1))])
            weight = 0.5 * width * m2**slope
            mean = np.average(z, axis=0, weights=weight)
            cov = np.cov(z.T, aweights=weight, ddof=0)
            s = np.sqrt(own[0, 0] + cov[0, 0])
            total = m1 + mean[0]
            before, behind = law(total - s), law(total + s)
            tilt = (behind - before) / (before + behind) / s
            ratio = mean[1:] + tilt * cov[0, 1:]
            share = 1.0 / (1.0 + ratio)
            of_first = np.outer(share, share) * own[1:, 1:]
            scale = 2.5 / np.log(10.0)
            of_second = scale**2 * np.outer(share, share) * cov[1:, 1:]
            x = x1 - scale * np.log1p(ratio) + share * tilt * own[0, 1:]
            x += 0.5 / scale * np.diag(of_second - ratio * of_first)
            boxes.append((f1 * weight.sum() * 0.5 * (before + behind), x, of_first + of_second))
    return (np.array(column) for column in zip(*boxes, strict=True))


def test_cells_hold_the_boxes_that_fall_in_them(rng):
    """Each cell by itself: pieces that are not merged are the boxes of the reference."""
    iso, number = isochrone(), 4
    primaries = primaries_of(iso)
    along = rng.normal(size=(primaries[0].size, 3)) * [0.01, 0.1, 0.1]
    spread = along[:, :, None] * along[:, None, :] + 1e-4 * np.diag([0.01, 1.0, 1.0])
    law = table_of(lambda mass: mass**-1.3)
    # The table itself, whose nodes differ from the function by 1e-7.
    at = law[0] + law[1] * np.arange(law[2].size)
    boxes = brute_boxes(
        iso, primaries, spread, lambda m: np.interp(np.log(m), at, law[2]), 0.7, number
    )
    expected = reference_hess.gather_points(*boxes, MATRIX, GRID)
    cells, weight, mean, covariance = gather(
        iso, primaries, (BY_SYSTEM, *law), 0.7, 1e-9, number=number, spread=spread
    )
    assert sorted(cells) == sorted(expected)
    for cell, *found in zip(cells, weight, mean, covariance, strict=True):
        for got, right in zip(found, expected[cell], strict=True):
            np.testing.assert_allclose(got, right, rtol=1e-8, atol=1e-11)


def moments_together(weight, mean, covariance):
    """Weight, mean and covariance over all cells."""
    center = np.average(mean, axis=0, weights=weight)
    off = mean - center
    spread = covariance + off[:, :, None] * off[:, None, :]
    return weight.sum(), center, np.average(spread, axis=0, weights=weight)


def test_boxes_next_to_their_primaries_are_added_to_these():
    """And all cells together hold what they hold without it."""
    iso = isochrone()
    law, primaries = (BY_STAR, 0.0, 1.0, np.ones(2)), primaries_of(iso)
    apart = gather(iso, primaries, law, 0.0, 0.01)
    near = gather(iso, primaries, law, 0.0, 0.01, near=3.0)
    added = near[0] < 0
    assert added.any()
    assert not (apart[0] < 0).any()
    off = near[2][added] - primaries[2][-1 - near[0][added]]
    assert np.abs(off).max() < 0.03
    for got, right in zip(moments_together(*near[1:]), moments_together(*apart[1:]), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-10)


def test_runs_with_next_to_no_weight_are_not_told_apart():
    """Their weight stays, their place is that of few stars."""
    iso = isochrone()
    law = (BY_STAR, 0.0, 1.0, np.ones(2))
    # One primary: runs of several end where the companions of one of them do.
    primaries = tuple(column[4:5] for column in primaries_of(iso))
    fine, coarse = (gather(iso, primaries, law, 0.0, 1e-3, least) for least in (0.0, 1e9))
    assert coarse[0].size < 0.7 * fine[0].size
    assert_close(coarse[1].sum(), fine[1].sum(), "pair_moments")


def test_primaries_share_their_runs_and_not_their_companions():
    """Nineteen primaries, alike and not, hold together what each holds by itself."""
    iso, law = isochrone(), (BY_SYSTEM, *table_of(lambda mass: mass**-1.3))
    mass = np.concatenate([np.linspace(0.78, 0.8, 11), np.linspace(0.2, 0.9, 8)])
    mag = np.stack([np.interp(mass, iso[0], column) for column in iso[1].T], axis=1)
    limits = np.stack([0.3 * mass, mass], axis=1)
    # One without companions, and one that weighs nothing, among them.
    limits[4, 1], factor = 0.1, np.ones(mass.size)
    factor[7] = 0.0
    all_of_them = mass, factor, mag, limits
    together = gather(iso, all_of_them, law, -0.5, 0.02)
    single = [
        gather(iso, tuple(column[i : i + 1] for column in all_of_them), law, -0.5, 0.02)
        for i in range(mass.size)
    ]
    alone = [np.concatenate([one[k] for one in single]) for k in (1, 2, 3)]
    assert [one[0].size for one in single].count(0) == 2
    found, right = moments_together(*together[1:]), moments_together(*alone)
    np.testing.assert_allclose(found[0], right[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], right[1], atol=1e-5)
    np.testing.assert_allclose(found[2], right[2], atol=1e-5)


def test_primaries_that_weigh_nothing_are_skipped():
    iso = isochrone()
    mass, factor, mag, limits = primaries_of(iso)
    law = (BY_STAR, 0.0, 1.0, np.ones(2))
    assert gather(iso, (mass, 0.0 * factor, mag, limits), law, 0.0, 0.1)[0].size == 0
    far = gather(iso, (mass, factor, mag - 50.0, limits), law, 0.0, 0.1)
    assert far[0].size == 0


def test_cells_of_a_grid(rng):
    places = np.stack([rng.uniform(-1.5, 3.5, 500), rng.uniform(-2.5, 6.5, 500)], axis=1)
    found = [cell_of(GRID, *place) for place in places]
    assert found == [reference_hess.cell_of(GRID, *place) for place in places]
    assert -1 in found
    assert cell_of(GRID, np.nan, 3.0) == cell_of(GRID, 0.0, np.nan) == -1
    assert cell_of(GRID, -1.0, -2.0) == 0


def test_the_tree_holds_the_moments_of_its_pieces():
    """Of runs of all lengths, over a gap too, with a weight that depends on the mass."""
    mass, mag, _ = split(*isochrone(3), 3)
    slope, table = -0.7, table_of(lambda m: m + 1.0)
    first, ends, flux_range, moments = merge_pieces((mass, mag, slope, table))
    width = np.diff(mass, axis=0)[0]
    nodes = np.array([0.5 - np.sqrt(1 / 12), 0.5 + np.sqrt(1 / 12)])[:, None]
    m = mass[0] + nodes * width
    x = mag[0] + nodes[..., None] * np.diff(mag, axis=0)[0]
    z = np.concatenate([m[..., None], 10.0 ** (-0.4 * x)], axis=2)
    weight = 0.5 * width * m**slope * (m + 1.0)
    for level in range(first.size - 1):
        for j, k in enumerate(range(first[level], first[level + 1])):
            run = slice(j << level, (j + 1) << level)
            assert ends[k].tolist() == [mass[0, run].min(), mass[1, run].max()]
            flux = 10.0 ** (-0.4 * mag[:, run])
            assert_close(flux_range[k, 0], flux.min(axis=(0, 1)), "kernel")
            assert_close(flux_range[k, 1], flux.max(axis=(0, 1)), "kernel")
            w, points = weight[:, run].ravel(), z[:, run].reshape(-1, 4)
            assert_close(moments[k, 0], w.sum(), "float32")
            assert_close(moments[k, 1:5], np.average(points, axis=0, weights=w), "float32")
            covariance = np.cov(points.T, aweights=w, ddof=0)
            assert_close(moments[k, 5:], covariance[np.tril_indices(4)], "float32")


def test_sums_and_moments_are_inverse(rng):
    weight, mean = rng.uniform(1.0, 2.0, 5), rng.normal(size=(5, 3))
    root = rng.normal(size=(5, 3, 3))
    covariance = root @ root.transpose(0, 2, 1)
    found = cell_moments(moment_sums(weight, mean, covariance), 3)
    for got, right in zip(found, (weight, mean, covariance), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-12)
