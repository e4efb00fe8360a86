r"""Translation-invariant operators: products of spins over a set of offsets, summed over a lattice and its symmetries.

One basis serves every method: general Hamiltonians :math:`H = -\sum_a K_a O_a`, renormalised couplings read from a
table, couplings measured from samples.
"""

import dataclasses
import functools
import itertools
import operator
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_spins, kind_of
from jaxrg.lattice.geometry import Lattice, Offset, as_offset, check_lattice, inside, shift

Term = tuple[Offset, ...]

_STANDARD: dict[str, Sequence[Sequence[int]]] = {
    "field": [[]],
    "nearest_neighbour": [[], [1]],
    "next_nearest_neighbour": [[], [1, 1]],
    "third_neighbour": [[], [2]],
    "corner": [[], [1], [0, 1]],
    "plaquette": [[], [1], [0, 1], [1, 1]],
}


@dataclasses.dataclass(frozen=True)
class Operators:
    r"""Named operators of one lattice, hashable and static.

    .. math:: O_a(s) = \sum_x \sum_{t \in a} \prod_{o \in t} s_{x+o}

    Attributes:
        lattice: the lattice the sums run over.
        names: one name for each operator.
        terms: for each operator, its orbit: offset sets that differ by more than a translation.

    Raises:
        ValueError: no Lattice, not one name for each operator, or offsets that are no integer steps along each axis.
    """

    lattice: Lattice
    names: tuple[str, ...]
    terms: tuple[tuple[Term, ...], ...]

    def __post_init__(self) -> None:
        ndim = check_lattice("lattice", self.lattice).ndim
        if len(self.names) != len(self.terms):
            raise ValueError(f"names: expected one for each of {len(self.terms)} operators, got {len(self.names)}")
        terms = tuple(
            tuple(tuple(as_offset("terms", offset, ndim) for offset in term) for term in orbit) for orbit in self.terms
        )
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "terms", terms)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_terms(self) -> np.ndarray:
        """``[num_operators]`` int64 count of spin products in each operator, boundaries respected."""
        return np.array([sum(int(self._kept(term).sum()) for term in orbit) for orbit in self.terms], np.int64)

    @property
    def interaction_offsets(self) -> tuple[Offset, ...]:
        """Differences between sites that share a product, one of each ± pair."""
        found = {
            tuple(int(b - a) for a, b in zip(first, second, strict=True))
            for orbit in self.terms
            for term in orbit
            for first, second in itertools.combinations(sorted(term), 2)
        }
        return tuple(sorted(found))

    def site_products(self) -> list[list[np.ndarray]]:
        """For each operator and term, ``[num_products, order]`` flat indices of the sites each product runs over."""
        index = np.arange(self.lattice.num_sites, dtype=np.int32).reshape(self.lattice.shape)
        axes = tuple(range(self.lattice.ndim))
        products = []
        for orbit in self.terms:
            rows = []
            for term in orbit:
                kept = self._kept(term)
                moved = [np.roll(index, tuple(-step for step in offset), axis=axes)[kept] for offset in term]
                rows.append(np.stack(moved, axis=-1))
            products.append(rows)
        return products

    def _kept(self, term: Term) -> np.ndarray:
        kept = np.ones(self.lattice.shape, bool)
        for offset in term:
            kept = kept & inside(self.lattice, offset)
        return kept


@functools.cache
def point_group(lattice: Lattice) -> tuple[tuple[Offset, ...], ...]:
    """Integer matrices that map the set of neighbour offsets onto itself, each as a tuple of rows.

    The hyperoctahedral group for hypercubic lattices, the twelve elements of the hexagon for the triangular one.
    """
    check_lattice("lattice", lattice)
    neighbours = set(lattice.bonds) | {tuple(-step for step in bond) for bond in lattice.bonds}
    group = []
    for images in itertools.product(sorted(neighbours), repeat=lattice.ndim):
        matrix = np.array(images).T
        if {tuple(int(c) for c in matrix @ np.array(bond)) for bond in neighbours} == neighbours:
            group.append(tuple(tuple(int(c) for c in row) for row in matrix))
    return tuple(group)


def _canonical(term: np.ndarray) -> Term:
    """The translate whose first offset in lexicographic order is the origin."""
    ordered = sorted(tuple(int(c) for c in offset) for offset in term)
    origin = ordered[0]
    return tuple(tuple(c - o for c, o in zip(offset, origin, strict=True)) for offset in ordered)


