"""The probability of a spin given those around it, through odd functions of them with the symmetries of the lattice."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, check_number
from jaxrg.flows.patterns import Passes, quotients


class Conditional(NamedTuple):
    r"""The local field f of spins that are drawn at once, with :math:`P(s = \pm 1) = 1/(1 + e^{\mp 2f})`.

    Attributes:
        tables: ``tables = tables(passes)``: NumPy arrays ``[num_passes, ...]``, what is static of each pass.
        init: ``params = init(key, tables)``, leaves ``[num_passes, ...]``.
        field: ``field = field(params, tables, known)`` of one pass: ``[lanes]`` from the known spins
            ``[num_known, lanes]``, zero where nothing is known; odd in them.
    """

    tables: Callable[[Passes], PyTree]
    init: Callable[[Array, PyTree], PyTree]
    field: Callable[[PyTree, PyTree, Array], Array]


class _Steps(NamedTuple):
    near: Any  # [num_passes, num_near] int32 steps within the reach of the network, and others that count for nothing
    is_near: Any  # [num_passes, num_near] bool
    images: Any  # [num_passes, num_symmetries, num_near] int32, places among the near ones
    orbits: Any  # [num_passes, num_known] int32


@dataclasses.dataclass(frozen=True)
class _OddNetwork:
    num_features: int
    num_layers: int
    reach: float

    def tables(self, passes: Passes) -> _Steps:
        is_near = passes.is_known & ((passes.steps**2).sum(axis=-1) <= self.reach**2)
        order = np.argsort(~is_near, axis=-1, kind="stable")
        near = order[:, : is_near.sum(axis=-1).max()]
        places = np.minimum(np.argsort(order, axis=-1), near.shape[1] - 1)
        images = np.stack([place[row[:, at]] for place, row, at in zip(places, passes.images, near, strict=True)])
        is_near = np.take_along_axis(is_near, near, axis=-1)
        return _Steps(near.astype(np.int32), is_near, images.astype(np.int32), passes.orbits)

    def init(self, key: Array, tables: _Steps) -> PyTree:
        num_passes, num_symmetries, num_near = tables.images.shape
        width = self.num_features
        first, others = jax.random.split(key)
        shape = (num_passes, self.num_layers, width, width, num_symmetries)
        return {
            "linear": jnp.zeros((num_passes, int(tables.orbits.max()) + 1)),
            "first": jax.random.normal(first, (num_passes, width, num_near)) * np.float32(num_near**-0.5),
            "layers": jax.random.normal(others, shape) * np.float32((num_symmetries * width) ** -0.5),
            "last": jnp.zeros((num_passes, width)),
        }

    def field(self, params: PyTree, tables: _Steps, known: Array) -> Array:
        num_symmetries, num_near = tables.images.shape
        width = self.num_features * num_symmetries
        # Every feature in each of the orientations (h, b); a layer mixes them by what one is to the other.
        first = jnp.transpose(params["first"][:, tables.images], (1, 0, 2)).reshape(width, num_near)
        near = jnp.where(tables.is_near[:, None], known[tables.near], 0)
        hidden = jnp.tanh(jnp.tensordot(first, near, 1))
        table = quotients(num_symmetries)
        for layer in range(self.num_layers):
            weights = jnp.transpose(params["layers"][layer][:, :, table], (2, 0, 3, 1)).reshape(width, width)
            hidden = hidden + jnp.tanh(jnp.tensordot(weights, hidden, 1))
        linear = jnp.tensordot(params["linear"][tables.orbits], known, 1)
        return linear + jnp.tensordot(jnp.tile(params["last"], num_symmetries), hidden, 1)


def odd_network(num_features: int = 4, *, num_layers: int = 1, reach: float = 4.3) -> Conditional:
    r"""Local fields by a small network that is odd in the spins and has the symmetries of the lattice.

    .. math:: f = \sum_o a_o \sum_{x \in o} s_x + \sum_{g, c} b_c h^{(n)}_{g c}, \qquad
        h^{(0)}_{g c} = \tanh \sum_x w_{c, g x} s_x, \quad
        h^{(i+1)}_{g c} = h^{(i)}_{g c} + \tanh \sum_{h, d} v^{(i)}_{c d, g h^{-1}} h^{(i)}_{h d}

    over the symmetries g, h of the lattice (eight where both directions have the same coupling, else four), orbits o of
    the known sites x, and in w those within reach. Without a bias every layer is odd, so that the distribution has the
    symmetry s -> -s.

    Args:
        num_features: c, in each orientation.
        num_layers: n, of the residual layers.
        reach: how far away the network knows spins, in sites of its level; the sum over orbits goes on to the radius of
            the density.

    Raises:
        ValueError: a count below one, a negative number of layers, or a reach without neighbours.
    """
    check_number("reach", reach, above=1.4)
    features, layers = as_count("num_features", num_features), as_count("num_layers", num_layers, minimum=0)
    return _made(_OddNetwork(features, layers, float(reach)))


@functools.lru_cache(maxsize=64)
def _made(net: Any) -> Conditional:
    """The same functions for equal networks, which compiled callers know."""
    return Conditional(net.tables, net.init, net.field)


@dataclasses.dataclass(frozen=True)
class _LocalOperators:
    num_operators: int

    def tables(self, passes: Passes) -> np.ndarray:
        """``[num_passes, num_operators, num_images, 3]`` int32 places of three factors; one and zero come last."""
        found = [self._operators(*row) for row in zip(passes.steps, passes.is_known, passes.images, strict=True)]
        num_images = max(len(images) for operators in found for images in operators)
        num_known = passes.is_known.shape[1]
        table = np.full((len(found), self.num_operators, num_images, 3), num_known + 1, np.int32)
        for number, operators in enumerate(found):
            for place, images in enumerate(operators):
                table[number, place, : len(images)] = images
        return table

    def _operators(self, steps: np.ndarray, is_known: np.ndarray, images: np.ndarray) -> list[list[tuple[int, ...]]]:
        one, known = len(steps), np.flatnonzero(is_known)
        reach = (steps**2).sum(axis=1)
        nearest = known[np.argsort(reach[known], kind="stable")][:24]  # triples of more would be too many to list
        products = [(x, one, one) for x in known] + list(itertools.combinations(sorted(nearest), 3))
        orbits: dict[tuple, None] = {}
        padded = np.concatenate([images, np.full((len(images), 1), one, images.dtype)], axis=1)
        for product in sorted(products, key=lambda p: sum(reach[x] for x in p if x != one)):
            moved = np.take(padded, np.array(product), axis=1)
            orbits.setdefault(tuple(sorted({tuple(sorted(row)) for row in moved.tolist()})))
            if len(orbits) == self.num_operators:
                break
        return [list(orbit) for orbit in orbits]

    def init(self, key: Array, tables: np.ndarray) -> Array:
        return jnp.zeros(tables.shape[:2])

    def field(self, params: Array, tables: Array, known: Array) -> Array:
        ends = jnp.stack([jnp.ones_like(known[0]), jnp.zeros_like(known[0])])
        factors = jnp.concatenate([known, ends])[tables]  # [num_operators, num_images, 3, *lanes]
        return jnp.tensordot(params, jnp.sum(jnp.prod(factors, axis=2), axis=1), 1)


def local_operators(num_operators: int = 3) -> Conditional:
    r"""Local fields that are sums of a few operators: spins around a site and products of three of them.

    .. math:: f = \sum_a K_a O_a, \qquad O_a = \sum_{g} s_{gx} \;\text{or}\; \sum_{g} s_{gx} s_{gy} s_{gz}

    over the images under the symmetries of the lattice; the operators of the shortest reach come first. The couplings
    K_a are the parameters, ``[num_passes, num_operators]``: the inverse renormalisation as a Hamiltonian.

    Args:
        num_operators: of each pass.

    Raises:
        ValueError: a count below one.

    Reference:
        Rançon, Rançon, Ivek & Balog, arXiv:2506.04016.
    """
    return _made(_LocalOperators(as_count("num_operators", num_operators)))
