"""Relevant information: filters learned from samples beside exact ones on strips, and what exact ones cost."""

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.timing import medians, record
from jaxrg.rg import information

Record = dict[str, Any]


def study() -> Any:
    """The strips of the example."""
    folder = str(Path(__file__).parent.parent / "examples")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("_rsmi_strips")


def strip_percent(*, quick: bool) -> list[Record]:
    """Estimates on samples held out against the exact optimum, and the worst of them with its statistical error."""
    strips = study()
    cases = strips.CASES[:1] if quick else strips.CASES
    spins: dict[int, jax.Array] = {}
    found, records = [], []
    for case in cases:
        if case.width not in spins:
            key, number = jax.random.key(case.width), 4_000 if quick else 16_000
            spins[case.width] = strips.configurations(key, strips.K, case.width, number)
        exactly = float(strips.best(case).information)
        run = strips.learned(case, spins[case.width])
        percent = 100 * (float(run.information) / exactly - 1)
        found.append((abs(percent), percent, 100 * float(run.error) / exactly, case, float(run.information), exactly))
        name = f"rsmi_w{case.width}_{case.block[0]}x{case.block[1]}_b{case.buffer}_h{case.num_hidden}_percent"
        unit = f"% from exact, ± {100 * float(run.error) / exactly:.2f}"
        records.append(record(name, percent, unit, peer="exact, nats", peer_value=exactly))
    worst, _, error, case, _, exactly = max(found)
    worst_record = record(
        "rsmi_strip_percent", worst, f"% worst of {len(cases)}, ± {error:.2f}", peer="exact, nats", peer_value=exactly
    )
    return [worst_record, *records]


def cost(*, quick: bool) -> list[Record]:
    """Seconds of an information and of its gradient, beside the table p(v, e, h) written out."""
    width, block, num_hidden = (4, (2, 2), 2) if quick else (8, (2, 3), 2)
    table = jax.block_until_ready(information.strip_joint(jnp.float32(0.4406868), width, block, 1))
    weights = jax.random.normal(jax.random.key(0), (block[0] * block[1], num_hidden))
    value = jax.jit(lambda weights: information.filter_information(table, information.spin_filter(weights)))
    slope = jax.jit(jax.grad(value))

    @jax.jit
    def written_out(weights: jax.Array) -> jax.Array:
        joint = table[:, :, None] * information.spin_filter(weights)[:, None, :]
        pair = jnp.sum(joint, axis=0)
        product = jnp.sum(pair, axis=1, keepdims=True) * jnp.sum(pair, axis=0, keepdims=True)
        return jnp.sum(pair * jnp.log(pair / product))

    calls = {
        name: functools.partial(lambda fn: jax.block_until_ready(fn(weights)), fn)
        for name, fn in (("value", value), ("slope", slope), ("written", written_out))
    }
    seconds = medians(calls, repeats=3 if quick else 9)
    sizes = f"{table.shape[0]} x {table.shape[1]}, {num_hidden} units"
    return [
        record(
            "filter_information_seconds",
            seconds["value"],
            f"s, {sizes}",
            peer="p(v, e, h) written out",
            peer_value=seconds["written"],
            ratio=seconds["written"] / seconds["value"],
        ),
        record("filter_information_gradient_cost", seconds["slope"] / seconds["value"], "informations"),
    ]


def run(*, quick: bool) -> list[Record]:
    """What informations cost; `strip_percent` is among the records of Boltzmann machines."""
    return cost(quick=quick)
