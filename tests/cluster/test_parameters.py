"""Sorting of arguments into parameters and options, and mapping over parameters."""

import numpy as np
import pytest

import pymc_starpop as psp
from pymc_starpop.cluster.parameters import (
    ClusterOptions,
    ClusterParameters,
    SecondPopulation,
    split_arguments,
)
from tolerances import assert_close

POSITION = {"feh": 0.1, "log_age": 9.4, "distance_pc": 305.0}


def test_arguments_are_sorted():
    imf = psp.Salpeter()
    parameters, options = split_arguments({**POSITION, "imf": imf, "mass_ratio_nodes": 41})
    assert parameters == ClusterParameters(**POSITION, imf=imf)
    assert options == ClusterOptions(mass_ratio_nodes=41)


def test_defaults_are_those_of_the_documentation():
    parameters, options = split_arguments(POSITION)
    zeros = ("av", "field_fraction", "binary_fraction", "mass_ratio_slope", "intrinsic_scatter")
    scatters = ("av_scatter", "grey_scatter", "log_teff_scatter")
    for name in (*zeros, *scatters, "parallax_zero_point"):
        assert getattr(parameters, name) == 0.0
    assert parameters.rv == 3.1
    assert parameters.imf == psp.Kroupa()
    assert parameters.corrections is None
    assert options.field == psp.UniformField()
    assert options.selection is None
    assert (options.mass_min, options.eep_max) == (0.1, 808)


def test_unknown_names_are_a_type_error_that_lists_the_known_ones():
    with pytest.raises(TypeError, match=r"unknown argument\(s\) age, z; parameters are av, ") as e:
        split_arguments({**POSITION, "z": 0.02, "age": 2.5})
    assert "mass_ratio_nodes" in str(e.value)


def test_a_missing_parameter_is_a_type_error_that_names_it():
    with pytest.raises(TypeError, match="log_age"):
        split_arguments({"feh": 0.0, "distance_pc": 10.0})


@pytest.mark.parametrize(("pc", "modulus"), [(10.0, 0.0), (100.0, 5.0), (305.0, 7.4214992)])
def test_both_distances_are_the_same_thing(pc, modulus):
    by_pc = ClusterParameters(feh=0.0, log_age=9.0, distance_pc=pc)
    by_modulus = ClusterParameters(feh=0.0, log_age=9.0, distance_modulus=modulus)
    assert by_pc.true_distance_modulus() == pytest.approx(modulus, abs=1e-7)
    assert by_modulus.true_distance_modulus() == modulus


def test_every_parameter_is_mapped_under_its_name():
    seen = {}

    def record(name, value):
        seen[name] = value
        return value

    parameters = ClusterParameters(
        **POSITION,
        imf=psp.BrokenPowerLaw((0.5, 1.0), (0.3, 1.3, 2.3)),
        corrections=psp.EmpiricalCorrections(),
    )
    assert parameters.map_values(record) == parameters
    assert seen["distance_pc"] == 305.0
    assert "distance_modulus" not in seen
    assert [seen[f"imf.slopes.{i}"] for i in range(3)] == [0.3, 1.3, 2.3]
    assert [seen[f"imf.breaks.{i}"] for i in range(2)] == [0.5, 1.0]
    assert seen["corrections.msto_smooth"] == 30.0
    # Where the mass function ends is a fixed choice, not a parameter.
    assert "imf.mass_max" not in seen


def test_mapping_replaces_values_and_leaves_the_original_alone():
    parameters = ClusterParameters(**POSITION, imf=psp.Kroupa(high_slope=2.5))
    doubled = parameters.map_values(lambda name, value: 2.0 * value)
    assert (doubled.feh, doubled.imf.high_slope, doubled.imf.break_mass) == (0.2, 5.0, 1.0)
    assert (parameters.feh, parameters.imf.high_slope) == (0.1, 2.5)


def test_a_mass_function_without_power_law_keeps_its_none():
    parameters = ClusterParameters(**POSITION, imf=psp.Chabrier("2001"))
    mapped = parameters.map_values(lambda name, value: np.float64(value))
    assert mapped.imf.high_slope is None
    assert_close(mapped.imf.density(0.3), parameters.imf.density(0.3), "same_formula")


@pytest.mark.parametrize("values", [{"fraction": [[0.2, 0.8]]}, {"log_age": [[9.0], [9.1]]}])
def test_a_second_population_has_scalars_or_one_number_a_cluster(values):
    with pytest.raises(ValueError, match="of SecondPopulation must be one number"):
        SecondPopulation(**{"fraction": 0.2, "feh": 0.1, **values})
