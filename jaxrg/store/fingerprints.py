"""Fingerprints of arrays and of programs, the same in every process: what tells one run from another."""

import hashlib
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg.base import PyTree


def _without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "", text)


def fingerprint(tree: PyTree) -> str:
    """Sixteen hexadecimal digits of the structure, shapes, dtypes and values of a pytree of arrays.

    Example:
        >>> fingerprint({"a": jnp.zeros(3)}) == fingerprint({"a": np.zeros(3, np.float32)})
        True
        >>> fingerprint(jnp.zeros(3)) == fingerprint(jnp.zeros(3, jnp.int32))
        False
    """
    leaves, structure = jax.tree.flatten(tree)
    digest = hashlib.blake2b(_without_addresses(str(structure)).encode(), digest_size=8)
    for leaf in leaves:
        leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        host = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        digest.update(f"{host.dtype}{host.shape}".encode())
        digest.update(host.tobytes())
    return digest.hexdigest()


def program_fingerprint(fn: Callable, *arguments: PyTree) -> str:
    """Fingerprint of what a function computes: its jaxpr, and the arrays it is closed over.

    The names of variables, comments and the place in memory do not matter; another release of JAX may trace the same
    function to another program.

    Args:
        fn: a function JAX can trace.
        arguments: arrays, or `jax.ShapeDtypeStruct`, of the shapes it is called with.

    Example:
        >>> program_fingerprint(jnp.sin, 1.0) == program_fingerprint(lambda angle: jnp.sin(angle), 2.0)
        True
        >>> program_fingerprint(jnp.sin, 1.0) == program_fingerprint(jnp.cos, 1.0)
        False
    """
    closed = jax.make_jaxpr(fn)(*arguments)
    text = _without_addresses(str(closed.jaxpr)) + fingerprint(closed.consts)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
