"""Damaged files give a grid whose values were checked, or the one kind of error."""

import gzip
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

import pymc_starpop as psp
from isochrone_files import BASTI, MIST, PARSEC, mutate, write_cmd

READERS = {
    MIST: psp.read_mist,
    BASTI: psp.read_basti,
    PARSEC: lambda path: psp.read_parsec(path, feh=-2.8, log_age=10.1),
}


@pytest.fixture(scope="module")
def originals(shared_data):
    contents = {name: (shared_data / name).read_bytes() for name in READERS}
    return {
        name: gzip.decompress(data) if name.endswith("gz") else data
        for name, data in contents.items()
    }


@pytest.fixture(scope="module")
def outputs_of_cmd(iso, tmp_path_factory):
    """Three ages of PARSEC: with labels and theory, without, and with ages in years."""
    path = tmp_path_factory.mktemp("cmd") / "full.dat"
    write_cmd(path, iso, (0.0,), (9.4, 9.5, 9.6), ("Bessell_V", "Bessell_I"), step=12)
    comments = [
        "# isochrones based on PARSEC release v1.2S",
        "# Attention: photometry includes extinction of Av=0, with coefficients for the Sun",
    ]
    rows = [line.lstrip("# ").split() for line in path.read_text().splitlines()[2:-1]]
    plain = [[field for k, field in enumerate(row) if k not in (6, 7, 8, 9)] for row in rows]
    years = [[*row[:2], f"{10 ** float(row[2]):.5e}", *row[3:]] for row in rows[1:]]
    names = [name.replace("logAge", "Age") for name in rows[0]]
    return {
        name: "\n".join([*comments, *(" ".join(row) for row in table), ""]).encode()
        for name, table in (("full", rows), ("plain", plain), ("years", [names, *years]))
    }


def survive(originals, path, n, seed, readers=READERS):
    """Read n damaged files and return how many gave a grid and how many the error."""
    rng = np.random.default_rng(seed)
    names, outcome = list(originals), {"grid": 0, "error": 0}
    for k in range(n):
        name = names[k % len(names)]
        path.write_bytes(mutate(originals[name], list(originals.values()), rng))
        try:
            iso = readers[name](path)
        except psp.IsochroneFileError as error:
            caught, iso = error, None
        outcome["error" if iso is None else "grid"] += 1
        if iso is not None:
            check_grid(iso)
            continue
        assert str(path) in str(caught)
        assert "gzip" in str(caught) if caught.line is None else caught.line >= 1
    return outcome


def check_grid(iso):
    one = iso.at(iso.feh[0], iso.log_age[0], iso.bands)
    assert np.isfinite(one.abs_mag).all()
    assert np.abs(one.abs_mag).max() < 200.0
    assert (np.diff(one.eep) > 0).all()
    assert 1e-3 <= one.initial_mass.min() < one.initial_mass.max() <= 1e3
    for name, low, high in (("log_teff", 2, 6.5), ("log_g", -5, 10), ("log_l", -10, 9)):
        values = getattr(one, name)
        assert np.isnan(values).all() or ((values >= low) & (values <= high)).all()
    assert iso.option_defaults["binary_eep_max"] <= iso.option_defaults["eep_max"]


def test_readers_survive_mutations(originals, tmp_path):
    outcome = survive(originals, tmp_path / "damaged", 300, seed=1)
    assert outcome["error"] > 100
    assert outcome["grid"] > 20


@pytest.mark.slow
def test_readers_survive_ten_thousand_mutations(originals, tmp_path):
    outcome = survive(originals, tmp_path / "damaged", 10_000, seed=2)
    assert outcome["error"] > 3000


@pytest.mark.parametrize("name", list(READERS))
def test_truncation_anywhere_is_noticed(originals, tmp_path, name):
    """At 40 places, but for the ends of rows of a plain table, which nothing can tell."""
    data, rng = originals[name], np.random.default_rng(3)
    path = tmp_path / name
    for k in rng.integers(1, len(data) - 1, 40):
        path.write_bytes(data[:k])
        if name == PARSEC and b"\n" in data[k - 1 : k + 1]:
            continue
        with pytest.raises(psp.IsochroneFileError, match=re.escape(str(path)) + ", line"):
            READERS[name](path)


@pytest.mark.parametrize("n", [150, pytest.param(3000, marks=pytest.mark.slow)])
def test_grids_of_several_ages_survive_mutations(outputs_of_cmd, tmp_path, n):
    """Their stages are looked for by labels and by shape."""
    readers = dict.fromkeys(outputs_of_cmd, psp.read_parsec)
    for name, content in outputs_of_cmd.items():
        (tmp_path / name).write_bytes(content)
        assert_allclose(psp.read_parsec(tmp_path / name).log_age, [9.4, 9.5, 9.6], atol=1e-5)
    outcome = survive(outputs_of_cmd, tmp_path / "damaged", n, seed=4, readers=readers)
    assert outcome["error"] > 0.5 * n
    assert outcome["grid"] > 0.05 * n
