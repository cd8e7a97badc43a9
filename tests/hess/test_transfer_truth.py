"""Artificial stars against what is known without them: formulas, and stars as they were measured.

`psp.observe` scales shifts by the trends that the templates use too, so that it cannot show an
error of the trends. Here the truth does not know of them.
"""

import warnings

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.hess.systems import Cells, Population
from pymc_starpop.hess.template_counts import deposit_cells
from pymc_starpop.hess.transfer import build_transfer

from .test_transfer import deviance, halves, read_ngc1978

BANDS = ("Bessell_V", "Bessell_I")
DISTANCE_MODULUS = 20.5  # the main sequence crosses the limit
AXES = psp.HessAxes(BANDS, BANDS[0], np.linspace(-0.5, 2.5, 61), np.linspace(22.0, 28.0, 61))
LAST = slice(46, 56)  # V of 26.6 to 27.6: 5.5 % of the stars are there, and few beyond


def sigma(mag):
    return 0.01 + 0.08 * np.exp((np.asarray(mag) - 26.0) / 1.1)


TRUTH = psp.ErrorModel(
    dict.fromkeys(BANDS, sigma), dict.fromkeys(BANDS, psp.LogisticCompleteness(0.98, 26.3, 0.35))
)


def artificial_stars(seed, n=40_000):
    rng = np.random.default_rng(seed)
    v = rng.uniform(20.0, 28.0, n)
    mag = np.stack([v, v - rng.uniform(-0.5, 2.5, n)], axis=1)
    out = mag + sigma(mag) * rng.normal(size=mag.shape)
    # Each band loses stars by itself.
    for band, curve in enumerate(TRUTH.completeness.values()):
        out[rng.random(n) > curve(mag[:, band]), band] = np.nan
    return psp.ArtificialStars(mag, out, bands=BANDS)


@pytest.fixture(scope="module")
def isochrone(iso):
    return iso.at(-0.5, 10.0, BANDS)


@pytest.fixture(scope="module")
def truth(isochrone):
    return template(isochrone, noise=TRUTH)


@pytest.fixture(scope="module")
def made(isochrone):
    return [template(isochrone, artificial_stars=artificial_stars(seed)) for seed in (1, 2, 3)]


def template(isochrone, **options):
    return psp.build_template(
        isochrone.initial_mass, isochrone.abs_mag, BANDS, AXES,
        distance_modulus=DISTANCE_MODULUS, **options,
    ).values  # fmt: skip


def chi_square(made, truth):
    """Of 10,000 stars, without their noise."""
    number = 1e4 / truth.sum()
    return number * (np.square(made - truth) / np.maximum(truth, 0.1 / number)).sum()


def test_templates_near_the_limit(isochrone, truth, made):
    assert 0.05 < truth[LAST].sum() / truth.sum() < 0.06
    assert truth[LAST.stop :].sum() < 0.002 * truth.sum()
    for one in made:
        assert chi_square(one, truth) < 45.0
        assert abs(one.sum() / truth.sum() - 1.0) < 0.015
        # Some hundred artificial stars tell of the completeness there.
        assert abs(one[LAST].sum() / truth[LAST].sum() - 1.0) < 0.1
    excess = np.mean([one[LAST].sum() / truth[LAST].sum() - 1.0 for one in made])
    assert abs(excess) < 0.05
    # Curves know that each band has losses and scatter of its own.
    models = [psp.ErrorModel.from_asts(artificial_stars(seed)) for seed in (1, 2, 3)]
    curves = np.mean([chi_square(template(isochrone, noise=m), truth) for m in models])
    assert np.mean([chi_square(one, truth) for one in made]) < 1.1 * curves


def draw(iso, number, per_mass):
    return psp.simulate_cmd(
        iso, {"log_age": 10.0, "mh": -0.5, "mass_formed": number / per_mass}, bands=BANDS,
        distance_modulus=DISTANCE_MODULUS, rng=4, progress=False,
    )  # fmt: skip


def test_stars_drawn_from_the_formulas(iso, truth, made):
    """10,000 stars fit templates made of artificial stars as well as their own."""
    drawn = draw(iso, 1e4, truth.sum())
    for seed, one in enumerate(made):
        counts = psp.bin_cmd(psp.observe(drawn, TRUTH, rng=seed), AXES).values
        own, of_stars = (
            deviance(counts, np.maximum(t * counts.sum() / t.sum(), 1e-4)).sum()
            for t in (truth, one)
        )
        assert of_stars < 1.1 * own


