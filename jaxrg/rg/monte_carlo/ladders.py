"""Operators of a configuration, of its block spins, of the block spins of those: what Monte Carlo RG averages."""

import dataclasses
import functools
import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.checks import as_count, check_function, check_key, kind_of, takes
from jaxrg.closures import as_partial
from jaxrg.lattice import Operators, evaluate, hypercubic
from jaxrg.rg.couplings import check_operators
from jaxrg.samplers import packed

Blocking: TypeAlias = Callable[[Array, Array], Array]
"""``coarse = blocking(key, configuration)``: block spins of one configuration; the key is for ties and other chance."""


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["blocking", "evaluate"], meta_fields=["bases", "depth"]
)
@dataclasses.dataclass(frozen=True)
class Ladder:
    """A rule for block spins and the operators of every level; `ladder` makes it.

    ``values = ladder(key, configuration)`` are ``[num_levels, num_operators]`` sums of one configuration.

    Attributes:
        blocking: the rule.
        evaluate: operators of one configuration of any size, or None where there are bases.
        bases: the same operators on the lattice of every level, the finest first; static.
        depth: number of levels, static.
    """

    blocking: Partial
    evaluate: Partial | None
    bases: tuple[Operators, ...]
    depth: int

    def __call__(self, key: Array, configuration: Array) -> Array:
        """``[num_levels, num_operators]`` of one configuration, in its floating type, float32 for spins as integers."""
        check_key("key", key)
        return values_of(self, key[None], configuration[None])[0]


def ladder(operators: Operators | Callable[[Array], Array], blocking: Blocking, num_levels: int = 2) -> Ladder:
    r"""Operators :math:`S_a^{(n)}` of a lattice and of its block spins.

    Args:
        operators: a basis on the finest lattice, whose operators are taken on all levels; or a function from one
            configuration of any size to their sums ``[num_operators]``, as those of a field are.
        blocking: ``coarse = blocking(key, configuration)``, such as ``lambda key, spins: rg.majority(key, spins, 2)``,
            ``lambda key, spins: rg.decimate(spins, 2)``, or a block mean of a field times its power of b.
        num_levels: the finest one included.

    Raises:
        ValueError: no operators or no function; a lattice that is not hypercubic, or that cannot be blocked so often;
            or operators of which one is a combination of others on the lattice of a level.

    Example:
        >>> from jaxrg import lattice, rg
        >>> basis = lattice.standard_operators(lattice.hypercubic((8, 8)), ["nearest_neighbour", "plaquette"])
        >>> steps = ladder(basis, lambda key, spins: rg.majority(key, spins, 2), 2)
        >>> steps(jax.random.key(0), jnp.ones((8, 8), jnp.int8)).tolist()
        [[128.0, 64.0], [32.0, 16.0]]
    """
    depth = as_count("num_levels", num_levels)
    check_function("blocking", blocking, of="a key and a configuration")
    if not takes(blocking, 2):
        raise ValueError("blocking: expected a function of a key and a configuration, got one of other parameters")
    rule = as_partial(blocking)
    if not isinstance(operators, Operators):
        check_function("operators", operators, of="one configuration, or lattice.Operators,")
        return Ladder(rule, as_partial(operators), (), depth)
    return Ladder(rule, None, tuple(_bases(operators, rule, depth)), depth)


def _bases(operators: Operators, rule: Partial, depth: int) -> list[Operators]:
    lattice = operators.lattice
    if lattice != hypercubic(lattice.shape, periodic=lattice.periodic):
        raise ValueError(f"operators: expected a hypercubic lattice, whose blocks are one too, got {lattice.bonds}")
    check_operators(operators)
    bases = [operators]
    for _ in range(1, depth):
        shape = bases[-1].lattice.shape
        coarse = getattr(jax.eval_shape(rule, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.int8)), "shape", ())
        if len(coarse) != len(shape) or any(side % short for side, short in zip(shape, coarse, strict=True)):
            raise ValueError(f"blocking: expected blocks of a configuration {shape}, got {coarse}")
        found = dataclasses.replace(operators, lattice=hypercubic(coarse, periodic=lattice.periodic))
        try:
            check_operators(found)
        except ValueError as error:
            raise ValueError(f"num_levels: expected lattices that keep the operators apart: {error}") from error
        bases.append(found)
    return bases


def values_of(steps: Ladder, keys: Array, configurations: Array) -> Array:
    """``[n, num_levels, num_operators]`` of configurations ``[n, *shape]`` with a key for each."""
    found = []
    for level in range(steps.depth):
        if level:
            keys = jax.vmap(jax.random.fold_in, (0, None))(keys, np.uint32(level))
            configurations = jax.vmap(steps.blocking)(keys, configurations)
        found.append(_evaluated(steps, level, configurations))
    return jnp.stack(found, axis=1)


def _evaluated(steps: Ladder, level: int, configurations: Array) -> Array:
    if steps.evaluate is not None:
        return jax.vmap(steps.evaluate)(configurations)
    basis = steps.bases[level]
    if not jnp.issubdtype(configurations.dtype, jnp.integer):
        return jax.vmap(functools.partial(evaluate, basis))(configurations)
    if not all(basis.lattice.periodic):
        return jax.vmap(functools.partial(evaluate, basis))(configurations).astype(jnp.float32)
    return _counted(basis, configurations)


def _counted(basis: Operators, spins: Array) -> Array:
    """Sums of products of spins ±1 by counting bits, 32 configurations in a word.

    The bit of a product is the parity of the bits of spins down, and the sum over the lattice is the number of sites
    less twice that of bits.
    """
    num, *shape = spins.shape
    filled = -(-num // packed.LANES) * packed.LANES
    words = packed.pack(-jnp.pad(spins, [(0, filled - num), *[(0, 0)] * len(shape)]))  # spins down
    axes = tuple(range(1, spins.ndim))
    shifted = functools.cache(lambda offset: jnp.roll(words, tuple(-step for step in offset), axes))
    terms = [(a, term) for a, orbit in enumerate(basis.terms) for term in orbit]
    products = jnp.stack([functools.reduce(operator.xor, map(shifted, term)) for _, term in terms])
    products = jax.lax.optimization_barrier(products)  # counting would compute them anew for every place it looks at
    down = packed.count_lanes(products.reshape(-1, *shape)).reshape(len(terms), filled)[:, :num]
    holds = np.zeros((len(basis), len(terms)), np.float32)
    holds[[a for a, _ in terms], np.arange(len(terms))] = 1
    return ((math.prod(shape) - 2 * down).astype(jnp.float32).T @ holds.T).astype(jnp.float32)


def as_ladder(name: str, value: Any) -> Ladder:
    """A `Ladder`, or ValueError."""
    if not isinstance(value, Ladder):
        raise ValueError(f"{name}: expected a Ladder of rg.monte_carlo.ladder, got {kind_of(value)}")
    return value
