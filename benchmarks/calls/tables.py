"""Functions of bits over all patterns."""

import jax.numpy as jnp

from benchmarks.calls import Call


def index(seed: int) -> dict:
    return {"index": jnp.arange(seed, seed + 8, dtype=jnp.int32), "num_bits": 5}


CALLS = [
    Call("tables.bits_of", index),
    Call("tables.spins_of", index),
    Call("tables.all_bits", lambda seed: {"num_bits": 5}),
    Call("tables.all_spins", lambda seed: {"num_bits": 5}),
    Call("tables.subset_sizes", lambda seed: {"num_bits": 5}),
    Call("tables.check_num_bits", lambda seed: {"num_bits": 5}),
    Call("tables.check_table", lambda seed: {"num_bits": 5}),
    Call("tables.check_bytes", lambda seed: {"name": "table", "needed": 5, "max_bytes": 8, "what": "a table"}),
    Call("tables.check_chunk_size", lambda seed: {"chunk_size": 8}),
    Call("tables.checked_chunk_size", lambda seed: {"chunk_size": 8}),
]
INSIDE = "a loop over a function of its caller, inside that caller's compiled function"
NOT_CALLED = {"tables.fold": INSIDE, "tables.tabulate": INSIDE}
