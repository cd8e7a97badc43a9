"""The mass function as a table over ln M, and the stars of binaries that are seen alone."""

import math

import numpy as np
from numba import njit

from pymc_starpop.kernels.interpolation import NUMBA_OPTIONS

# Gauss-Legendre rule on [0, 1], over the probability of a mass ratio.
_RULE = np.polynomial.legendre.leggauss(8)
_NODES, _WEIGHTS = 0.5 * (1.0 + _RULE[0]), 0.5 * _RULE[1]


@njit(**NUMBA_OPTIONS)
def table_at(log_mass, table):
    """Linear interpolation in a table, clamped at its ends.

    Parameters
    ----------
    log_mass : float
        ln(M / Msun).
    table : tuple
        ``start`` and ``step`` of ln M, and ``values`` (N,), N >= 2.
    """
    start, step, values = table
    u = min(max((log_mass - start) / step, 0.0), values.size - 1.001)
    k = int(u)
    return values[k] + (u - k) * (values[k + 1] - values[k])


@njit(**NUMBA_OPTIONS)
def _share_between(bottom, top, power, mass, law, table):
    """Integral of p(q) xi(m g) g over the mass ratios q from bottom to top, with g = 1 + q^power.

    The nodes are even in the probability of q.
    """
    amplitude, slope, least = law
    bottom, top = max(bottom, least), min(top, 1.0)
    if not top > bottom:
        return 0.0
    exponent, span = slope + 1.0, math.log(top / bottom)
    even_in_log = abs(exponent * span) < 1e-9
    growth = math.expm1(exponent * span)
    total = 0.0
    for k in range(_NODES.size):
        node, weight = _NODES[k], _WEIGHTS[k]
        part = node * span if even_in_log else math.log1p(node * growth) / exponent
        system = 1.0 + (bottom * math.exp(part)) ** power
        total += weight * system * table_at(math.log(mass * system), table)
    share = span if even_in_log else growth / exponent
    return amplitude * bottom**exponent * share * total


@njit(**NUMBA_OPTIONS)
def beside_dark(mass, formed, seen, law, table):
    """Binaries per Msun of which a star of some mass is all that is seen, for each binary formed.

    A primary of mass m with a ratio q belongs to a system of m (1 + q), a secondary to one of
    m (1 + 1/q):

        int p(q) xi(m (1 + q)) (1 + q) dq + int p(q) xi(m (1 + 1/q)) (1 + 1/q) dq,

    the first over q for which the secondary is too low in mass, the second over those for which
    the primary is dead.

    Parameters
    ----------
    mass : float
        Msun.
    formed, seen : tuple of two floats
        Smallest and largest mass of systems that are formed and of stars that give light, Msun.
    law : tuple of three floats
        ``amplitude``, ``slope`` and ``least``: p(q) is amplitude q^slope for least < q < 1.
    table : tuple
        The mass function of systems, 1/Msun, as `table_at` takes it.
    """
    bottom, top = formed[0] / mass - 1.0, formed[1] / mass - 1.0
    total = _share_between(bottom, min(top, seen[0] / mass), 1, mass, law, table)
    # The mass of the system is one that is formed where the primary has what is left of it.
    heaviest, lightest = formed[1] - mass, formed[0] - mass
    bottom = mass / heaviest if heaviest > 0.0 else math.inf
    top = mass / lightest if lightest > 0.0 else math.inf
    return total + _share_between(bottom, min(top, mass / seen[1]), -1, mass, law, table)


@njit(**NUMBA_OPTIONS)
def seen_alone(mass, n_node, fraction, formed, seen, law, table):
    """Systems per Msun of which a star of each mass is all that is seen: singles, and in binaries.

    Parameters
    ----------
    mass : ndarray (P, 2)
        Msun.
    n_node : int
        Nodes, even in ln M, of a table of `beside_dark` times the mass squared, used from the least
        massive system on.
    fraction : float
        Fraction of the systems that are binaries.
    formed, seen, law, table
        As in `beside_dark`.

    Returns
    -------
    density : ndarray (P, 2)
        1/Msun.
    """
    start = math.log(max(seen[0], min(formed[0], seen[1] * 0.999)))
    step = (math.log(seen[1]) - start) / (n_node - 1)
    values = np.empty(n_node)
    for k in range(n_node):
        node = math.exp(start + k * step)
        values[k] = beside_dark(node, formed, seen, law, table) * node**2
    alone = start, step, values
    density = np.empty(mass.shape)
    for p in range(mass.shape[0]):
        for k in range(mass.shape[1]):
            m = mass[p, k]
            log_mass = math.log(m)
            # Below the least massive system the density has steps as narrow as the smallest ratio.
            if m < formed[0]:
                density[p, k] = fraction * beside_dark(m, formed, seen, law, table)
            else:
                density[p, k] = fraction * table_at(log_mass, alone) / m**2
            if formed[0] <= m <= formed[1]:
                density[p, k] += (1.0 - fraction) * table_at(log_mass, table)
    return density
