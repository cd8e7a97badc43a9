"""The pruned kernel against a plain sum along every segment, and its gradient."""

from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp

from pymc_starpop.kernels import cluster
from pymc_starpop.kernels.segment import segment_moments_many
from tolerances import TOLERANCE, assert_close
from track_fixtures import KINDS, Problem, dense_value, make_problem


@pytest.fixture(params=KINDS)
def problem(request, rng):
    return make_problem(rng, kind=request.param)


def test_value_is_the_integral_along_the_segments(problem):
    assert_close(problem.value(), dense_value(problem), "pruned")


@pytest.mark.parametrize("member", [0.0, 1.0])
def test_certain_members_and_certain_field_stars(problem, member):
    certain = replace(problem, member=np.full(len(problem.mag), member))
    assert_close(certain.value(), dense_value(certain), "pruned")
    if member == 0.0:
        assert_close(certain.value(), certain.log_field, "same_formula")


def test_one_star_one_band_one_segment(rng):
    one = make_problem(rng, n_star=3, n_track=1, n_node=9, n_band=1)
    one = replace(one, mag=one.tracks[0, 4:5] + 0.01, variance=np.array([[1e-4]]))
    one = replace(one, member=np.ones(1), log_member=np.zeros(1), log_field=np.zeros(1))
    assert_close(one.value(), dense_value(one), "pruned")


def test_a_star_without_any_band_counts_the_mass_function(problem):
    variance = problem.variance.copy()
    variance[5] = np.inf
    blind = replace(problem, variance=variance, member=np.ones(len(variance)))
    expected = blind.log_member[5] + np.log(blind.weights.sum())
    assert_close(blind.value()[5], expected, "kernel")


def test_no_segment_with_weight_leaves_the_field(problem):
    dark = replace(problem, weights=0.0 * problem.weights, scale=0.0 * problem.scale)
    assert_close(dark.value(), np.log1p(-dark.member) + dark.log_field, "same_formula")
    gradient = dark.gradient(np.ones(len(dark.mag)))
    for part in gradient:
        assert np.isfinite(part).all()
    certain = replace(dark, member=np.ones(len(dark.mag)))
    assert_array_equal(certain.value(), np.full(len(dark.mag), -np.inf))
    for part in certain.gradient(np.ones(len(dark.mag))):
        assert np.isfinite(part).all()


def test_order_of_stars_tracks_and_direction_do_not_matter(problem, rng):
    value = problem.value()
    stars, tracks = rng.permutation(len(problem.mag)), rng.permutation(len(problem.tracks))
    by_star = ["mag", "variance", "member", "log_member", "log_field"]
    by_star += ["offset"] * bool(problem.offset.size)
    mixed = replace(problem, **{name: getattr(problem, name)[stars] for name in by_star})
    assert_close(mixed.value(), value[stars], "pruned")
    by_track = ("tracks", "weights", "tilts", "scale")
    mixed = replace(problem, **{name: getattr(problem, name)[tracks] for name in by_track})
    mixed = replace(mixed, directions=problem.directions[:, tracks])
    assert_close(mixed.value(), value, "pruned")
    turned = replace(problem, **{name: getattr(problem, name)[:, ::-1] for name in by_track})
    turned = replace(turned, tilts=-turned.tilts, directions=problem.directions[:, :, ::-1])
    turned = replace(
        turned, **{name: np.ascontiguousarray(getattr(turned, name)) for name in by_track}
    )
    assert_close(turned.value(), value, "pruned")


def unpruned_value(p):
    """Log-likelihood (N,) from the moments of every segment, whatever they add."""
    mean_direction = 0.5 * (p.directions[:, :, 1:] + p.directions[:, :, :-1])
    offset = p.offset if p.offset.size else np.zeros((len(p.mag), len(p.spread)))
    everything = []
    for i in range(len(p.mag)):
        b = np.isfinite(p.variance[i])
        u = np.moveaxis(mean_direction[..., b], 0, -1)
        covariance = np.diag(p.variance[i, b]) + (u * p.spread**2) @ np.swapaxes(u, -1, -2)
        d, r = np.diff(p.tracks[..., b], axis=1), p.mag[i, b] - p.tracks[:, :-1, b]
        r = r - u @ offset[i]
        precision = np.linalg.inv(covariance)
        forms = [
            np.einsum("tsi,tsij,tsj->ts", x, precision, y).ravel()
            for x, y in ((d, d), (d, r), (r, r))
        ]
        moments = segment_moments_many(*forms, p.tilts.ravel())
        norm = -0.5 * np.linalg.slogdet(2.0 * np.pi * covariance)[1].ravel()
        everything.append(logsumexp(norm + moments[:, 0], b=moments[:, 1] * p.weights.ravel()))
    with np.errstate(divide="ignore"):
        log_field = np.log1p(-p.member) + p.log_field
    return np.logaddexp(np.log(p.member) + p.log_member + everything, log_field)


