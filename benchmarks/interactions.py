"""Interactions: the transform against the memory it streams, whole explanations, and the peers that pip installs.

A record measures what its name says whether it is quick or not: quick repeats less and leaves out the longest records.
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.and_or import extraction_records
from benchmarks.interaction_peers import index_records
from benchmarks.interaction_sampling import sampling_records
from benchmarks.timing import medians, record
from benchmarks.two_phase import phase2_records
from jaxrg import interactions, nets, transforms

COPIED = 1 + 2**-20  # a multiplication that no compiler drops, so that a copy reads and writes every value


def _transform_records(*, quick: bool) -> list[dict[str, Any]]:
    """Möbius transforms of tables that do and do not fit the caches."""
    small, large = 20, 24
    with jax.enable_x64(True):
        moebius = jax.jit(transforms.moebius)
        copy = jax.jit(lambda values: values * COPIED)
        tables = {n: jax.random.normal(jax.random.key(n), (2**n,), jnp.float64) for n in (small, large)}
        seconds = medians(
            {
                "small": lambda: moebius(tables[small]).block_until_ready(),
                "large": lambda: moebius(tables[large]).block_until_ready(),
                "copy": lambda: copy(tables[large]).block_until_ready(),
            },
            repeats=3 if quick else 11,
        )
    return [
        record("mobius20_f64_seconds", seconds["small"], f"s (n = {small})"),
        record("mobius24_f64_seconds", seconds["large"], f"s (n = {large})"),
        record(
            "mobius24_copies",
            seconds["large"] / seconds["copy"],
            "copies",
            peer="one streamed copy, seconds",
            peer_value=seconds["copy"],
            ratio=seconds["copy"] / seconds["large"],
        ),
    ]


def _in_place_record() -> dict[str, Any]:
    """The largest table: 2^30 float32 values, transformed where they lie."""
    n = 30
    table = jnp.full((2**n,), 1.0, jnp.float32)
    moebius = jax.jit(transforms.moebius, donate_argnums=0).lower(table).compile()
    memory: Any = moebius.memory_analysis()
    start = time.perf_counter()
    dividends = moebius(table)
    dividends.block_until_ready()
    seconds = time.perf_counter() - start
    if float(dividends[0]) != 1.0 or float(jnp.max(jnp.abs(dividends[1:]))) != 0.0:
        raise AssertionError("mobius30: the dividends of a constant are wrong")
    peak = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return record("mobius30_f32_seconds", seconds, f"s (n = {n}, {peak / 1e9:.1f} GB)")


def _end_to_end_record(*, quick: bool) -> dict[str, Any]:
    """From images to dividends: a perceptron 784-128-10, ten players, every sample at once."""
    num_samples, n = 128, 10
    net = nets.mlp((128, 10))
    keys = jax.random.split(jax.random.key(0), 2)
    images = jax.random.uniform(keys[0], (num_samples, 28, 28))
    labels = jnp.arange(num_samples, dtype=jnp.int32) % 10
    params = net.init(keys[1], images)
    assignment = interactions.patches((28, 28), (2, n // 2))

    @jax.jit
    def explain(params, images, labels):
        def one(image, label):
            game = interactions.masked_game(
                functools.partial(net.apply, params),
                image,
                baseline=jnp.zeros((28, 28)),
                assignment=assignment,
                score=functools.partial(interactions.log_odds, label=label),
            )
            return interactions.harsanyi(interactions.evaluate(game))

        return jax.lax.map(lambda pair: one(*pair), (images, labels), batch_size=8)

    seconds = medians(
        {"jaxrg": lambda: explain(params, images, labels).block_until_ready()}, repeats=3 if quick else 5
    )["jaxrg"]
    if not np.isfinite(explain(params, images, labels)).all():
        raise AssertionError("mlp_end_to_end: expected finite interactions")
    return record("mlp_end_to_end_seconds", seconds, f"s ({num_samples} samples, n = {n})")


def run(*, quick: bool) -> list[dict[str, Any]]:
    """All records of the interactions' engine."""
    return [
        *_transform_records(quick=quick),
        *([] if quick else [_in_place_record()]),
        _end_to_end_record(quick=quick),
        *index_records(quick=quick),
        *phase2_records(quick=quick),
        *extraction_records(quick=quick),
        *sampling_records(quick=quick),
    ]
