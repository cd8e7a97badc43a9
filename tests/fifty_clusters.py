"""Fifty simulated clusters, those of the benchmarks of many clusters."""

import numpy as np

import pymc_starpop as psp

BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3", "2MASS_J", "2MASS_H", "2MASS_Ks")
N_CLUSTER, N_STAR = 50, 500
# Where field stars are drawn.
_FIELD = psp.UniformField(
    mag_range=(8.0, 22.0),
    color_ranges={
        (BANDS[1], BANDS[0]): (-0.2, 1.5), (BANDS[2], BANDS[0]): (-1.3, 0.1),
        (BANDS[3], BANDS[0]): (-2.8, 0.2), (BANDS[4], BANDS[0]): (-3.8, 0.3),
        (BANDS[5], BANDS[0]): (-4.0, 0.3),
    },
)  # fmt: skip
#: Parameters that are one for all clusters.
SHARED = {"binary_fraction": 0.3, "intrinsic_scatter": 0.02}


def fifty_clusters(iso):
    """Return the catalogs by name, and the parameters: (cluster,), or a number in `SHARED`."""
    rng = np.random.default_rng(3)
    each = {
        "feh": rng.uniform(-0.3, 0.2, N_CLUSTER),
        "log_age": rng.uniform(8.3, 9.6, N_CLUSTER),
        "distance_modulus": rng.uniform(7.0, 11.0, N_CLUSTER),
        "av": rng.uniform(0.1, 0.8, N_CLUSTER),
        "field_fraction": np.full(N_CLUSTER, 0.1),
    }
    catalogs = {
        f"cluster {c}": psp.simulate_cluster(
            iso, n_star=N_STAR, bands=BANDS, mag_err=0.02, field=_FIELD, rng=c, **SHARED,
            **{name: float(values[c]) for name, values in each.items()},
        )
        for c in range(N_CLUSTER)
    }  # fmt: skip
    return catalogs, each | SHARED
