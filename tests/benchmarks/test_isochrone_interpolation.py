"""The table of interpolation errors in docs/isochrones.md."""

import numpy as np
import pytest

import pymc_starpop as psp
from left_out_nodes import errors_at_left_out_nodes

GAIA = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")
pytestmark = pytest.mark.benchmark


def show(name, grid, bands, ages):
    for axis in ("log_age", "feh"):
        for low, high in ages:
            found = errors_at_left_out_nodes(grid, bands, axis, log_age=(low, high))
            print(f"\n| {name} | {axis} | {low:g} to {high:g} | {found.row()} |", end="")


def test_mist(iso):
    show("MIST", iso, GAIA, [(8.0, 9.2), (9.2, 10.15)])


def test_parsec():
    package = pytest.importorskip("uwastro465isos", reason="uwastro465isos is not installed")
    path = f"{package.__path__[0]}/data/isochrones_ubvrijhk.dat"
    iso = psp.read_parsec(path, log_age_range=(8.0, 10.2))
    show("PARSEC", iso, ("Bmag", "Vmag", "Imag"), [(8.0, 9.2), (9.2, 10.15)])


def read_basti_of_lachesis():
    package = pytest.importorskip("lachesis_grids", reason="lachesis-grids is not installed")
    h5py = pytest.importorskip("h5py")
    with h5py.File(package.grid_path("basti.h5")) as file:
        names = [str(name) for name in file.attrs["columns"]]
        values, feh = file["values"][()].astype(float), file["feh_values"][()]
        lengths = file["lengths"][()]
    table = {name: values[:, k] for k, name in enumerate(names)}
    table["feh"] = np.repeat(np.repeat(feh, lengths.size // feh.size), lengths)
    table["eep"] = table["eep"] + 1
    columns = {"eep": "eep", "log_teff": "log_Teff", "log_g": "log_g", "log_l": "log_L"}
    return psp.read_table(
        table, initial_mass="initial_mass", feh="feh", log_age="age", columns=columns,
        eep_scale="BaSTI",
    )  # fmt: skip


def test_basti():
    show("BaSTI", read_basti_of_lachesis(), GAIA, [(9.0, 10.2)])
