"""Fingerprints of arrays and of programs, the same in every process: what tells one run from another."""

import hashlib
import re
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxrg.base import PyTree

DIGEST_SIZE = 8  # bytes: sixteen hexadecimal digits


def digest_of(*parts: str) -> str:
    """Sixteen hexadecimal digits of some texts."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=DIGEST_SIZE).hexdigest()


def _without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "", text)


def as_host(leaf: Any) -> tuple[str, np.ndarray]:
    """A leaf as its dtype in words and an array in the memory of the host; of a typed key its kind and its bits."""
    leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return f"{jax.random.key_impl(leaf)} key", np.asarray(jax.random.key_data(leaf))
    host = np.asarray(leaf)
    return str(host.dtype), host


def fingerprint(tree: PyTree) -> str:
    """Sixteen hexadecimal digits of the paths, shapes, dtypes and values of a pytree of arrays.

    Example:
        >>> fingerprint({"a": jnp.zeros(3)}) == fingerprint({"a": np.zeros(3, np.float32)})
        True
        >>> fingerprint(jnp.zeros(3)) == fingerprint(jnp.zeros(3, jnp.int32))
        False
    """
    digest = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for path, leaf in jax.tree.leaves_with_path(tree):
        kind, host = as_host(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {kind}{host.shape}".encode())
        digest.update(host.tobytes())
    return digest.hexdigest()


def describe(tree: PyTree) -> dict[str, str]:
    """Every leaf of a pytree in words, under its path: single numbers as they are, arrays by their fingerprint.

    Example:
        >>> describe({"rate": np.float32(0.1), "mask": np.ones(3, bool)})
        {"['mask']": 'bool[3] with fingerprint 165123718dda369f', "['rate']": 'float32 0.1'}
    """
    words = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        kind, host = as_host(leaf)
        is_number = host.ndim == 0
        value = str(host[()]) if is_number else f"{list(host.shape)} with fingerprint {fingerprint(leaf)}"
        words[jax.tree_util.keystr(path)] = f"{kind} {value}" if is_number else f"{kind}{value}"
    return words


def program_fingerprint(fn: Callable, *arguments: PyTree) -> str:
    """Fingerprint of what a function computes: its jaxpr with all arrays it holds, also those of functions inside it.

    The names of variables and of inner functions, comments and the place in memory do not matter; another release of
    JAX may trace the same function to another program.

    Args:
        fn: a function JAX can trace.
        arguments: arrays, or `jax.ShapeDtypeStruct`, of the shapes it is called with.

    Example:
        >>> program_fingerprint(jnp.sin, 1.0) == program_fingerprint(lambda angle: jnp.sin(angle), 2.0)
        True
        >>> program_fingerprint(jnp.sin, 1.0) == program_fingerprint(jnp.cos, 1.0)
        False
    """
    return _of_program(jax.make_jaxpr(fn)(*arguments), {})


def _of_program(program: Any, known: dict[int, str]) -> str:
    """Of a jaxpr, open or closed; ``known`` are those seen before, so that one called often is read once."""
    if id(program) in known:
        return known[id(program)]
    jaxpr, constants = (program.jaxpr, program.consts) if isinstance(program, core.ClosedJaxpr) else (program, ())
    numbers: dict[Any, int] = {}

    def name(atom: Any) -> str:
        if isinstance(atom, core.Literal):
            return f"{atom.aval} {_of_value(atom.val, known)}"
        return f"{atom.aval} {numbers.setdefault(atom, len(numbers))}"

    parts = [*map(name, (*jaxpr.constvars, *jaxpr.invars)), *(_of_value(value, known) for value in constants)]
    for equation in jaxpr.eqns:
        params = (f"{key} {_of_value(value, known)}" for key, value in sorted(equation.params.items()) if key != "name")
        parts += [equation.primitive.name, *map(name, equation.invars), *params, *map(name, equation.outvars)]
    known[id(program)] = digest_of(*parts, *map(name, jaxpr.outvars))
    return known[id(program)]


def _of_value(value: Any, known: dict[int, str]) -> str:
    """Of a constant or of a parameter of an equation."""
    if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
        return _of_program(value, known)
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return fingerprint(value)
    if isinstance(value, tuple | list):
        return digest_of(type(value).__name__, *(_of_value(part, known) for part in value))
    if isinstance(value, dict):
        return digest_of(*(f"{key} {_of_value(part, known)}" for key, part in value.items()))
    callback = getattr(value, "callback_func", value)  # what runs on the host is no jaxpr
    return _of_code(callback, known) if callback is not value else _without_addresses(str(value))


def _of_code(fn: Any, known: dict[int, str]) -> str:
    """Of a function that JAX does not trace: its code, defaults and what it is closed over, as far as it is data."""
    if isinstance(fn, types.FunctionType):
        cells = [cell.cell_contents for cell in fn.__closure__ or ()]
        held = [*cells, *(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values()]
        code = fn.__code__
        texts = (code.co_code.hex(), _without_addresses(str(code.co_consts)), str(code.co_names))
        return digest_of(*texts, *(_of_code(value, known) for value in held))
    if hasattr(fn, "func") and hasattr(fn, "args"):  # functools.partial
        return digest_of(*(_of_code(part, known) for part in (fn.func, *fn.args, *fn.keywords.values())))
    return _of_value(fn, known)