def test_observed_stars_have_the_distribution_of_the_formulas(iso, truth):
    """Those of `observe` do not clump, as they would with the fates of the nearest stars."""
    drawn = draw(iso, 5e4, truth.sum())
    counts = psp.bin_cmd(psp.observe(drawn, artificial_stars(1), rng=5), AXES).values
    expected = truth * 5e4 / truth.sum()
    filled = expected > 0.5
    counts, expected = counts[filled], expected[filled]
    excess = ((np.square(counts - expected) - expected) / expected).sum()
    assert excess * 1e4 / 5e4 < 60.0


def expected_of(transfer, mag):
    """Stars in the bins of input magnitudes (N, 2), one star each."""
    none = psp.Kroupa(), psp.NoBinaries()  # for isochrones; stars need them not
    population = Population(transfer.grid, transfer.errors, *none)
    number = np.zeros(transfer.grid.shape)
    deposit_cells(population, Cells(np.ones(len(mag)), mag, np.zeros((len(mag), 2, 2))), number)
    return transfer.apply(number)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("along_a_sequence", [True, False])
def test_stars_of_one_half_as_they_were_measured(shared_data, iso, seed, along_a_sequence):
    """Artificial stars of NGC 1978 of one half, and what the transfer of the other makes of them.

    All of them, and some that are denser near an isochrone, as stars of a population are. The
    measured magnitudes are not touched.
    """
    first, second = halves(read_ngc1978(shared_data), seed)
    rng = np.random.default_rng(seed)
    chosen = np.ones(len(first), dtype=bool)
    if along_a_sequence:
        one = iso.at(-0.4, 9.3, BANDS, av=0.2)
        v, i = (one.abs_mag + 18.5)[np.argsort(one.abs_mag[:, 1])].T
        off = first.mag[:, 0] - first.mag[:, 1] - np.interp(first.mag[:, 1], i, v - i)
        chosen = rng.random(len(first)) < np.exp(-0.5 * np.square(off / 0.15))
    mag, seen = first.mag[chosen], first.recovered.all(axis=1)[chosen]
    # Magnitudes are multiples of 0.01: edges between them.
    axes = psp.HessAxes(
        BANDS, BANDS[1], np.linspace(-0.405, 1.995, 49), np.linspace(17.495, 25.095, 77)
    )
    out = (mag + first.shift[chosen])[seen]
    counts = psp.bin_cmd(dict(zip(BANDS, out.T, strict=True)), axes).values
    expected = np.maximum(expected_of(build_transfer(second, axes), mag), 1e-4)
    # The places are given, and the control has the same: -2 ln PLR is less than with Poisson noise.
    # One control alone scatters by 4 %.
    given = dict(zip(BANDS, mag.T, strict=True))
    controls = [psp.bin_cmd(psp.observe(given, second, rng=rng), axes).values for _ in range(8)]
    control = np.mean([deviance(counts, expected).sum() for counts in controls])
    assert deviance(counts, expected).sum() < 1.1 * control
    rows = counts.sum(axis=1).reshape(-1, 19).sum(axis=1)
    predicted = expected.sum(axis=1).reshape(-1, 19).sum(axis=1)
    np.testing.assert_allclose(rows, predicted, rtol=0.02, atol=3.0 * np.sqrt(predicted.max()))
    last = counts[-8:].sum(), expected[-8:].sum()
    assert abs(last[0] - last[1]) < 0.04 * last[1] + 3.0 * np.sqrt(last[1])


def test_one_warning_of_stars_that_are_too_bright(iso):
    bright = psp.HessAxes(BANDS, BANDS[0], np.linspace(-0.5, 2.5, 31), np.linspace(16.0, 28.0, 61))
    for noise in (
        {"artificial_stars": artificial_stars(1)},
        {"noise": psp.ErrorModel.from_asts(artificial_stars(1))},
    ):
        for jobs in (1, 2):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                psp.build_templates(
                    iso, bright, log_age=[9.8, 9.9, 10.0], mh=[-0.5], ages_per_bin=1, n_jobs=jobs,
                    distance_modulus=18.0, progress=False, **noise,
                )  # fmt: skip
            texts = [str(w.message) for w in caught if "brightest artificial" in str(w.message)]
            assert texts
            assert len(texts) == len(set(texts))
            assert len(texts) == 1 or "noise" in noise  # there one a band
            assert {w.filename for w in caught} == {__file__}
