"""Templates in files: what is read is what was written, and damaged files are refused."""

import json
import os
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pymc_starpop as psp
from pymc_starpop.hess import storage
from pymc_starpop.storage import datasets

# Edges that no sum of steps reproduces.
COLOR_EDGES = np.array([-0.3, 0.1, 0.7000000000000001, 2.0])
MAG_EDGES = np.array([18.0, 20.1, 22.3, 22.7, 25.0])
METADATA = {
    "distance_modulus": 25.0,
    "av": 0.1 + 0.2,
    "noise": {"Bessell_V": [0.1, 2], "Bessell_I": None},
    "progress": True,
    "source": "MIST v2.5, größe",
}


@pytest.fixture
def tmpl(rng):
    axes = psp.HessAxes(("Bessell_V", "Bessell_I"), "2MASS_J", COLOR_EDGES, MAG_EDGES)
    counts = rng.uniform(0.0, 1e-4, (3, 2, 4, 3))
    counts[0, 0] = 0.0
    counts[1, 1, 2, 0] = 5e-324
    return psp.TemplateSet.from_arrays(counts, axes, [8.1, 9.3, 10.05], [-2.2, -0.1], METADATA)


@pytest.mark.parametrize("name", ["t.nc", "t.h5", "t.zarr"])
def test_everything_comes_back_as_it_was(tmpl, tmp_path, name):
    path = tmpl.save(tmp_path / name)
    assert path == tmp_path / name
    again = psp.load_templates(str(path))
    for attribute in ("counts", "log_age", "mh"):
        np.testing.assert_array_equal(getattr(again, attribute), getattr(tmpl, attribute))
        assert getattr(again, attribute).dtype == float
    np.testing.assert_array_equal(again.axes.color_edges, COLOR_EDGES)
    np.testing.assert_array_equal(again.axes.mag_edges, MAG_EDGES)
    assert again.axes.color == ("Bessell_V", "Bessell_I")
    assert again.axes.mag == "2MASS_J"
    assert again.metadata == METADATA
    assert again.t_max_gyr is None
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["t.nc", "t.zarr"])
def test_the_end_of_the_oldest_bin_comes_back(tmpl, tmp_path, name):
    means = psp.TemplateSet.from_arrays(
        tmpl.counts, tmpl.axes, tmpl.log_age, tmpl.mh, t_max_gyr=13.1
    )
    again = psp.load_templates(means.save(tmp_path / name))
    assert again.t_max_gyr == 13.1
    np.testing.assert_array_equal(again.age_gyr, means.age_gyr)


def test_what_made_the_file_is_recorded(tmpl, tmp_path):
    with xr.open_dataset(tmpl.save(tmp_path / "t.nc")) as dataset:
        assert json.loads(dataset.attrs["metadata"]) == METADATA
        assert dataset.attrs["package_version"]
        assert dataset["counts"].dims == ("log_age", "mh", "mag", "color")
        assert dataset["counts"].attrs["units"] == "stars per bin per Msun formed"


def test_metadata_without_a_form_in_json(rng, tmp_path):
    axes = psp.HessAxes(("V", "I"), "I", [0.0, 1.0], [18.0, 20.0])
    metadata = {
        "edges": np.array([1.5, 2.5]),
        "number": np.float64(0.25),
        "imf": psp.MagnitudeLimits("I", 18.0, 20.0),
        "completeness": abs,
        "bands": ("V", "I"),
    }
    tmpl = psp.TemplateSet.from_arrays([[[[1.0]]]], axes, [9.0], [0.0], metadata)
    again = psp.load_templates(tmpl.save(tmp_path / "t.nc")).metadata
    assert again["edges"] == [1.5, 2.5]
    assert again["number"] == 0.25
    assert again["imf"]["class"] == "MagnitudeLimits"
    assert again["imf"]["faint"] == 20.0
    assert again["completeness"] == "<built-in function abs>"
    assert again["bands"] == ["V", "I"]


