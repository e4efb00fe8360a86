"""Relevant information: tables of a few states, short searches and trainings."""

import jax
import jax.numpy as jnp

from benchmarks.calls import Call
from jaxrg import nets
from jaxrg.rg import information

NET = nets.mlp((4, 2))


def table(seed: int, *shape: int) -> jax.Array:
    return jax.random.uniform(jax.random.key(seed), shape, jnp.float32, 0.1, 1.0)


def weights(seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (2, 1))


def scored(seed: int) -> dict:
    return {"scores": table(seed, 3, 4), "joint": jnp.full((3, 4), 1 / 12)}


def samples(seed: int) -> dict:
    spins = jax.random.rademacher(jax.random.key(seed), (200, 5), jnp.float32)
    return {"key": jax.random.key(seed), "visible": spins[:, :2], "environment": spins[:, 2:], "num_hidden": 1}


CALLS = [
    Call(
        "rg.information.column_joint",
        lambda seed: {"transfer": table(seed, 3, 3), "labels": [0, 1, 1], "length": 2, "buffer": 1},
    ),
    Call("rg.information.conditional_bound", scored),
    Call(
        "rg.information.filter_information",
        lambda seed: {"joint": table(seed, 4, 3), "coarse": information.spin_filter(weights(seed))},
    ),
    Call("rg.information.info_nce", scored),
    Call(
        "rg.information.learn_filter",
        lambda seed: (
            samples(seed)
            | {"norm": jnp.float32(1.0), "net": NET, "num_epochs": 1, "batch_size": 50, "num_held_out": 64}
        ),
        "a driver: its network, its training and its estimate are programs of their own",
        (32, 0),
    ),
    Call(
        "rg.information.optimal_filter",
        lambda seed: {
            "key": jax.random.key(seed),
            "joint": table(seed, 4, 3),
            "num_hidden": 1,
            "norm": jnp.float32(1.0),
            "num_starts": 2,
            "num_steps": 3,
        },
    ),
    Call("rg.information.relevant_functions", lambda seed: {"joint": table(seed, 4, 3), "num_functions": 2}),
    Call("rg.information.smile_bound", lambda seed: scored(seed) | {"clip": jnp.float32(5.0)}),
    Call("rg.information.spin_filter", lambda seed: {"weights": weights(seed), "features": table(seed, 5, 2)}),
    Call(
        "rg.information.strip_joint",
        lambda seed: {
            "coupling": jnp.float32(0.4 + 0.01 * seed),
            "width": 2,
            "block": (1, 2),
            "buffer": 1,
            "field": jnp.float32(0.1),
            "num_sides": 2,
        },
    ),
]
