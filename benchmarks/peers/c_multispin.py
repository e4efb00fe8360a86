"""The C kernel of `multispin.c`, compiled by gcc into a temporary folder and called on arrays of NumPy."""

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg import random
from jaxrg.samplers.bernoulli import logistic_expansion

COMPILE = ("gcc", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
NUM_PLANES = 12


def is_available() -> bool:
    """Whether there is a gcc."""
    return shutil.which("gcc") is not None


class CMultispin:
    """Chains that sweep themselves in place, from the words of a `samplers.PackedState`.

    Args:
        even, odd: ``[num_words, side, side / 2]`` uint32.
        coupling: K; there is no field.
    """

    def __init__(self, even: np.ndarray | jax.Array, odd: np.ndarray | jax.Array, coupling: float) -> None:
        source = Path(__file__).with_name("multispin.c")
        with tempfile.TemporaryDirectory() as folder:  # what is loaded stays when its file goes
            library = Path(folder, "multispin.so")
            subprocess.run([*COMPILE, "-o", str(library), str(source)], check=True)
            self.half_sweep = ctypes.CDLL(str(library)).half_sweep
        self.spins = [np.array(part, np.uint32, order="C") for part in (even, odd)]
        expansion = logistic_expansion(jnp.float32(coupling) * jnp.array([-4.0, -8.0]), num_planes=NUM_PLANES)
        self.table = np.concatenate([np.asarray(expansion.head), np.asarray(expansion.tail)])

    def sweep(self, keys: np.ndarray) -> None:
        """One sweep for each row of ``[num_sweeps, 4]`` key words."""
        for key in np.ascontiguousarray(keys, np.uint32):
            for colour in range(2):
                out, others = self.spins[colour], self.spins[1 - colour]
                pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (out, others, key, self.table))
                new, old, words, table = pointers
                self.half_sweep(new, old, *map(ctypes.c_int, (*out.shape, colour)), words, table)


def step_keys(key: jax.Array, num_sweeps: int, *, start: int = 0) -> np.ndarray:
    """``[num_sweeps, 4]`` key words of the steps of a run with this key."""
    steps = jnp.arange(start, start + num_sweeps, dtype=jnp.uint32)
    return np.asarray(jax.vmap(lambda step: jnp.stack(random.key_words(jax.random.fold_in(key, step))))(steps))
