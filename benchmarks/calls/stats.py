"""Error analysis: small series, of values that differ with the seed."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from jaxrg import models, stats


def series(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape or (2, 64))


def labels(seed: int) -> jax.Array:
    return jax.random.randint(jax.random.key(seed), (4, 4), 0, 16, jnp.int32)


def spins(seed: int) -> jax.Array:
    return jax.random.rademacher(jax.random.key(seed), (4, 4), jnp.int8)


def function(seed: int):
    factor = series(seed, 1)[0]
    return lambda mean: factor * mean**2


def statistic(seed: int):
    factor = series(seed, 1)[0]
    return lambda rows: factor * jnp.mean(rows)


def difference(seed: int):
    factor = series(seed, 1)[0]
    return lambda first, second: factor * (jnp.mean(first) - jnp.mean(second))


def states(seed: int):
    moments = stats.streaming_moments()
    start = moments.update(moments.init(jnp.float32(0)), series(seed, 1)[0])
    return jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), start)


def binned(seed: int):
    bins = stats.binning()

    @jax.jit
    def stream(x):
        return jax.lax.scan(lambda state, value: (bins.update(state, value), None), bins.init(x[0]), x)[0]

    return stream(series(seed, 64))


CALLS = [
    Call("stats.autocorrelation_function", lambda seed: {"x": series(seed)}),
    Call("stats.bin_means", lambda seed: {"states": binned(seed)}),
    Call("stats.binder_cumulant", lambda seed: {"m2": series(seed, 3) ** 2, "m4": series(seed + 7, 3) ** 4}),
    Call(
        "stats.bootstrap",
        lambda seed: {
            "key": jax.random.key(seed),
            "statistic": statistic(seed),
            "groups": (series(seed, 32),),
            "num_resamples": 20,
        },
        sealed=("groups",),
    ),
    Call(
        "stats.chi_squared",
        lambda seed: {
            "observed_counts": jnp.abs(series(seed, 4)) * 10,
            "expected_probabilities": jnp.full(4, 0.25),
        },
        sealed=("expected_probabilities",),  # rounded to integers they are none
    ),
    Call(
        "stats.free_energies.bennett_acceptance_ratio",
        lambda seed: {"work": series(seed, 2, 32, 3), "reverse_work": series(seed + 7, 2, 32, 3)},
    ),
    Call("stats.free_energies.multistate_bennett", lambda seed: {"energies": series(seed, 2, 32, 3, 3)}),
    Call("stats.gamma_method", lambda seed: {"fn": function(seed), "x": series(seed)}),
    Call("stats.importance", lambda seed: {"log_weights": series(seed, 64)}),
    Call("stats.importance_from_target", lambda seed: {"log_weights": series(seed, 64)}),
    Call("stats.jackknife", lambda seed: {"fn": function(seed), "x": series(seed)}),
    Call("stats.merge_chains", lambda seed: {"accumulator": stats.streaming_moments(), "states": states(seed)}),
    Call(
        "stats.mode_coverage",
        lambda seed: {"sectors": labels(seed).ravel() % 2, "reference": jnp.array([0.5, 0.5 + seed])},
    ),
    Call(
        "stats.permutation_null",
        lambda seed: {
            "key": jax.random.key(seed),
            "statistic": difference(seed),
            "first": series(seed, 16),
            "second": series(seed + 1, 12),
            "num_permutations": 10,
        },
    ),
    Call("stats.mutual_information", lambda seed: {"x": series(seed, 50), "y": series(seed + 1, 50)}),
    Call("stats.pairwise_information", lambda seed: {"samples": series(seed, 20, 3)}),
    Call("stats.reweighted", lambda seed: {"log_weights": series(seed, 64), "values": series(seed + 1, 64, 2)}),
    Call(
        "stats.specific_heat",
        lambda seed: {
            "energy": series(seed, 3),
            "energy_squared": series(seed, 3) ** 2,
            "coupling": jnp.float32(seed + 0.5),
            "num_sites": 16,
        },
    ),
    Call(
        "stats.susceptibility",
        lambda seed: {"magnetization": series(seed, 3), "magnetization_squared": series(seed, 3) ** 2, "num_sites": 16},
    ),
    Call("stats.summary", lambda seed: {"trace": series(seed)}),
    Call(
        "stats.thermodynamic_moments",
        lambda seed: {"energy": series(seed), "magnetization": series(seed + 1), "around": jnp.float32(seed)},
    ),
    Call(
        "stats.thermodynamics",
        lambda seed: {
            "trace": models.Observables(series(seed), series(seed + 1)),
            "coupling": jnp.float32(0.4 + 0.01 * seed),
            "num_sites": 16,
        },
    ),
    Call("stats.turning_point", lambda seed: {"times": jnp.arange(8.0), "curve": series(seed, 8)}),
    Call(
        "stats.z_score",
        lambda seed: {"mean": series(seed, 3), "error": jnp.abs(series(seed + 1, 3)), "exact": jnp.zeros(3)},
    ),
]

NOT_CALLED = {
    "stats.binning": "makes an accumulator, whose functions run inside compiled ones",
    "stats.streaming_moments": "makes an accumulator, whose functions run inside compiled ones",
}
