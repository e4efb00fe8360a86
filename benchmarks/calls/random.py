"""Counter-based random words and draws."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call


def words(seed: int, count: int) -> tuple[jax.Array, ...]:
    return tuple(jnp.arange(seed + i, seed + i + 4, dtype=jnp.uint32) for i in range(count))


def generator(num_key: int, num_counter: int):
    return lambda seed: {"key_words": words(seed, num_key), "counter_words": words(seed + 9, num_counter), "rounds": 13}


def sites(seed: int) -> dict:
    return {"key": jax.random.key(seed), "sites": jnp.arange(6, dtype=jnp.uint32)}


CALLS = [
    Call("random.rotate_left", lambda seed: {"word": words(seed, 1)[0], "amount": 5}),
    Call("random.threefry2x32", generator(2, 2)),
    Call("random.threefry4x32", generator(4, 4)),
    Call("random.philox4x32", generator(2, 4)),
    Call("random.key_words", lambda seed: {"key": jax.random.key(seed)}),
    Call("random.bits", lambda seed: sites(seed) | {"num_words": 3}),
    Call("random.light_bits", lambda seed: sites(seed) | {"num_words": 5}),
    Call("random.uniform", sites),
    Call("random.bernoulli", lambda seed: sites(seed) | {"probability": jnp.linspace(0.0, 1.0, 6)}),
    Call("random.bernoulli_logit", lambda seed: sites(seed) | {"logit": jnp.linspace(-1.0, 1.0, 6)}),
    Call("random.binary_expansion", lambda seed: {"probability": jnp.linspace(0.0, 1.0, 6), "num_planes": 8}),
]