@pytest.mark.parametrize("name", ["t.nc", "t.zarr"])
def test_a_second_save_replaces_the_first(tmpl, tmp_path, name):
    tmpl.save(tmp_path / name)
    other = psp.TemplateSet.from_arrays(2.0 * tmpl.counts, tmpl.axes, tmpl.log_age, tmpl.mh)
    other.save(tmp_path / name)
    np.testing.assert_array_equal(psp.load_templates(tmp_path / name).counts, other.counts)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["t.nc", "t.zarr"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_interrupted_save_leaves_what_was_there(tmpl, tmp_path, monkeypatch, name, interruption):
    def write_half(self, path, **kwargs):
        Path(path).write_bytes(b"half a file")
        raise interruption

    monkeypatch.setattr(xr.Dataset, "to_netcdf", write_half)
    monkeypatch.setattr(xr.Dataset, "to_zarr", write_half)
    with pytest.raises(interruption):
        tmpl.save(tmp_path / name)
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    tmpl.save(tmp_path / name)
    monkeypatch.setattr(xr.Dataset, "to_netcdf", write_half)
    monkeypatch.setattr(xr.Dataset, "to_zarr", write_half)
    with pytest.raises(interruption):
        tmpl.save(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    np.testing.assert_array_equal(psp.load_templates(tmp_path / name).counts, tmpl.counts)


def test_a_store_comes_back_if_the_new_one_cannot_take_its_place(tmpl, tmp_path, monkeypatch):
    tmpl.save(tmp_path / "t.zarr")
    replace, calls = os.replace, []

    def fail_once(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no space left")
        replace(source, target)

    monkeypatch.setattr(storage.os, "replace", fail_once)
    with pytest.raises(OSError, match="no space left"):
        tmpl.save(tmp_path / "t.zarr")
    assert os.listdir(tmp_path) == ["t.zarr"]
    np.testing.assert_array_equal(psp.load_templates(tmp_path / "t.zarr").counts, tmpl.counts)


def test_paths_that_cannot_be(tmpl, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.nc.*got '\.txt'"):
        tmpl.save(tmp_path / "t.txt")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        tmpl.save(tmp_path / "nowhere" / "t.nc")
    with pytest.raises(FileNotFoundError, match=r"t\.nc does not exist"):
        psp.load_templates(tmp_path / "t.nc")
    for name, message in (("a.zarr", "is no Zarr store"), ("a.nc", "is a folder")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "thesis.tex").touch()
        with pytest.raises(ValueError, match=message):
            tmpl.save(folder)
        assert (folder / "thesis.tex").exists()


def test_zarr_that_is_not_installed_is_named(tmpl, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pymc-starpop\[zarr\]"):
        tmpl.save(tmp_path / "t.zarr")


def damage(dataset, what):
    """Return a dataset with one thing wrong."""
    changes = {
        "other file": lambda d: d.drop_attrs(),
        "later version": lambda d: d.assign_attrs(format_version=99),
        "no edges": lambda d: d.drop_vars("mag_edges"),
        "bad metadata": lambda d: d.assign_attrs(metadata="{"),
        "bad bands": lambda d: d.assign_attrs(color_bands='["V", "V"]'),
        "no metadata": lambda d: d.drop_attrs().assign_attrs(
            {name: value for name, value in d.attrs.items() if name != "metadata"}
        ),
        "other counts": lambda d: d.assign(counts=d["counts"] + 1e-15),
        "ages": lambda d: d.assign_coords(log_age=d["log_age"][::-1].values),
        "dims": lambda d: d.assign(counts=d["counts"].rename(mh="feh")),
    }
    return changes[what](dataset)


@pytest.mark.parametrize("name", ["t.nc", "t.zarr"])
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("other file", "holds no templates"),
        ("later version", "format_version 99"),
        ("no edges", "lacks the variable mag_edges"),
        ("bad metadata", "Expecting property name"),
        ("bad bands", "two different bands"),
        ("no metadata", "lacks the attribute metadata"),
        ("other counts", "the counts are damaged"),
        ("ages", "log_age must ascend"),
        ("dims", "dimensions"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmpl, tmp_path, name, what, message):
    good = tmpl.save(tmp_path / f"good_{name}")
    bad = tmp_path / f"bad_{name}"
    is_zarr = name.endswith("zarr")
    with xr.open_zarr(good, consolidated=False) if is_zarr else xr.open_dataset(good) as dataset:
        changed = damage(dataset.load(), what).drop_encoding()
    if is_zarr:
        changed.to_zarr(bad, consolidated=False)
    else:
        changed.to_netcdf(bad)
    with pytest.raises(ValueError, match=message) as error:
        psp.load_templates(bad)
    assert str(bad) in str(error.value)


@pytest.mark.parametrize("kind", ["text", "truncated", "flipped", "empty"])
def test_a_damaged_file_is_named(tmpl, tmp_path, kind):
    path = tmpl.save(tmp_path / "t.nc")
    content = bytearray(path.read_bytes())
    if kind == "text":
        content = bytearray(b"no HDF5 at all")
    elif kind == "truncated":
        content = content[: len(content) // 2]
    elif kind == "empty":
        content = bytearray()
    else:
        # In the middle of the first chunk of numbers.
        start = content.find(tmpl_chunk(path))
        content[start + 5] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"t\.nc: (cannot be read as|the counts are damaged)"):
        psp.load_templates(path)


def tmpl_chunk(path):
    """Return the bytes of one stored chunk."""
    import h5py

    with h5py.File(path) as file:
        return file["counts"].id.read_direct_chunk((2, 0, 0, 0))[1]


def test_a_store_that_lost_a_chunk_is_named(tmpl, tmp_path):
    store = tmpl.save(tmp_path / "t.zarr")
    for chunk in (store / "counts" / "c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
            break
    with pytest.raises(ValueError, match=r"t\.zarr: the counts are damaged"):
        psp.load_templates(store)


def test_a_folder_that_is_no_store_is_named(tmp_path):
    folder = tmp_path / "t.zarr"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"t\.zarr: cannot be read as a Zarr store"):
        psp.load_templates(folder)


def test_what_writes_files_is_installed_with_the_package():
    """From 1.8 on h5netcdf installs without h5py, and then cannot write."""
    names = [r.split(";")[0] for r in metadata.requires("pymc-starpop") if "extra ==" not in r]
    for package in ("h5netcdf", "h5py"):
        assert any(name.startswith(package) for name in names), package
