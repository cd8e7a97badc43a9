"""Magnitudes of any kind as PyTensor expressions: values of the NumPy twin, exact gradients."""

import numpy as np
import pytensor
import pytest
from pytensor import tensor as pt

import pymc_starpop as psp
from pymc_starpop.isochrones import magnitudes
from pymc_starpop.isochrones.bolometric import extinguished
from pymc_starpop.ops.photometry import model_magnitudes
from tolerances import assert_close, assert_gradient_close

THEORY = ("eep", "log_teff", "log_g", "log_l")
BANDS = {
    "computed": ["Gaia_G_EDR3", "2MASS_J"],
    "tabulated": ["V", "J"],
    "both": ["J", "TESS", "V"],
}


@pytest.fixture(scope="module")
def grids(coarse):
    """Corrections, a table of two bands, and a table with corrections added."""
    columns = {name: [] for name in ("feh", "log_age", "m", *THEORY, "V", "J")}
    for feh in coarse.feh[8:12]:
        for age in coarse.log_age[58:63]:
            one = coarse.at(feh, age, ["Bessell_V", "2MASS_J"])
            for name in THEORY:
                columns[name].append(getattr(one, name))
            columns["m"].append(one.initial_mass)
            columns["feh"].append(np.full(len(one), feh))
            columns["log_age"].append(np.full(len(one), age))
            columns["V"].append(one.abs_mag[:, 0])
            columns["J"].append(one.abs_mag[:, 1])
    table = {name: np.concatenate(parts) for name, parts in columns.items()}
    tabulated = psp.read_table(
        table, initial_mass="m", feh="feh", log_age="log_age", bands=["V", "J"],
        columns=dict(zip(THEORY, THEORY, strict=True)), eep_scale="MIST",
        wavelength={"V": 0.55, "J": 1.24},
    )  # fmt: skip
    return {"computed": coarse, "tabulated": tabulated, "both": tabulated.with_bolometric()}


@pytest.mark.parametrize("kind", list(BANDS))
def test_values_and_gradients(grids, kind, rng):
    grid, bands, n = grids[kind], BANDS[kind], 60
    low, high = grid.log_age[[0, -1]] if kind != "computed" else (9.0, 9.8)
    x = pt.dvector("x")
    corrections = psp.EmpiricalCorrections() if kind == "computed" else None
    track = model_magnitudes(grid, bands, (x[0], x[1]), (x[2], x[3]), corrections, n)
    assert track.teff_slope is None
    weights = [rng.normal(size=(n, len(bands))) for _ in range(2)]
    parts = [track.log10_mass.sum(), track.log_teff.sum()]
    total = sum(parts) + (track.mag * weights[0]).sum() + (track.reddening * weights[1]).sum()
    outputs = [track.log10_mass, track.log_teff, track.mag, track.reddening]
    f = pytensor.function([x], [*outputs, total, pytensor.grad(total, x)])
    for _ in range(3):
        at = np.array([rng.uniform(-0.2, 0.45), rng.uniform(low, high), rng.uniform(0, 2), 2.9])
        *values, _, gradient = f(at)
        twin = magnitudes.model_magnitudes(
            grid, bands, (at[0], at[1]), (at[2], at[3]), corrections, n
        )
        assert twin.teff_slope is None
        columns = (twin.log10_mass, twin.log_teff, twin.mag, twin.reddening)
        for value, expected in zip(values, columns, strict=True):
            assert_close(value, expected, "same_formula")
        steps = 1e-6 * np.eye(4)
        differences = [(f(at + d)[4] - f(at - d)[4]) / 2e-6 for d in steps]
        scale = max(1.0, np.abs(gradient).max() * 1e-3)
        assert_gradient_close(gradient / scale, np.array(differences) / scale)


@pytest.mark.parametrize("fixed", [False, True], ids=["all symbolic", "extinction symbolic"])
def test_the_slope_in_temperature(coarse, rng, fixed):
    """That of the corrections at fixed gravity, and its gradient in all that moves the nodes."""
    bands, n, at = BANDS["computed"], 60, np.array([0.07, 9.33, 0.6, 2.9])
    x = pt.dvector("x")
    node = tuple(at[:2]) if fixed else (x[0], x[1])
    track = model_magnitudes(
        coarse, bands, node, (x[2], x[3]), None, n, with_reddening=False, with_teff_slope=True
    )
    assert track.reddening is None
    # The corrections are steep where they end, beyond the coolest stars.
    weights = rng.normal(size=(n, len(bands))) * (np.arange(n) >= 30)[:, None]
    total = (track.teff_slope * weights).sum()
    wanted = pytensor.grad(total, x, disconnected_inputs="ignore")
    slope, _, gradient = (f := pytensor.function([x], [track.teff_slope, total, wanted]))(at)
    step, one = magnitudes.TEFF_STEP, coarse.at(*at[:2], bands)
    table = coarse.bolometric(bands)
    low, high = (
        extinguished(table.interpolate(one.log_teff + d, one.log_g, at[0]), at[2])[0]
        for d in (-step, step)
    )
    assert_close(slope, (low - high)[:n] / (2.0 * step), "same_formula")
    differences = [(f(at + d)[1] - f(at - d)[1]) / 2e-6 for d in 1e-6 * np.eye(4)]
    free = slice(2, None) if fixed else slice(None)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(gradient[free] / scale, np.array(differences)[free] / scale,
                               atol=1e-8)  # fmt: skip


