"""Correlations of small lattices, and fits of finite-size scaling to curves that differ with the seed."""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from benchmarks.calls import Call
from benchmarks.calls.stats import labels, series, spins


def curve(seed: int) -> dict[str, jax.Array]:
    x = jnp.tile(jnp.linspace(0.4, 0.6, 6), 2)
    return {"x": x, "y": 1 + x + 0.1 * jnp.abs(series(seed, 12)), "errors": jnp.full(12, 0.1)}


def two_curves(seed: int) -> dict[str, jax.Array]:
    x = jnp.linspace(0.0, 1.0, 6)
    errors = jnp.full(6, 0.1)
    both = {"first_errors": errors, "second_errors": errors}
    return {"x": x, "first": x + 0.01 * series(seed, 6), "second": 1 - x, **both}


CALLS = [
    Call("stats.correlations.improved_estimators", lambda seed: {"labels": labels(seed), "spins": spins(seed)}),
    Call(
        "stats.correlations.improved_two_point_function",
        lambda seed: {"labels": labels(seed), "offsets": [(0, 1), (1, 1)]},
    ),
    Call("stats.correlations.structure_factor", lambda seed: {"configuration": series(seed, 4, 6), "num_axes": 2}),
    Call("stats.correlations.two_point_function", lambda seed: {"configuration": series(seed, 4, 6)}),
    Call(
        "stats.correlations.second_moment_correlation_length",
        lambda seed: {"structure_factor": jnp.abs(series(seed, 4, 6)), "axis": 1},
    ),
    Call(
        "stats.scaling.least_squares",
        lambda seed: {"residuals": Partial(jnp.subtract, series(seed, 6)), "start": series(seed + 1, 6)},
        sealed=("start",),  # parameters of the residuals, which alone know what they may be
    ),
    Call("stats.scaling.power_law", lambda seed: curve(seed)),
    Call("stats.scaling.crossing", two_curves),
    Call(
        "stats.scaling.collapse",
        lambda seed: {
            **curve(seed),
            "sizes": jnp.repeat(jnp.array([8.0, 16.0]), 6),
            "critical": jnp.float32(0.5),
            "thermal": jnp.float32(1.0),
            "exponent": jnp.float32(0.25),
            "degree": 2,
        },
    ),
]
