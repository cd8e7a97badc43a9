"""Grids in files: the same to the last bit, and errors for damage."""

import numpy as np
import pytest
import xarray as xr

import pymc_starpop as psp
from isochrone_files import BASTI


@pytest.fixture(params=["bundled", "tabulated", "both"])
def grid(request, iso):
    if request.param == "bundled":
        return iso.with_nodes(120)
    table = iso.at(0.0, 9.5, ["2MASS_J", "TESS"])
    columns = {key: getattr(table, key) for key in ("eep", "log_teff", "log_g", "log_l")}
    columns |= {"m": table.initial_mass, "J": table.abs_mag[:, 0]}
    own = psp.read_table(
        columns, initial_mass="m", feh=0.0, log_age=9.5, bands=["J"], eep_scale="MIST",
        columns={key: key for key in ("eep", "log_teff", "log_g", "log_l")},
        wavelength={"J": 1.24},
    )  # fmt: skip
    return own if request.param == "tabulated" else own.with_bolometric()


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_round_trip(grid, tmp_path, ending):
    path = psp.save_isochrones(grid, tmp_path / f"iso.{ending}")
    twin = psp.open_isochrones(path)
    assert twin.fingerprint == grid.fingerprint
    assert twin.option_defaults == grid.option_defaults
    assert (twin.metadata, twin.system, twin.flash_eeps) == (
        grid.metadata, grid.system, grid.flash_eeps,
    )  # fmt: skip
    bands = [*grid.bands[:1], *grid.bands[-2:]] if len(grid.bands) > 2 else grid.bands
    one, other = (g.at(0.0, 9.5, bands, av=0.3, rv=3.3).abs_mag for g in (grid, twin))
    np.testing.assert_array_equal(one, other)
    assert repr(twin) == repr(grid)


def test_metadata_name_the_files(shared_data, tmp_path):
    grid = psp.read_basti(shared_data / BASTI)
    twin = psp.open_isochrones(psp.save_isochrones(grid, tmp_path / "b.nc"))
    assert twin.metadata == {"files": [str(shared_data / BASTI)], "system": "GAIA-DR3-NEW"}


def test_files_that_are_not_there_or_something_else(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.nc does not exist"):
        psp.open_isochrones(tmp_path / "no.nc")
    with pytest.raises(ValueError, match=r"must end in \.nc"):
        psp.open_isochrones(tmp_path / "no.iso")
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.nc: cannot be read .* save the isochrones again"):
        psp.open_isochrones(tmp_path / "text.nc")
    xr.Dataset(attrs={"format": "other"}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=r"other\.nc: holds no isochrones"):
        psp.open_isochrones(tmp_path / "other.nc")


@pytest.fixture
def saved(iso, tmp_path):
    table = {"m": [0.1, 0.5, 1.0], "V": [12.0, 8.0, 4.0]}
    grid = psp.read_table(table, initial_mass="m", feh=0.0, log_age=9.5, bands=["V"])
    path = psp.save_isochrones(grid, tmp_path / "small.nc")
    return xr.load_dataset(path, engine="h5netcdf"), tmp_path / "changed.nc"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_vars("theory"), "lacks the variable theory"),
        (lambda d: d.assign_attrs(format_version=9), "format_version 9 was written by"),
        (lambda d: d.assign_attrs(parts="[{"), "damaged"),
        (lambda d: d.drop_vars("magnitudes_0"), "damaged"),
        (lambda d: d.assign(magnitudes_0=d["magnitudes_0"] + 1e-9), "damaged"),
        (lambda d: d.assign_attrs(mass_min="0.2"), "damaged"),
        (lambda d: d.assign(nodes=("node", [1, 2, 7])), "damaged"),
    ],
)
def test_damage_is_noticed(saved, change, message):
    dataset, path = saved
    change(dataset).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ValueError, match=rf"changed\.nc: .*{message}"):
        psp.open_isochrones(path)
