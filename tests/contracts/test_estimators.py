"""What every estimator keeps: known values, vmap as a loop, one compilation, derivatives, every platform."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import stats
from jaxrg.models import Observables

SHAPE = (2, 32, 2)  # chains, samples, observables
QUICKLY = {"xla_backend_optimization_level": 0}  # compiling is all the time that these tests take


class Estimator(NamedTuple):
    """All that is known of one estimator."""

    function: Callable[[jax.Array], Any]
    data: Callable[[int], np.ndarray]  # of a seed
    special: np.ndarray  # data for which some fields of the result are known exactly
    known: dict[str, Any]  # those fields; "" where the result is one array
    smooth: tuple[str, ...] = ()  # fields with derivatives with respect to the data


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def labels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 16, (4, 4), np.int32)


def accumulated(accumulator, x: jax.Array):
    """Every chain streamed by itself, then all of them merged."""

    def stream(chain):
        start = accumulator.init(chain[0])
        return jax.lax.scan(lambda state, value: (accumulator.update(state, value), None), start, chain)[0]

    return accumulator.summary(stats.merge_chains(accumulator, jax.vmap(stream)(x)))


def variance(mean: jax.Array) -> jax.Array:
    return mean[1] - mean[0] ** 2


def mean_difference(first: jax.Array, second: jax.Array) -> jax.Array:
    return jnp.mean(second) - jnp.mean(first)


# One sample up, one down, in both chains, beside their squares: the mean is 0 and the variance 1, all without errors.
SIGNS = np.broadcast_to(np.where(np.arange(32) % 2 == 0, 1.0, -1.0)[None, :, None], SHAPE).astype(np.float32)
SQUARES = np.stack([SIGNS[..., 0], SIGNS[..., 0] ** 2], axis=-1)
ONE_CLUSTER = np.zeros((4, 4), np.int32)
VALLEY = np.broadcast_to(np.abs(np.arange(32.0) - 20)[None, :, None], SHAPE).astype(np.float32)

ESTIMATORS = {
    "autocorrelation_function": Estimator(
        stats.autocorrelation_function, noise, SIGNS, {"": SIGNS[0, :17]}, smooth=("",)
    ),
    "gamma_method": Estimator(
        functools.partial(stats.gamma_method, variance),
        noise,
        SQUARES,
        {"value": 1, "error": 0, "tau_int": 0.5, "is_converged": False},
        smooth=("value", "error", "tau_int"),
    ),
    "summary": Estimator(stats.summary, noise, SIGNS, {"mean": np.zeros(2)}, smooth=("mean", "error")),
    "thermodynamics": Estimator(
        lambda x: stats.thermodynamics(Observables(x[..., 0], x[..., 1]), coupling=0.5, num_sites=8),
        noise,
        SIGNS,
        {
            "energy.value": 0,
            "specific_heat.value": 2,
            "abs_magnetization.value": 1,
            "susceptibility.value": 8,
            "binder.value": 2 / 3,
            "binder.error": 0,
        },
        smooth=("specific_heat.value", "susceptibility.value", "binder.value", "binder.error"),
    ),
    "jackknife": Estimator(
        functools.partial(stats.jackknife, variance, num_blocks=8),
        noise,
        SQUARES,
        {"value": 1, "bias_corrected": 1, "error": 0},
        smooth=("value", "error"),
    ),
    "streaming_moments": Estimator(
        functools.partial(accumulated, stats.streaming_moments()),
        noise,
        SIGNS,
        {"count": 64, "mean": np.zeros(2), "central_2": np.ones(2), "central_4": np.ones(2)},
        smooth=("mean", "central_2", "central_3", "central_4"),
    ),
    "binning": Estimator(
        functools.partial(accumulated, stats.binning()),
        noise,
        SIGNS,
        {"mean": np.zeros(2), "is_converged": np.zeros(2)},
        smooth=("mean", "error"),
    ),
    "improved_estimators": Estimator(stats.correlations.improved_estimators, labels, ONE_CLUSTER, {"m2": 1, "m4": 1}),
    "improved_two_point_function": Estimator(
        functools.partial(stats.correlations.improved_two_point_function, offsets=((0, 1), (2, 1))),
        labels,
        ONE_CLUSTER,
        {"": np.ones(2)},
    ),
    "bootstrap": Estimator(
        lambda x: stats.bootstrap(jax.random.key(0), jnp.mean, x, num_resamples=8),
        noise,
        SIGNS,
        {"value": 0, "error": 0, "lower": 0, "upper": 0, "is_converged": False},
        smooth=("value", "error"),
    ),
    "permutation_null": Estimator(
        lambda x: stats.permutation_null(jax.random.key(0), mean_difference, x[:1], x[1:], num_permutations=8),
        noise,
        SIGNS,
        {"": np.zeros(8)},
        smooth=("",),
    ),
    "chi_squared": Estimator(
        lambda x: stats.chi_squared(x**2, jnp.full(SHAPE, 1 / 128)),
        noise,
        SIGNS,
        {"statistic": 0, "num_degrees_of_freedom": 127, "p_value": 1},
        smooth=("statistic", "p_value"),
    ),
    "turning_point": Estimator(
        lambda x: stats.turning_point(np.arange(32.0), x[0, :, 0]),
        noise,
        VALLEY,
        {"time": 20, "slope_before": -1, "slope_after": 1, "r_squared": 1},
        smooth=("slope_before", "slope_after", "r_squared"),
    ),
}
# Formulas of one line, and what the rows of the accumulators call.
WITHOUT_A_ROW = {
    "bin_means",
    "binder_cumulant",
    "correlations",  # rooms, see test_two_point_functions, test_free_energies, test_reweighting and test_finite_size
    "free_energies",
    "reweighting",
    "scaling",
    "importance",  # this and the five below take weights or pairs of samples, see test_importance and test_information
    "importance_from_target",
    "mode_coverage",
    "mutual_information",
    "pairwise_information",
    "reweighted",
    "merge_chains",
    "specific_heat",
    "susceptibility",
    "thermodynamic_moments",
    "z_score",
}


def field(result: Any, name: str) -> Any:
    return functools.reduce(getattr, filter(None, name.split(".")), result)


@functools.cache
def compiled(name: str) -> Callable:
    """The estimator, and for smooth fields their derivative along a direction: one program for most of the tests."""
    row = ESTIMATORS[name]

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def estimate(x, direction):
        if not row.smooth:
            return row.function(x), ()
        _, derivatives, result = jax.jvp(
            lambda x: (lambda result: (tuple(field(result, name) for name in row.smooth), result))(row.function(x)),
            (x,),
            (direction,),
            has_aux=True,
        )
        return result, derivatives

    return estimate


def test_every_estimator_has_a_row() -> None:
    functions = {name for name in stats.__all__ if not inspect.isclass(getattr(stats, name))}
    assert functions == (set(ESTIMATORS) - set(stats.correlations.__all__)) | WITHOUT_A_ROW


@pytest.mark.parametrize("name", ESTIMATORS)
def test_known_values(name: str) -> None:
    row = ESTIMATORS[name]
    result, _ = compiled(name)(row.special, np.zeros_like(row.special))
    for key, value in row.known.items():
        np.testing.assert_allclose(field(result, key), value, atol=2e-6, err_msg=key)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_vmap_is_a_loop_and_new_values_do_not_recompile(name: str) -> None:
    row = ESTIMATORS[name]
    num_traces = 0

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def batched(x):
        nonlocal num_traces
        num_traces += 1
        return jax.vmap(row.function)(x)

    batch = batched(np.stack([row.data(0), row.data(1)]))
    batched(np.stack([row.data(2), row.data(3)]))
    assert num_traces == 1
    for index in range(2):
        alone, _ = compiled(name)(row.data(index), np.zeros_like(row.data(index)))
        for together, one in zip(jax.tree.leaves(batch), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(together[index], one, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", [name for name, row in ESTIMATORS.items() if row.smooth])
def test_derivatives_are_those_of_central_differences(name: str) -> None:
    x, direction = noise(0), noise(1)
    step = np.float32(2e-3)  # rounding and curvature cost about 1e-4 each
    _, derivatives = compiled(name)(x, direction)
    ends = [compiled(name)(x + sign * step * direction, direction)[0] for sign in (1, -1)]
    for key, derivative in zip(ESTIMATORS[name].smooth, derivatives, strict=True):
        above, below = (np.asarray(field(end, key), np.float64) for end in ends)
        scale = np.abs(derivative).max() + np.abs(above).max()
        np.testing.assert_allclose(derivative, (above - below) / (2 * step), atol=2e-3 * scale, err_msg=key)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_lowers_for_every_platform(name: str) -> None:
    row = ESTIMATORS[name]
    exported = jax.export.export(jax.jit(row.function), platforms=["cpu", "cuda", "tpu"])(row.data(0))
    assert exported.platforms == ("cpu", "cuda", "tpu")


@pytest.mark.parametrize("make", [stats.streaming_moments, lambda: stats.binning(128)])
def test_accumulators_made_again_do_not_recompile(make: Callable) -> None:
    """As arguments of jitted functions they are pytrees without leaves, compared by their functions."""
    assert jax.tree.leaves(make()) == []
    assert jax.tree.structure(make()) == jax.tree.structure(make())
    assert hash(jax.tree.structure(make())) == hash(jax.tree.structure(make()))
