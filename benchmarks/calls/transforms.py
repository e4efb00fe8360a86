"""Transforms over all bit patterns."""

import jax

from benchmarks.calls import Call
from jaxrg import transforms


def table(seed: int) -> dict:
    return {"values": jax.random.normal(jax.random.key(seed), (16,))}


CALLS = [
    *(Call(f"transforms.{name}", table) for name in ("zeta", "moebius", "superset_zeta", "superset_moebius", "walsh")),
    Call("transforms.inverse_walsh", lambda seed: {"coefficients": table(seed)["values"]}),
    Call("transforms.num_bits", table),
    Call(
        "transforms.over_devices",
        lambda seed: {
            "transform": transforms.walsh,
            **table(seed),
            "mesh": jax.make_mesh((1,), ("subsets",)),
            "axis_name": "subsets",
        },
    ),
]
