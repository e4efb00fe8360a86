"""Programs whose loops take the widest vectors of a CPU."""

import os
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import take_current_trace

_OPTION = "xla_cpu_prefer_vector_width"


class Wide:
    """A jitted function, on a CPU compiled for vectors of 512 bits where it has them.

    XLA takes half of them unless told; what the other half gives is the benchmark ``ising2d_light_wide_vectors``. A
    width that is given in ``XLA_FLAGS`` stays; inside another program, which is compiled as a whole, options have no
    place.
    """

    def __init__(self, fn: Callable) -> None:
        self.plain, self.wide = jax.jit(fn), jax.jit(fn, compiler_options={_OPTION: "512"})

    def __call__(self, *args: Any) -> Any:
        is_wide = jax.default_backend() == "cpu" and _OPTION not in os.environ.get("XLA_FLAGS", "") and _is_alone()
        return (self.wide if is_wide else self.plain)(*args)


def _is_alone() -> bool:
    """Whether no transformation is under way, also one whose tracers are out of sight."""
    with take_current_trace() as trace:
        return type(trace).__name__ == "EvalTrace"
