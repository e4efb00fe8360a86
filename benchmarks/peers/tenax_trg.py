"""TRG and HOTRG of tenax-tn, each as fast as it runs: TRG on blocks of one parity and compiled, HOTRG as it comes."""

import functools
import importlib
from collections.abc import Callable

import jax


def ising_log_partition(scheme: str, coupling: float, chi: int, num_steps: int) -> Callable[[], float]:
    """A call that waits for ln Z per site.

    Raises:
        ImportError: tenax-tn is not installed.
    """
    module = importlib.import_module(f"tenax.algorithms.{scheme}")
    config = getattr(module, f"{scheme.upper()}Config")(max_bond_dim=chi, num_steps=num_steps)
    flow = functools.partial(getattr(module, scheme), config=config)
    is_compiled = scheme == "trg"  # ranks of HOTRG are cut on the host
    make_tensor = importlib.import_module("tenax.algorithms.trg").compute_ising_tensor
    tensor = make_tensor(float(coupling), symmetric=is_compiled)
    fn = jax.jit(flow) if is_compiled else flow
    return lambda: float(fn(tensor))