def test_a_slope_in_temperature_needs_corrections(grids):
    with pytest.raises(ValueError, match=r"log_teff_scatter: .* in V are tabulated.*take bolom"):
        model_magnitudes(grids["both"], ["TESS", "V"], (0.0, 9.5), with_teff_slope=True)


@pytest.mark.parametrize("kind", list(BANDS))
def test_magnitudes_are_those_of_the_grid(grids, kind):
    grid, bands = grids[kind], BANDS[kind]
    one = grid.at(0.1, grid.log_age[1], bands, av=0.4, rv=2.7)
    twin = magnitudes.model_magnitudes(grid, bands, (0.1, grid.log_age[1]), (0.4, 2.7))
    assert_close(twin.mag, one.abs_mag, "same_formula")
    assert_close(10.0**twin.log10_mass, one.initial_mass, "same_formula")
    steps = [
        grid.at(0.1, grid.log_age[1], bands, av=0.4 + h, rv=2.7).abs_mag for h in (1e-5, -1e-5)
    ]
    assert_gradient_close(twin.reddening, (steps[0] - steps[1]) / 2e-5)


def test_corrections_need_magnitudes_that_follow_from_theory(grids):
    corrections = psp.EmpiricalCorrections()
    with pytest.raises(ValueError, match="corrections: the magnitudes in V are tabulated"):
        model_magnitudes(grids["both"], ["TESS", "V"], (0.0, 9.5), corrections=corrections)
    assert model_magnitudes(grids["both"], ["TESS"], (0.0, 9.5), corrections=corrections)
    rows = psp.read_table(
        {"m": [0.1, 0.5, 1.0], "T": [3.5, 3.6, 3.7], "g": [5.0, 4.8, 4.4], "l": [-3.0, -1.0, 0.0]},
        initial_mass="m", feh=0.0, log_age=9.5,
        columns={"log_teff": "T", "log_g": "g", "log_l": "l"},
    )  # fmt: skip
    with pytest.raises(ValueError, match="fade at EEP 454 of MIST"):
        model_magnitudes(rows, ["TESS"], (0.0, 9.5), corrections=corrections)


def test_isochrones_without_temperatures():
    table = {"m": [0.1, 0.5, 1.0], "V": [12.0, 8.0, 4.0]}
    iso = psp.read_table(table, initial_mass="m", feh=0.0, log_age=9.5, bands=["V"])
    track = model_magnitudes(iso, ["V"], (0.0, 9.5))
    assert track.log_teff is None
    np.testing.assert_array_equal(track.mag.eval()[:, 0], table["V"])


@pytest.fixture(scope="module")
def likelihood(grids):
    """Binaries, field, differential extinction, on a grid whose magnitudes are tabulated."""
    grid = grids["tabulated"]
    fixed = {
        "distance_modulus": 8.0, "binary_fraction": 0.4, "field_fraction": 0.1,
        "intrinsic_scatter": 0.02, "av_scatter": 0.05, "mass_ratio_nodes": 9,
    }  # fmt: skip
    age = float(grid.log_age[2])
    cat = psp.simulate_cluster(
        grid, n_star=25, bands=["V", "J"], rng=4, mag_err=0.02, feh=0.1, log_age=age, av=0.3,
        **(fixed | {"field_fraction": 0.0}),
    )  # fmt: skip
    x = pt.dvector("x")
    logp = psp.cluster_logp(grid, cat, feh=x[0], log_age=x[1], av=x[2], **fixed)
    return grid, cat, fixed, pytensor.function([x], [logp, pytensor.grad(logp.sum(), x)])


def test_likelihood_of_tabulated_magnitudes(likelihood):
    grid, cat, fixed, f = likelihood
    at = np.array([0.13, grid.log_age[1] + 0.02, 0.25])
    value, gradient = f(at)
    expected = psp.reference.cluster_logp(grid, cat, feh=at[0], log_age=at[1], av=at[2], **fixed)
    assert_close(value, expected, "pruned")
    steps = 1e-6 * np.eye(3)
    assert_gradient_close(gradient, [(f(at + d)[0] - f(at - d)[0]).sum() / 2e-6 for d in steps])
    assert np.isneginf(f([0.9, *at[1:]])[0]).all()


def test_lowest_mass_is_the_grids(grids, likelihood):
    _, cat, fixed, _ = likelihood
    one = grids["computed"].at(0.0, 9.5, ["Bessell_V", "2MASS_J"])
    keep = one.initial_mass > 0.13
    rows = {"m": one.initial_mass[keep], "V": one.abs_mag[keep, 0], "J": one.abs_mag[keep, 1]}
    grid = psp.read_table(rows, initial_mass="m", feh=0.0, log_age=9.5, bands=["V", "J"])
    assert grid.option_defaults["mass_min"] == grid.mass_min > 0.13
    fixed = fixed | {"feh": 0.0, "log_age": 9.5, "av_scatter": 0.0}
    with pytest.raises(ValueError, match=r"mass_min=0.1 is not possible: expected 0.13.* to 0.5"):
        psp.cluster_logp(grid, cat, mass_min=0.1, **fixed)
    with pytest.raises(ValueError, match="av: the extinction in V, J is not known"):
        psp.cluster_logp(grid, cat, **(fixed | {"av_scatter": 0.1}))
