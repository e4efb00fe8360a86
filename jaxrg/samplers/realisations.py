"""Signs of the bonds of ±J glasses as bits: one glass for all chains, or a realisation of its own for each."""

import functools
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import is_traced
from jaxrg.lattice import shift
from jaxrg.models import Glass, Ising
from jaxrg.samplers import packed
from jaxrg.samplers.packed import LANES, Layout


def as_signs(glass: Glass, layout: Layout) -> tuple[Ising, Array]:
    """The model of all chains without its signs, and the signs as `sign_words` has them.

    Values that are traced cannot be seen here; where they are not what is expected, the coupling is made NaN.

    Raises:
        ValueError: bonds that are not all +1 or -1, glasses that are not one or one a chain, or of several couplings.
    """
    is_seen = not is_traced(glass)
    numbers = np if is_seen else jnp  # what can be seen stays so while something else is traced
    bonds, coupling, field = (numbers.asarray(leaf) for leaf in (glass.bonds, glass.coupling, glass.field))
    is_stack = bonds.ndim == layout.lattice.ndim + 2
    if is_stack and bonds.shape[0] != layout.num_chains:
        raise ValueError(
            f"model: expected one glass or one for each of {layout.num_chains} chains, got a stack of {bonds.shape[0]}"
        )
    is_good = {"bonds": numbers.all((abs(bonds) == 1) | ~np.broadcast_to(layout.lattice.bonds_inside(), bonds.shape))}
    if is_stack:
        is_good |= {"coupling": numbers.all(coupling == coupling[0]), "field": numbers.all(field == field[0])}
        coupling, field = coupling[0], field[0]
    if is_seen:
        for name, good in is_good.items():
            if not good:
                expected = "all +1 or -1; use samplers.heat_bath" if name == "bonds" else "one for all chains"
                raise ValueError(f"{name}: expected {expected}, got {np.unique(getattr(glass, name))[:4]}")
    else:
        coupling = jnp.where(jnp.all(jnp.stack(list(is_good.values()))), coupling, jnp.nan)
    return Ising(layout.lattice, cast(Array, coupling), cast(Array, field)), sign_words(jnp.asarray(bonds), layout)


@functools.partial(jax.jit, static_argnums=1)
def sign_words(bonds: Array, layout: Layout) -> Array:
    """``[2, 2d, 1 or num_words, *compact shape]`` uint32, a set bit for a negative bond.

    For the sites of even and of odd parity, the bonds to their neighbours in the order of `packed.neighbours`.

    Args:
        bonds: ``[num_directions, *shape]`` of one glass, or a stack of them, one a chain.
        layout: of the chains.
    """
    lattice = layout.lattice
    if bonds.ndim == lattice.ndim + 1:
        bonds = jnp.broadcast_to(bonds[None], (1 if layout.is_cut else LANES, *bonds.shape))

    def words(direction: int, is_backward: bool) -> tuple[Array, Array]:
        is_negative = (bonds[:, direction] < 0).astype(jnp.int8)
        if is_backward:
            offset = tuple(-step for step in lattice.bonds[direction])
            is_negative = jax.vmap(lambda values: shift(lattice, values, offset))(is_negative)
        return packed.compact(layout.pack(is_negative))

    found = [(words(axis, True), words(axis, False)) for axis in range(lattice.ndim)]
    colours = []
    for colour in range(2):
        signs = [side[colour] for pair in found[:-1] for side in pair]
        before, after = (side[colour] for side in found[-1])
        is_first = jnp.broadcast_to(packed.row_parity(before.shape[1:], jnp.uint32(colour)) == 0, before.shape)
        # A site that is the first of its pair has the second after it; its other neighbour is in the pair before.
        within, beyond = jnp.where(is_first, after, before), jnp.where(is_first, before, after)
        colours.append(jnp.stack([within, *signs, beyond]))
    return jnp.stack(colours)