@pytest.mark.parametrize("certain", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_pruning_costs_nothing_that_can_be_seen(rng, kind, certain):
    """Many nodes, precise magnitudes: almost every pair is left out."""
    p = make_problem(rng, n_star=20, n_track=11, n_node=200, kind=kind)
    p = replace(p, variance=np.where(np.isinf(p.variance), np.inf, 0.005**2))
    if certain:
        p = replace(p, member=np.ones(20))
    assert_close(p.value(), unpruned_value(p), "pruned")


@pytest.mark.parametrize("kind", ["one", "three", "three and offsets"])
def test_directions_that_change_abruptly_are_pruned_safely(rng, kind):
    """As the derivative by the age does where stars evolve fast; some change their sign."""
    p = make_problem(rng, n_star=20, n_track=11, n_node=200, kind=kind)
    bursts = np.exp(3.0 * rng.normal(size=(*p.directions.shape[:3], 1)))
    signs = rng.choice([-1.0, 1.0], size=p.directions.shape)
    wild = replace(p, directions=np.minimum(bursts, 30.0) * signs * p.directions)
    wild = replace(wild, variance=np.where(np.isinf(p.variance), np.inf, 0.005**2))
    # Far from the star beyond 1e4 nats the sum of squares itself has only 1e-16 of them.
    assert_close(wild.value(), unpruned_value(wild), "pruned")


def test_the_unit_of_a_row_only_changes_the_density(problem):
    """A temperature in K stands beside magnitudes."""
    unit = np.array([1.0, 3000.0, 1.0])
    other = replace(
        problem,
        mag=problem.mag * unit,
        variance=problem.variance * unit**2,
        tracks=problem.tracks * unit,
        directions=problem.directions * unit,
        member=np.ones(len(problem.mag)),
    )
    same = replace(problem, member=other.member)
    change = np.where(np.isfinite(problem.variance[:, 1]), np.log(unit[1]), 0.0)
    assert_close(other.value(), same.value() - change, "pruned")


GRADIENT_OF = [f.name for f in fields(Problem) if f.name != "scale"]
STEP = 1e-5


@pytest.mark.parametrize("name", GRADIENT_OF)
def test_every_derivative_against_differences(problem, rng, name):
    """For each star by itself: a far star must not hide behind the others."""
    values = getattr(problem, name)
    n_star = len(problem.mag)
    exact = [np.asarray(getattr(problem.gradient(unit), name)) for unit in np.eye(n_star)]
    entries = list(np.ndindex(values.shape))
    if len(entries) > 40:
        entries = [entries[i] for i in rng.choice(len(entries), 40, replace=False)]
    for entry in entries:

        def moved(step, entry=entry):
            other = values.copy()
            other[entry] += step
            return replace(problem, **{name: other}).value()

        if name == "variance" and np.isinf(values[entry]):
            assert all(part[entry] == 0.0 for part in exact)
            continue
        if name == "weights" and values[entry] == 0.0:
            continue  # without weight a segment is not in the model; `scale` keeps it there
        step = STEP if name != "variance" else 1e-3 * values[entry]
        numeric = (
            8.0 * (moved(step) - moved(-step)) - (moved(2.0 * step) - moved(-2.0 * step))
        ) / (12.0 * step)
        got = np.array([part[entry] for part in exact])
        allowed = TOLERANCE["gradient"].atol * np.maximum(1.0, np.abs(numeric))
        assert_allclose(got / allowed, numeric / allowed, rtol=0.0, atol=1.0)


def test_segments_of_no_weight_have_a_gradient_where_scale_says_so(problem):
    """A binary fraction of 0: the derivative by the weights of binaries is that at small weight."""
    weights = problem.weights.copy()
    weights[2] = 0.0
    # So wide that no star is exp(100) more probable on the track without weight.
    zero = replace(problem, weights=weights, variance=problem.variance + 0.4**2)
    got = np.array([zero.gradient(unit).weights[2, 5] for unit in np.eye(len(problem.mag))])
    value = zero.value()

    def one_sided(step):
        up = weights.copy()
        up[2, 5] = step
        return (replace(zero, weights=up).value() - value) / step

    numeric = 2.0 * one_sided(1e-6) - one_sided(2e-6)
    allowed = TOLERANCE["gradient"].atol * np.maximum(1.0, np.abs(numeric))
    assert_allclose(got / allowed, numeric / allowed, rtol=0.0, atol=1.0)


@pytest.mark.parametrize("kind", ["no direction", "one"])
def test_a_track_without_weight_next_to_a_star_does_not_hide_the_others(rng, kind):
    """A binary fraction of 0 and a star on the binary sequence, 10,000 nats from the single one."""
    p = make_problem(rng, kind=kind)
    tracks = p.tracks.copy()
    tracks[2] += 3.0
    weights = p.weights.copy()
    weights[2] = 0.0
    mag = p.mag.copy()
    mag[5] = tracks[2, 6]
    member = np.full(len(mag), 0.5)
    member[5] = 1.0
    p = replace(p, mag=mag, tracks=tracks, weights=weights, member=member)
    assert_close(p.value(), dense_value(p), "pruned")
    for name, part in p.gradient(np.ones(len(mag)))._asdict().items():
        if name not in ("weights", "member"):  # beyond the range of float64, and truly so
            assert np.isfinite(part).all(), name


@pytest.mark.parametrize("n_node", [2, 3, 8, 9, 10, 17, 18])
@pytest.mark.parametrize("n_track", [1, 2, 9])
def test_any_number_of_nodes_and_tracks(rng, n_track, n_node):
    """Eight segments are taken at once: tracks may end anywhere."""
    p = make_problem(rng, n_track=n_track, n_node=20, kind="two")
    parts = {"tracks": p.tracks[:, :n_node], "directions": p.directions[:, :, :n_node]}
    parts |= {name: getattr(p, name)[:, : n_node - 1] for name in ("weights", "tilts", "scale")}
    p = replace(p, **parts)
    assert_close(p.value(), dense_value(p), "pruned")
    cotangent = rng.normal(size=len(p.mag))
    direction = rng.normal(size=p.tracks.shape)
    along = [
        cotangent @ replace(p, tracks=p.tracks + step * direction).value()
        for step in (-2 * STEP, -STEP, STEP, 2 * STEP)
    ]
    numeric = (along[0] - 8.0 * along[1] + 8.0 * along[2] - along[3]) / (12.0 * STEP)
    exact = (p.gradient(cotangent).tracks * direction).sum()
    assert_close(exact, numeric, "gradient")


def test_gradient_is_linear_in_the_cotangent(problem, rng):
    cotangent = rng.normal(size=len(problem.mag))
    parts = [problem.gradient(unit) for unit in np.eye(len(problem.mag))]
    for name, total in problem.gradient(cotangent)._asdict().items():
        summed = sum(
            c * np.asarray(getattr(part, name)) for c, part in zip(cotangent, parts, strict=True)
        )
        scale = np.abs(summed).max(initial=1.0)
        assert_close(np.asarray(total) / scale, summed / scale, "kernel")


def test_value_alone_and_with_its_gradient_are_the_same(problem):
    both, _ = cluster.cluster_value_and_gradient(*problem.arguments(), np.ones(len(problem.mag)))
    assert_close(problem.value(), both, "same_formula")


def test_a_far_star_has_the_right_finite_value_and_gradient(problem):
    """The first star is 50 standard deviations or more from everything."""
    lonely = replace(problem, member=np.ones(len(problem.mag)))
    value = lonely.value()[0]
    assert -1e5 < value < -200.0
    assert_close(value / dense_value(lonely)[0], 1.0, "kernel")
    gradient = lonely.gradient(np.eye(len(problem.mag))[0])
    assert np.abs(gradient.tracks).max() > 10.0


def test_memory_layout_does_not_matter(problem):
    arguments = [*problem.arguments(), np.ones(len(problem.mag))]
    plain = cluster.cluster_value_and_gradient_0d(*arguments)
    other = cluster.cluster_value_and_gradient_0d(*[np.asfortranarray(a) for a in arguments])
    for a, b in zip(plain, other, strict=True):
        assert_array_equal(a, b)


REFUSED = {
    "variance": ({"variance": np.ones((2, 3))}, "variance: expected the shape"),
    "tracks": ({"mag": np.ones((9, 2)), "variance": np.ones((9, 2))}, "tracks: expected shape"),
    "spread": ({"spread": np.ones(4)}, "spread: more than 3 directions"),
    "number of directions": ({"spread": np.ones(2)}, "directions: expected shape"),
    "offset": ({"offset": np.ones((4, 1))}, "offset: expected shape"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_shapes_that_do_not_fit_are_refused(rng, change, message):
    """The kernel reads from addresses: a wrong shape would read whatever lies there."""
    p = replace(make_problem(rng, kind="one"), **change)
    with pytest.raises(ValueError, match=message):
        p.value()
    with pytest.raises(ValueError, match=message):
        p.gradient(np.ones(9))


def test_directions_of_other_tracks_are_refused(rng):
    arguments = make_problem(rng, kind="one").arguments()
    arguments[3] = arguments[3][:, :, 1:].copy()
    with pytest.raises(ValueError, match="directions: expected shape"):
        cluster.cluster_value(*arguments)
