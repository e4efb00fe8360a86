"""The sites of one sublattice packed side by side, so that nothing is computed for the others."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import is_traced


class Sublattice(NamedTuple):
    """The sites of one colour.

    Where every run of as many sites along the last axis as there are colours has one of each, always at the same place
    in a row, they are picked by strides, ``[..., *rows, length / num_colours]``; else they are all sites, of which
    those of the colour are kept.
    """

    is_here: Array  # [*sites] bool
    offset: Array | None  # [*rows] the place of the colour in a run, or None where sites are not packed
    num_colours: int

    def pack(self, values: Array) -> Array:
        """``[..., *sites]`` to the values of the sublattice, or of all sites."""
        if self.offset is None:
            return values
        runs = values.reshape(*values.shape[:-1], -1, self.num_colours)
        packed = runs[..., 0]
        for place in range(1, self.num_colours):
            chosen = jnp.broadcast_to((self.offset == place)[..., None], packed.shape[-self.is_here.ndim :])
            packed = jnp.where(_leading(chosen, packed), runs[..., place], packed)
        return packed

    def unpack(self, packed: Array, values: Array) -> Array:
        """``[..., *sites]`` the values with those of the sublattice replaced."""
        if self.offset is not None:
            spread = jnp.broadcast_to(packed[..., None], (*packed.shape, self.num_colours))
            packed = spread.reshape(values.shape)
        return jnp.where(_leading(self.is_here, values), packed, values)


def _leading(mask: Array, values: Array) -> Array:
    """A mask of sites for values with leading axes."""
    return jnp.broadcast_to(mask.reshape((1,) * (values.ndim - mask.ndim) + mask.shape), values.shape)


def sublattice(colours: Any, num_colours: int, colour: Array) -> Sublattice:
    """The sites of one colour, which may be traced, of colours ``[*sites]``."""
    is_here = jnp.asarray(colours) == colour
    table = None if is_traced(colours) else _places(np.asarray(colours), num_colours)
    return Sublattice(is_here, None if table is None else jnp.asarray(table)[colour], num_colours)


def _places(colours: np.ndarray, num_colours: int) -> np.ndarray | None:
    """``[num_colours, *rows]`` int8 the place of each colour in all runs of a row; None where there is none."""
    if num_colours < 2 or colours.shape[-1] % num_colours:
        return None
    runs = colours.reshape(*colours.shape[:-1], -1, num_colours)
    first = runs[..., 0, :]
    if np.any(runs != first[..., None, :]) or np.any(np.sort(first, axis=-1) != np.arange(num_colours)):
        return None
    return np.moveaxis(np.argsort(first, axis=-1), -1, 0).astype(np.int8)
