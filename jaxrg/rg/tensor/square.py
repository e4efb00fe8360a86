r"""Renormalisation of a square network by cutting every tensor in two and joining four halves.

Tensors of one sublattice are cut between (left, up) and (right, down), those of the other between (left, down) and
(right, up); the four halves around every second plaquette are a new tensor, on a lattice of half as many tensors turned by
45 degrees. Its legs point to the corners: left to the upper left, up to the upper right, and so on.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxrg.rg.tensor.decompositions import HIGHEST, split
from jaxrg.rg.tensor.flow import Flow, checked, padded, square_words, stacked
from jaxrg.rg.tensor.network import Tensor, normalized


class Weighted(NamedTuple):
    """A network with weights on its bonds, E = N N."""

    tensor: Tensor
    horizontal: Array  # [legs, legs] N
    vertical: Array  # [legs, legs] N


def _einsum(subscripts: str, *arrays: Array) -> Array:
    return jnp.einsum(subscripts, *arrays, precision=HIGHEST)


def _joined(network: Weighted) -> Tensor:
    """The plain tensor: the weights of every bond split between both its ends."""
    entries = network.tensor.entries
    for matrix in (network.horizontal, network.vertical) * 2:
        entries = jnp.tensordot(entries, matrix, axes=(0, 0), precision=HIGHEST)  # the legs move on by one
    return network.tensor._replace(entries=entries)


def _log_partition(network: Weighted) -> Array:
    """ln Z per site of the torus of one tensor."""
    entries, log_factor, num_sites = network.tensor
    weights = [_einsum("ij,jk->ik", half, half) for half in (network.horizontal, network.vertical)]
    return (jnp.log(_einsum("abcd,ca,db->", entries, *weights)) + log_factor) / num_sites


def _step(network: Weighted, rank: int, is_weighted: bool) -> tuple[Weighted, Array]:
    """Half as many tensors, legs of ``rank``."""
    entries = network.tensor.entries
    wide, tall, _, _ = entries.shape
    matrix = entries.reshape(wide * tall, wide * tall)
    other = jnp.transpose(entries, (0, 3, 2, 1)).reshape(wide * tall, wide * tall)
    main, cross = split(matrix, rank, is_weighted=is_weighted), split(other, rank, is_weighted=is_weighted)

    def half(rows: Array) -> Array:
        """One half with its share of the weights of the bonds it is joined by."""
        legs = rows.reshape(wide, tall, rank)
        if not is_weighted:
            return legs
        return _einsum("xya,xX,yY->XYa", legs, network.horizontal, network.vertical)

    upper = _einsum("xya,xzb->yzab", half(main.right), half(cross.left))
    lower = _einsum("xzc,xyd->yzcd", half(main.left), half(cross.right))
    joined = normalized(
        Tensor(
            _einsum("yzab,yzcd->abcd", upper, lower),
            2 * network.tensor.log_factor,
            2 * network.tensor.num_sites,
        )
    )
    error = jnp.maximum(main.error, cross.error)
    return Weighted(joined, main.half_weight, cross.half_weight), error


@functools.partial(jax.jit, static_argnames=("rank", "num_steps", "is_weighted"))
def _flow(tensor: Tensor, observe: Any, rank: int, num_steps: int, is_weighted: bool) -> Flow:
    def step(network: Weighted, _: None) -> tuple[Weighted, tuple]:
        network, error = _step(network, rank, is_weighted)
        return network, (_log_partition(network), error, observe(_joined(network)))

    entries = padded(tensor.entries, rank)
    eyes = [jnp.eye(size, dtype=entries.dtype) for size in entries.shape[:2]]
    network = Weighted(normalized(tensor._replace(entries=entries)), *eyes)
    before = []
    if max(entries.shape) > rank:  # legs longer than what is kept, in the first step alone
        network, first = step(network, None)
        before.append(first)
    network, rest = lax.scan(step, network, None, length=num_steps - len(before))
    return Flow(normalized(_joined(network)), *stacked(before, rest))


def trg(tensor: Tensor, chi: int, num_steps: int, *, observe: Any = None) -> Flow:
    given, *options = checked(tensor, chi, num_steps, observe, ndim=2, words=square_words)
    return _flow(given, options[2], *options[:2], is_weighted=False)


def btrg(tensor: Tensor, chi: int, num_steps: int, *, observe: Any = None) -> Flow:
    given, *options = checked(tensor, chi, num_steps, observe, ndim=2, words=square_words)
    return _flow(given, options[2], *options[:2], is_weighted=True)
