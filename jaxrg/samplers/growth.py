"""Wolff's cluster grown site by site, at the price of its sites: what its bonds are does not depend on how it is found.

The loop is written for XLA's CPU compiler, which runs it as one kernel, as long as a turn touches less than 256 bytes,
and updates its arrays in place: a turn first writes what the turn before has decided and only then reads, and what it
reads comes from the arrays just written.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxrg import random
from jaxrg.base import Model
from jaxrg.random import BinaryExpansion, binary_expansion, bits

# Up to so many sites a cluster is grown. Measured on a CPU, L = 512: at the critical point all bounds from 256 to 4,096
# are within 6 %, as a long growth costs about what it saves; where clusters are small, 4,096 take a third longer than
# 1,024, as the room for them is cleared in every step.
BOUND = 1024
MAX_SITES = 2**30  # whose numbers and signs an int32 holds
_FEW = 64  # couplings whose digits are worth computing before the growth


class GrowingModel(Model, Protocol):
    """A model of pairs on a lattice, which can say what the bonds of one site are."""

    @property
    def num_bonds_of_site(self) -> int:
        """The largest number of bonds at a site, static; twice the number of directions."""
        ...

    def bond_of_site(self, site: Array, number: Array) -> tuple[Array, Array, Array]:
        """The site at the other end of a bond, the site where it starts, and its direction, all int32 scalars."""
        ...

    def distinct_couplings(self) -> Array:
        """``[num_directions, *shape]`` J, or with ones for sides where all bonds of a direction have the same."""
        ...


class Kind(NamedTuple):
    """What a cluster is made of: values int8, and what else an int8 can hold to mark one."""

    mark: Callable[[Array], Array]
    unmark: Callable[[Array], Array]
    favoured: Callable[[Array, Array, Array], Array]  # by a bond of a coupling: of the entry of a site and its value


SPINS = Kind(
    lambda spin: 2 * spin,
    lambda marked: marked >> 1,
    lambda coupling, entry, spin: bond_sign(coupling) * (1 - 2 * (entry & 1)).astype(jnp.int8),
)
STATES = Kind(  # 0 to 126, of which a cluster has one; nothing is -128
    lambda state: ~state,
    lambda marked: ~marked,
    lambda coupling, entry, state: jnp.where(bond_sign(coupling) > 0, state, jnp.int8(-128)),
)


class Cluster(NamedTuple):
    """A cluster as it was found."""

    marked: Array  # [N] int8, the values, those of the cluster marked
    queue: Array  # [bound] int32, its sites in the order in which they were found, entries 2 i + (s_i < 0)
    size: Array  # [] int32; at least the bound where it is not whole
    first: Array  # [] int8, the value of its first site


class Flip(NamedTuple):
    """What became of a cluster."""

    spins: Array  # [*shape] int8
    size: Array  # [] int32
    is_accepted: Array  # [] bool


class _Growth(NamedTuple):
    """A cluster, and the bond that the next turn writes."""

    marked: Array
    queue: Array
    size: Array
    turn: Array  # [] int32, bonds looked at
    there: Array  # [] int32, the site at the other end
    spin: Array  # [] int8, its value, marked where it is in the cluster
    is_joined: Array  # [] bool, whether it comes into the cluster by this bond


def _generation(model: Any, name: str) -> int:
    """How far up among the classes of a model an attribute is defined."""
    line = type(model).__mro__
    return next((number for number, ancestor in enumerate(line) if name in vars(ancestor)), len(line))


def can_grow(model: Any) -> bool:
    """Whether a model knows the bonds of a site, with couplings no older than its ``bond_couplings``.

    A class that overrides ``bond_couplings`` alone has inherited ``distinct_couplings`` of other bonds.
    """
    knows_bonds = hasattr(model, "bond_of_site") and hasattr(model, "distinct_couplings")
    return knows_bonds and _generation(model, "distinct_couplings") <= _generation(model, "bond_couplings")


def grow(
    model: GrowingModel, couplings: Array, bond_key: Array, spins: Array, seed: Array, *, bound: int, kind: Kind
) -> Cluster:
    """The cluster of a site, whole if it has fewer sites than the bound.

    Args:
        model: a model that knows the bonds of a site.
        couplings: ``[num_directions, ...]`` J of bonds that join with `bond_probability`, as ``distinct_couplings``.
        bond_key: key of the bonds' random words, the same that labelling takes.
        spins: ``[*shape]`` int8.
        seed: [] int32, flat index of the first site.
        bound: where to stop.
        kind: of the values.
    """
    degree = model.num_bonds_of_site
    couplings = couplings.reshape(degree // 2, -1)
    num_places = couplings.shape[1]
    digits = jax.tree.map(jnp.ravel, bond_digits(couplings)) if couplings.size <= _FEW else None
    flat_couplings = couplings.reshape(-1)

    def is_active(origin: Array, direction: Array, place: Array) -> Array:
        words = bits(bond_key, origin.astype(jnp.uint32), degree)
        first, second = (_chosen(words[word::2], direction) for word in (0, 1))
        one = (
            bond_digits(_get(flat_couplings, place))
            if digits is None
            else jax.tree.map(lambda d: _get(d, place), digits)
        )
        return is_below(first, second, one)

    def look(marked: Array, queue: Array, turn: Array) -> tuple[Array, Array, Array]:
        turns = turn.astype(jnp.uint32)  # whose quotient is a shift: that of a number with a sign is twenty operations
        entry = _get(queue, (turns // degree).astype(jnp.int32))
        there, origin, direction = model.bond_of_site(entry >> 1, (turns % degree).astype(jnp.int32))
        place = direction * num_places + (origin if num_places > 1 else 0)
        spin = _get(marked, there)
        is_favoured = spin == kind.favoured(_get(flat_couplings, place), entry, kind.unmark(_get(marked, entry >> 1)))
        joins = lax.cond(is_favoured, is_active, lambda *_: jnp.bool_(False), origin, direction, place)
        return there, spin, joins

    def is_growing(growth: _Growth) -> Array:
        return (growth.turn < degree * growth.size) & (growth.size < bound)

    def one_bond(growth: _Growth) -> _Growth:
        marked = _put(growth.marked, growth.there, jnp.where(growth.is_joined, kind.mark(growth.spin), growth.spin))
        queue = _put(growth.queue, growth.size, 2 * growth.there + (growth.spin < 0).astype(jnp.int32))
        size, turn = growth.size + growth.is_joined.astype(jnp.int32), growth.turn + 1
        return _Growth(marked, queue, size, turn, *look(marked, queue, turn))

    flat = spins.reshape(-1)
    marked = _put(flat, seed, kind.mark(_get(flat, seed)))
    is_down = (kind.unmark(_get(marked, seed)) < 0).astype(jnp.int32)
    queue = _put(jnp.zeros(bound, jnp.int32), jnp.int32(0), 2 * seed + is_down)
    start = _Growth(marked, queue, jnp.int32(1), jnp.int32(0), *look(marked, queue, jnp.int32(0)))
    found = lax.while_loop(is_growing, one_bond, start)
    return Cluster(found.marked, found.queue, found.size, kind.unmark(_get(found.marked, seed)))


def sum_over(cluster: Cluster, value: Callable[[Array], Array], dtype: Any) -> Array:
    """The sum of a function of an entry over the sites that were found."""

    def add(index: Array, total: Array) -> Array:
        return total + value(_get(cluster.queue, index))

    return lax.fori_loop(0, cluster.size, add, jnp.zeros((), dtype))


def settle(cluster: Cluster, is_changed: Array, kind: Kind, changed: Callable[[Array], Array]) -> Array:
    """``[N]`` int8 the values without marks, those of the cluster ``changed`` where they are to be."""

    def one(index: Array, values: Array) -> Array:
        site = _get(cluster.queue, index) >> 1
        value = kind.unmark(_get(values, site))
        return _put(values, site, jnp.where(is_changed, changed(value), value))

    return lax.fori_loop(0, cluster.size, one, cluster.marked)


# What a step draws once has the replica number 1, bonds have 0: a key for each would cost more than a small cluster.
def first_site(key: Array, num_sites: int) -> Array:
    """[] int32 any of the sites: floor(num_sites u / 2^64) of 64 random bits u."""
    high, low = random.bits(key, jnp.uint32(0), 2, replicas=jnp.uint32(1))
    size = jnp.uint32(num_sites)
    product = high * size
    carry = product + lax.mulhi(low, size) < product
    return (lax.mulhi(high, size) + carry.astype(jnp.uint32)).astype(jnp.int32)


def is_accepted(key: Array, probability: Array) -> Array:
    """[] bool whether a step is accepted."""
    return random.bernoulli(key, jnp.uint32(1), probability, replicas=jnp.uint32(1))


def drawn_bonds(couplings: Array, key: Array, shape: tuple[int, ...]) -> list[Array]:
    """``[*shape]`` bool of each direction: whether a bond would join; the words of a site are for all its bonds."""
    digits = bond_digits(couplings)
    words = bits(key, jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape), 2 * len(couplings))

    def drawn(direction: int) -> Array:
        threshold = BinaryExpansion(*(jnp.broadcast_to(part[direction], shape) for part in digits))
        return is_below(words[2 * direction], words[2 * direction + 1], threshold)

    return [drawn(direction) for direction in range(len(couplings))]


def bond_sign(couplings: Array) -> Array:
    """The product of spins that a bond favours, int8; 0 where it favours none."""
    return jnp.sign(jnp.nan_to_num(couplings)).astype(jnp.int8)


def bond_probability(couplings: Array) -> Array:
    r"""Probability :math:`1 - e^{-2 |J|}` that a bond joins spins as it favours them."""
    return -jnp.expm1(-2 * jnp.abs(couplings))


def bond_digits(couplings: Array) -> BinaryExpansion:
    """That probability, to be compared with 64 random bits."""
    return binary_expansion(bond_probability(couplings), num_planes=32)


def is_below(first: Array, second: Array, digits: BinaryExpansion) -> Array:
    """Whether 64 random bits are less than a probability."""
    return (first < digits.head) | ((first == digits.head) & (second < digits.tail)) | (digits.certain != 0)


def _chosen(words: tuple[Array, ...], number: Array) -> Array:
    chosen = words[0]
    for other, word in enumerate(words[1:], 1):
        chosen = jnp.where(number == other, word, chosen)
    return chosen


def _get(array: Array, index: Array) -> Array:
    return lax.dynamic_slice(array, (index,), (1,), allow_negative_indices=False)[0]


def _put(array: Array, index: Array, value: Array) -> Array:
    return lax.dynamic_update_slice(array, value.reshape(1), (index,), allow_negative_indices=False)
