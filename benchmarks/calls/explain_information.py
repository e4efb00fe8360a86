"""Information inside networks: exact entropies by counting, bounds with noise, and what binning makes of them."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call


def layer(seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (6, 3))


CALLS = [
    Call(
        "explain.information.binned",
        lambda seed: {"values": layer(seed), "num_bins": 4 + seed, "lower": -2.0 - seed, "upper": 2.0},
    ),
    Call("explain.information.entropy_bits", lambda seed: {"values": layer(seed)}),
    Call(
        "explain.information.information_bits",
        lambda seed: {"values": layer(seed), "labels": jnp.arange(6) % (2 + seed)},
    ),
    Call(
        "explain.information.noisy_information_bits",
        lambda seed: {"key": jax.random.key(seed), "values": layer(seed), "noise_variance": 0.1 + seed, "num_draws": 2},
    ),
]
