"""Networks: making one compiles nothing; its functions are compiled with the sizes of their first batch."""

from flax import linen, nnx

from benchmarks.calls import Call


def linen_module(seed: int) -> dict:
    return {"module": linen.Dense(2 + seed)}


def stateful_linen(seed: int) -> dict:
    modes = {"train": {"deterministic": False}, "apply": {"deterministic": True}}
    return {"module": linen.Dropout(0.1 + 0.1 * seed)} | modes


def nnx_module(seed: int) -> dict:
    return {"module": nnx.BatchNorm(3, rngs=nnx.Rngs(seed))}


CALLS = [
    Call("nets.cnn", lambda seed: {"channels": (2 + seed,), "num_outputs": 3}),
    Call("nets.from_linen", linen_module),
    Call("nets.from_nnx", nnx_module),
    Call("nets.mlp", lambda seed: {"widths": (4 + seed, 2)}),
    Call("nets.stateful_from_linen", stateful_linen),
    Call("nets.stateful_from_nnx", nnx_module),
]