def operators(lattice: Lattice, offset_sets: Mapping[str, Sequence[Sequence[int]]]) -> Operators:
    """Operators from one representative offset set each, completed to its orbit under the lattice's symmetries.

    Args:
        lattice: where the operators live.
        offset_sets: for each name, the sites of one product; short offsets are padded with zeros.

    Raises:
        ValueError: an empty set, an offset with too many components, two offsets that meet on the lattice (a spin
            squared is no operator), or two names for one operator.

    Example:
        >>> from jaxrg.lattice import hypercubic
        >>> square = hypercubic((4, 4))
        >>> operators(square, {"nn": [(0, 0), (1, 0)], "field": [(0, 0)]}).num_terms.tolist()
        [32, 16]
    """
    check_lattice("lattice", lattice)
    if not isinstance(offset_sets, Mapping):
        raise ValueError(f"offset_sets: expected a dict of names and offsets, got {kind_of(offset_sets)}")
    if not offset_sets:
        raise ValueError("offset_sets: expected at least one operator, got none")
    names, orbits = tuple(offset_sets), []
    sides = np.array([side if wraps else 0 for side, wraps in zip(lattice.shape, lattice.periodic, strict=True)])
    for name, offsets in offset_sets.items():
        if not offsets:
            raise ValueError(f"offset_sets[{name!r}]: expected at least one offset, got none")
        if any(len(offset) > lattice.ndim for offset in offsets):
            raise ValueError(f"offset_sets[{name!r}]: expected offsets with {lattice.ndim} components, got {offsets}")
        if any(int(step) != step for offset in offsets for step in offset):
            raise ValueError(f"offset_sets[{name!r}]: expected integer steps, got {offsets}")
        term = np.array([[*offset, *[0] * (lattice.ndim - len(offset))] for offset in offsets])
        orbit = tuple(sorted({_canonical(term @ np.array(matrix).T) for matrix in point_group(lattice)}))
        for member in orbit:
            wrapped = {tuple(c % s if s else c for c, s in zip(offset, sides, strict=True)) for offset in member}
            if len(wrapped) < len(member):
                raise ValueError(
                    f"offset_sets[{name!r}]: expected different sites on a lattice of {lattice.shape}, got {member}"
                )
        if orbit in orbits:
            raise ValueError(
                f"offset_sets: expected different operators, got {names[orbits.index(orbit)]!r} = {name!r}"
            )
        orbits.append(orbit)
    found = Operators(lattice, names, tuple(orbits))
    for name, count in zip(names, found.num_terms, strict=True):
        if count == 0:
            raise ValueError(f"offset_sets[{name!r}]: expected a lattice with room for it, got {lattice.shape}")
    return found


def standard_operators(lattice: Lattice, names: Sequence[str] | None = None) -> Operators:
    """The short-range operators every renormalisation study starts from, by name.

    Known names: field, nearest_neighbour, next_nearest_neighbour (one diagonal), third_neighbour (two steps),
    corner (three spins of a plaquette), plaquette. By default the even ones that fit the lattice's dimension.

    Raises:
        ValueError: an unknown name, or one the lattice has no room for.

    Example:
        >>> from jaxrg.lattice import hypercubic
        >>> standard_operators(hypercubic((4, 4))).names
        ('nearest_neighbour', 'next_nearest_neighbour', 'third_neighbour', 'plaquette')
    """
    check_lattice("lattice", lattice)
    if names is not None and (not isinstance(names, Sequence) or isinstance(names, str)):
        raise ValueError(f"names: expected a sequence of names, got {kind_of(names)}")
    if names is None:
        wide = ["nearest_neighbour", "next_nearest_neighbour", "third_neighbour", "plaquette"]
        names = wide if lattice.ndim > 1 else ["nearest_neighbour", "third_neighbour"]
        names = [name for name in names if name != "third_neighbour" or min(lattice.shape) > 2]
    for name in names:
        if name not in _STANDARD:
            raise ValueError(f"names: expected names among {', '.join(_STANDARD)}, got {name!r}")
    return operators(lattice, {name: _STANDARD[name] for name in names})


def evaluate(basis: Operators, spins: Array) -> Array:
    """Every operator on one configuration.

    Args:
        basis: the operators.
        spins: ``[*shape]`` ±1; integers are summed exactly in int32, floats stay differentiable.

    Returns:
        ``[num_operators]``, int32 for integer spins, else the dtype of ``spins``.

    Raises:
        ValueError: no Operators, or spins of another shape than the lattice's, of a type without -1 or, where they can
            be seen, other than ±1; integers on a lattice whose sums an int32 cannot hold.

    Example:
        >>> from jaxrg.lattice import hypercubic
        >>> evaluate(standard_operators(hypercubic((4, 4))), jnp.ones((4, 4), jnp.int8)).tolist()
        [32, 32, 32, 16]
    """
    if not isinstance(basis, Operators):
        raise ValueError(f"basis: expected a basis of lattice.operators, got {kind_of(basis)}")
    array = as_spins("spins", spins, basis.lattice.shape)
    largest = basis.lattice.num_sites * max(map(len, basis.terms))
    if jnp.issubdtype(array.dtype, jnp.integer) and largest > np.iinfo(np.int32).max:
        raise ValueError(f"spins: expected floats for sums of {largest} products, which an int32 cannot hold")
    return _evaluate(basis, array)


@functools.partial(jax.jit, static_argnames="basis", inline=True)
def _evaluate(basis: Operators, spins: Array) -> Array:
    dtype = jnp.int32 if jnp.issubdtype(spins.dtype, jnp.integer) else spins.dtype
    shifted = functools.cache(lambda offset: shift(basis.lattice, spins, offset))
    totals = []
    for orbit in basis.terms:
        products = (functools.reduce(operator.mul, map(shifted, term)) for term in orbit)
        totals.append(functools.reduce(operator.add, (jnp.sum(product, dtype=dtype) for product in products)))
    return jnp.stack(totals)
