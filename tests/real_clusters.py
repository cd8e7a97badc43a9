"""Ruprecht 147 and M67 in one model: other bands, cuts and fields, and one law of mass ratios."""

import numpy as np
import pymc as pm

import pymc_starpop as psp

NAMES = ("rup147", "m67")
# Bright stars, of which the models need no corrections: above about 0.8 Msun in both.
LIMITS = {
    "rup147": psp.MagnitudeLimits("Gaia_G_EDR3", 6.0, 14.0),
    "m67": psp.MagnitudeLimits("Gaia_G_DR2Rev", 10.0, 15.5),
}
FIELDS = {
    "rup147": psp.UniformField(),
    "m67": psp.UniformField(
        color_ranges={
            ("Gaia_BP_DR2Rev", "Gaia_G_DR2Rev"): (-0.2, 1.2),
            ("Gaia_RP_DR2Rev", "Gaia_G_DR2Rev"): (-1.2, 0.1),
        },
    ),
}
# Centers and widths of the priors: see examples/ruprecht147.py and examples/m67.py.
PRIORS = {
    "feh": ([0.10, 0.0], [0.05, 0.1]),
    "distance_pc": ([305.0, 860.0], [20.0, 60.0]),
    "av": ([0.30, 0.13], [0.10, 0.05]),
}


def stack(rup147, m67, limits=LIMITS):
    """Stack the stars of both clusters within their limits."""
    rup147 = rup147.select(~rup147.extra["duplicate"])
    return psp.StarCatalog.stack({
        name: catalog.select(limits[name].mask(catalog))
        for name, catalog in zip(NAMES, (rup147, m67), strict=True)
    })  # fmt: skip


def build_model(cats, n_nodes=300, mass_ratio_nodes=15):
    """Parameters by cluster, but for the slope of the mass ratios."""
    with pm.Model(coords=cats.coords()) as model:
        normal = {
            name: pm.Normal(name, *PRIORS[name], dims="cluster") for name in ("feh", "distance_pc")
        }
        psp.ClusterPhotometry(
            "stars", psp.load_isochrones(n_nodes), observed=cats, **normal,
            log_age=pm.Uniform("log_age", [8.8, 9.3], [10.0, 9.9], dims="cluster"),
            av=pm.TruncatedNormal("av", *PRIORS["av"], lower=0.0, upper=1.0, dims="cluster"),
            field_fraction=pm.Beta("field_fraction", 1.5, 6.0, dims="cluster"),
            binary_fraction=pm.Beta("binary_fraction", 2.0, 2.0, dims="cluster"),
            mass_ratio_slope=pm.Normal("mass_ratio_slope", 0.0, 0.5),
            intrinsic_scatter=pm.HalfNormal("intrinsic_scatter", 0.03, dims="cluster"),
            # DR3 and DR2: Lindegren et al. 2021, A&A 649, A4; 2018, A&A 616, A2. Fitted, that of
            # M67 is -0.053 +- 0.004, along a ridge with its distance.
            parallax_zero_point=np.array([-0.04, -0.05]),
            selection=LIMITS, field=FIELDS, mass_ratio_nodes=mass_ratio_nodes,
        )  # fmt: skip
    return model


def plot(cats, idata, members):
    """Panels of both clusters, with their isochrones and memberships."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12.0, 6.5), layout="constrained")
    for ax, name, system in zip(axes, cats, ("EDR3", "DR2Rev"), strict=True):
        psp.plot_cmd(
            cats, (f"Gaia_BP_{system}", f"Gaia_RP_{system}"), f"Gaia_G_{system}", cluster=name,
            iso=psp.load_isochrones(), samples=idata, membership=members, ax=ax,
            rng=np.random.default_rng(1),
        )  # fmt: skip
    return figure
