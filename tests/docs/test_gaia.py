"""The page on tables of Gaia, with simulated tables in place of the archive's."""

import re

import numpy as np
import pytensor
import pytest

import pymc_starpop as psp
from conftest import REPOSITORY

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")
FIELD = psp.UniformField(
    mag_range=(11.0, 18.0), parallax_range=(0.5, 2.0),
    color_ranges={(BANDS[1], BANDS[0]): (0, 2), (BANDS[2], BANDS[0]): (-2, 0)},
)  # fmt: skip


def blocks():
    text = (REPOSITORY / "docs" / "gaia.md").read_text(encoding="utf-8")
    assert text.count("load_isochrones()") == 1
    text = text.replace("load_isochrones()", "load_isochrones(90)")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def write_table(iso, path, n_star, field_fraction, seed):
    """A VOTable with the columns of the page's query, without 2MASS."""
    table_module = pytest.importorskip("astropy.table")
    rng = np.random.default_rng(seed)
    cat = psp.simulate_cluster(
        iso, n_star=n_star, bands=BANDS, mag_err=0.01, parallax_err=0.1, rng=rng, feh=0.0,
        log_age=9.0, distance_pc=650.0, field_fraction=field_fraction, field=FIELD,
        selection=psp.MagnitudeLimits(BANDS[0], 11.0, 18.0), mass_ratio_nodes=9,
    )  # fmt: skip
    is_field = cat.extra["is_field"][:, None]
    motion = np.where(
        is_field, rng.normal([-2.0, -4.0], [5.0, 4.0], (n_star, 2)),
        rng.normal([-11.0, -2.9], 0.15, (n_star, 2)),
    )  # fmt: skip
    columns = {
        "source_id": 4089361234567890123 + np.arange(n_star),
        "parallax": cat.parallax - 0.03, "parallax_error": cat.parallax_err,
        "pmra": motion[:, 0], "pmra_error": np.full(n_star, 0.05),
        "pmdec": motion[:, 1], "pmdec_error": np.full(n_star, 0.05),
        "pmra_pmdec_corr": np.zeros(n_star), "ruwe": rng.uniform(0.9, 1.5, n_star),
        "phot_bp_rp_excess_factor": np.full(n_star, 1.25),
    }  # fmt: skip
    for band, letters in zip(BANDS, ("g", "bp", "rp"), strict=True):
        columns[f"phot_{letters}_mean_mag"] = cat.mag[:, cat.band_index(band)]
        columns[f"phot_{letters}_mean_flux_over_error"] = np.full(n_star, 500.0)
    table_module.Table(columns).write(path, format="votable")


def test_the_page(coarse, tmp_path, monkeypatch):
    write_table(coarse, tmp_path / "cluster.vot", 250, 0.5, 1)
    write_table(coarse, tmp_path / "control.vot", 200, 1.0, 2)
    monkeypatch.chdir(tmp_path)
    names = {}
    *code, sampling = blocks()
    assert "pm.sample(" in sampling
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        for block in code:
            exec(block, names)
        model = names["model"]
        assert np.isfinite(model.compile_logp()(model.initial_point()))
    assert names["cat"].report.counts["parallax and proper motion masked, ruwe above 1.4"] > 0
    cluster = names["motions"].cluster
    assert abs(cluster.pmra + 11.0) < 0.1
    assert abs(cluster.pmdec + 2.9) < 0.1
