"""Where derivatives of a chain end: drawn spins have none, and a silent zero would be taken for one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxrg.base import PyTree

OF_A_CHAIN = (
    "sampler: expected a chain that is not differentiated, got tangents of its couplings or its state; spins are "
    "drawn, and no derivative goes through a draw. Use d<O>/dK = <dO/dK> - <O dH/dK> + <O><dH/dK>, which "
    "samplers.ensembles.expectation and, with errors, stats.reweighting.estimate find, or jaxrg.exact. Parameters "
    "that `observe` alone depends on are differentiated; jax.lax.stop_gradient around the model of the sampler leaves "
    "the sampler out"
)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _drawn_from(message: str, leaf: Any) -> Any:
    return leaf


def _refuse(message: str, primals: tuple, tangents: tuple) -> tuple:
    if isinstance(tangents[0], SymbolicZero):
        return primals[0], tangents[0]
    raise ValueError(message)


_drawn_from.defjvp(_refuse, symbolic_zeros=True)


def without_derivatives(tree: PyTree, message: str = OF_A_CHAIN) -> PyTree:
    """The same tree; a ValueError where tangents or cotangents would pass through one of its leaves."""

    def guarded(leaf: Any) -> Any:
        dtype = getattr(leaf, "dtype", None)
        return _drawn_from(message, leaf) if dtype is not None and jnp.issubdtype(dtype, jnp.inexact) else leaf

    return jax.tree.map(guarded, tree)
