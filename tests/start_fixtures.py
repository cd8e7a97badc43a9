"""A posterior with two modes whose weights are known."""

import pymc as pm


def two_wells(depth):
    """Two equal wells in two variables, one below the other by `depth` nats; the prior is flat."""
    with pm.Model() as model:
        x = pm.Uniform("x", -10.0, 10.0)
        y = pm.Normal("y", 0.0, 100.0, shape=2)
        well = pm.math.logaddexp(-0.5 * (x - 4.0) ** 2 / 0.04, -0.5 * (x + 4.0) ** 2 / 0.04 - depth)
        pm.Potential("wells", well - 0.5 * ((y - x) ** 2).sum() / 0.01)
    return model
