"""Transforms over all bit patterns."""

import jax

from benchmarks.calls import Call


def table(seed: int) -> dict:
    return {"values": jax.random.normal(jax.random.key(seed), (16,))}


CALLS = [
    Call("transforms.walsh", table),
]
