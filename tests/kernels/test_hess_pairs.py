import numpy as np
import pytest

from pymc_starpop.kernels import reference_hess
from pymc_starpop.kernels.hess_pairs import (
    BY_STAR,
    BY_SYSTEM,
    cell_moments,
    cell_of,
    gather_pairs,
    merge_pieces,
)
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


def gather(iso, primaries, law, slope, step, least=0.0, matrix=MATRIX, number=16):
    """Cells of pairs: indices, weight, mean, covariance."""
    mass1, factor1, mag1, limits = primaries
    mass, mag, joined = split(*iso, number)
    tree = merge_pieces(mass, mag, joined, 0.2)
    width = 0.5 * np.diff(tree[1], axis=1)
    pieces = mass, mag, slope, (0.0, 1.0, np.ones(2))
    n_cell, n_band = 12_000 + 40 * 39, mag.shape[2]
    sums = np.zeros((n_cell, 1 + 2 * n_band + n_band * (n_band + 1) // 2))
    cells = np.empty(n_cell, dtype=np.int64)
    steps, least = np.full(mag1.shape, step), np.full(mass1.shape, least)
    n = gather_pairs(
        (mass1, factor1, mag1, limits, steps, least), pieces, (*tree, width * tree[2] ** slope),
        law, matrix, GRID, sums, cells,
    )  # fmt: skip
    return cells[:n], *cell_moments(sums, cells[:n], n_band)


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
    center = np.average(mag, axis=0, weights=number)
    assert_close(np.average(mean, axis=0, weights=weight), center, "pair_moments")
    off = mean - center
    spread = covariance + off[:, :, None] * off[:, None, :]
    expected = np.cov(mag.T, aweights=number, ddof=0)
    assert_close(np.average(spread, axis=0, weights=weight), expected, "pair_moments")


def test_cells_hold_the_pairs_that_fall_in_them():
    """Each cell by itself: pieces that are not merged are the points of the reference."""
    iso = isochrone()
    mass, mag, _ = split(*iso, 4)
    primaries = primaries_of(iso)
    nodes = [0.5 - np.sqrt(1 / 12), 0.5 + np.sqrt(1 / 12)]
    numbers, mags = [], []
    for _, f1, x1, (_, highest) in zip(*primaries, strict=True):
        for low, high, x_low, x_high in zip(*mass, *mag, strict=True):
            width = min(high, highest) - low
            for t in nodes if width > 0.0 else []:
                x2 = x_low + t * width / (high - low) * (x_high - x_low)
                numbers.append(0.5 * width * f1)
                mags.append(-2.5 * np.log10(10.0 ** (-0.4 * x1) + 10.0 ** (-0.4 * x2)))
    expected = reference_hess.gather_points(np.array(numbers), np.array(mags), MATRIX, GRID)
    law = (BY_STAR, 0.0, 1.0, np.ones(2))
    cells, weight, mean, covariance = gather(iso, primaries, law, 0.0, 0.0, number=4)
    assert sorted(cells) == sorted(expected)
    for cell, *found in zip(cells, weight, mean, covariance, strict=True):
        for got, right in zip(found, expected[cell], strict=True):
            np.testing.assert_allclose(got, right, rtol=1e-9, atol=1e-12)


def test_runs_with_next_to_no_weight_are_not_told_apart():
    """Their weight stays, their place is that of few stars."""
    iso = isochrone()
    law = (BY_STAR, 0.0, 1.0, np.ones(2))
    fine, coarse = (gather(iso, primaries_of(iso), law, 0.0, 1e-3, least) for least in (0.0, 1e9))
    assert coarse[0].size < 0.7 * fine[0].size
    assert_close(coarse[1].sum(), fine[1].sum(), "pair_moments")


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


def test_runs_end_at_gaps_and_at_the_longest_ratio():
    mass, mag, joined = split(*isochrone(), 2)
    first, ends, node_mass, node_flux, flux_range, whole = merge_pieces(mass, mag, joined, 0.2)
    for level in range(first.size - 1):
        for j, k in enumerate(range(first[level], first[level + 1])):
            run = slice(j << level, (j + 1) << level)
            assert ends[k].tolist() == [mass[0, run].min(), mass[1, run].max()]
            one = mass[0, run].size == 1
            joined_run = joined[run][1:].all() and np.log(ends[k, 1] / ends[k, 0]) <= 0.2
            assert whole[k] if one else whole[k] <= joined_run
            flux = 10.0 ** (-0.4 * mag[:, run])
            assert_close(flux_range[k, 0], flux.min(axis=(0, 1)), "kernel")
            assert_close(flux_range[k, 1], flux.max(axis=(0, 1)), "kernel")
            if not (one or joined_run):
                continue
            # The mean over mass, and where flux is near to linear in mass two nodes hold it.
            mean = np.average(node_flux[first[0] : first[1]][run].mean(axis=1), axis=0,
                              weights=np.diff(mass[:, run], axis=0)[0])  # fmt: skip
            at = np.stack([np.interp(node_mass[k], mass[0, run], m[run]) for m in mag[0].T], 1)
            at[node_mass[k] > mass[0, run][-1]] = np.nan
            if whole[k]:
                assert_close(node_flux[k].mean(axis=0), mean, "same_formula")
            off = np.abs(10.0 ** (-0.4 * at) - node_flux[k])
            assert np.nanmax(off / (flux_range[k, 1] - flux_range[k, 0]), initial=0.0) < 0.15
    assert not whole[first[2] :].all()
    assert whole[first[1] :].any()
