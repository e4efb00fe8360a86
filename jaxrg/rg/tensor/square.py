r"""Renormalisation of a square network by cutting every tensor in two and joining four halves.

Tensors of one sublattice are cut between (left, up) and (right, down), those of the other between (left, down) and
(right, up); the four halves around every second plaquette are a new tensor, on a lattice of half as many tensors turned
by 45 degrees. Its legs point to the corners: left to the upper left, up to the upper right, and so on.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxrg.rg.tensor.contraction import einsum, tensordot
from jaxrg.rg.tensor.decompositions import split
from jaxrg.rg.tensor.flow import Flow, checked, padded, stacked
from jaxrg.rg.tensor.network import Tensor, normalized


class Weighted(NamedTuple):
    """A network with weights on its bonds, E = N N."""

    tensor: Tensor
    horizontal: Array  # [legs, legs] N
    vertical: Array  # [legs, legs] N


def _joined(network: Weighted) -> Tensor:
    """The plain tensor: the weights of every bond split between both its ends."""
    entries = network.tensor.entries
    for matrix in (network.horizontal, network.vertical) * 2:
        entries = tensordot(entries, matrix, (0, 0))  # the legs move on by one
    return network.tensor._replace(entries=entries)


def _log_partition(network: Weighted) -> Array:
    """ln Z per site of the torus of one tensor."""
    entries, log_factor, num_sites = network.tensor
    weights = [einsum("ij,jk->ik", half, half) for half in (network.horizontal, network.vertical)]
    return (jnp.log(einsum("abcd,ca,db->", entries, *weights)) + log_factor) / num_sites


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
        return einsum("xya,xX,yY->XYa", legs, network.horizontal, network.vertical)

    upper = einsum("xya,xzb->yzab", half(main.right), half(cross.left))
    lower = einsum("xzc,xyd->yzcd", half(main.left), half(cross.right))
    joined = normalized(
        Tensor(
            einsum("yzab,yzcd->abcd", upper, lower),
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


def _words(ndim: int, size: int) -> int:
    """Eight arrays of four legs."""
    return 8 * size ** (2 * ndim)


def trg(tensor: Tensor, chi: int, num_steps: int, *, observe: Any = None) -> Flow:
    r"""Levin and Nave's tensor renormalisation of a square network.

    .. math:: T_{(lu)(rd)} \approx \sum_a L_{(lu) a} R_{(rd) a}, \qquad
        T_{(ld)(ru)} \approx \sum_b L'_{(ld) b} R'_{(ru) b}, \qquad T'_{abcd} = \sum R_{xya} L'_{xzb} L_{wzc} R'_{wyd}

    with the roots of the singular values in both halves. A step halves the number of tensors and turns the lattice by
    45 degrees. The singular vectors kept are found by subspace iteration, so that a step costs χ^5, but for one product
    of matrices, χ^6. Derivatives are exact also where singular values meet; where a multiplet is cut, its share is left
    out.

    Args:
        tensor: of a square network.
        chi: χ, the states a leg keeps.
        num_steps: each doubles the sites of a tensor; 30 steps from one spin make a torus of 2^30.
        observe: ``values = observe(tensor)`` of every tensor after a step, any tree of arrays.

    Returns:
        The last tensor, ln Z per site, what was cut, and what was observed. All are differentiable, in both modes and
        to any order, in what the tensor is a function of: energy and specific heat follow from ``log_partition``.

    Raises:
        ValueError: no Tensor with its number of sites and four legs, opposite ones alike; counts that are no such
            integers; a χ whose step needs more than 2 GiB.

    Example:
        >>> from jaxrg import exact
        >>> from jaxrg.rg.tensor.initial import ising_tensor
        >>> energy = jax.jvp(lambda K: -trg(ising_tensor(K), 4, 20).log_partition[-1], (0.3,), (1.0,))[1]
        >>> round(float(energy), 3), round(float(exact.onsager_energy(0.3)), 3)
        (-0.704, -0.704)

    Reference:
        Levin & Nave, Phys. Rev. Lett. 99, 120601 (2007).
    """
    given, *options = checked(tensor, chi, num_steps, observe, ndims=(2,), words=_words)
    return _flow(given, options[2], *options[:2], is_weighted=False)


def btrg(tensor: Tensor, chi: int, num_steps: int, *, observe: Any = None) -> Flow:
    r"""Bond-weighted tensor renormalisation of a square network: `trg` with weights on the bonds that are cut.

    .. math:: T_{(lu)(rd)} \approx \sum_a L_{(lu) a}\, E_a\, R_{(rd) a}, \qquad
        L = U \sigma^{3/4}, \quad E = \sigma^{-1/2}, \quad R = V \sigma^{3/4}

    The power -½ of the weights makes the fixed point stationary, and the free energy better by an order of magnitude at
    the same cost. The tensors that are returned and observed have the weights of each bond split between both its ends.

    Args:
        tensor: of a square network.
        chi: χ, the states a leg keeps.
        num_steps: each doubles the sites of a tensor.
        observe: ``values = observe(tensor)`` of every tensor after a step, any tree of arrays.

    Returns:
        As `trg`.

    Raises:
        ValueError: as `trg`.

    Example:
        >>> from jaxrg import exact
        >>> from jaxrg.rg.tensor.initial import ising_tensor
        >>> flow = btrg(ising_tensor(exact.critical_coupling), 6, 30)
        >>> round(float(flow.log_partition[-1]), 4), round(float(exact.onsager_free_energy(exact.critical_coupling)), 4)
        (0.9297, 0.9297)

    Reference:
        Adachi, Okubo & Todo, Phys. Rev. B 105, L060402 (2022).
    """
    given, *options = checked(tensor, chi, num_steps, observe, ndims=(2,), words=_words)
    return _flow(given, options[2], *options[:2], is_weighted=True)
