r"""Heat bath of general Hamiltonians for many chains at once, with a bias on their block spins if one is wanted.

Sites whose places along every axis are the same modulo a period do not interact: they are a class, updated at once.
Between classes the lattice itself is moved by a step, so that one program, with slices in fixed places, serves all of
them. A spin is a byte, 1 for down, and chains are its last axis: products are exclusive ors, sums are of bytes.
"""

import dataclasses
import functools
import itertools
import operator
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial

from jaxrg import random
from jaxrg.base import Sampler, Status
from jaxrg.checks import as_count, as_spins, check_key, check_shape, kind_of
from jaxrg.lattice import Operators, block_shape
from jaxrg.models import OperatorModel
from jaxrg.samplers import SpinInfo
from jaxrg.samplers.kernels import counted


class BiasedState(NamedTuple):
    """Many configurations."""

    down: Array  # [*shape, num_chains] uint8, 1 where a spin is down
    step: Array  # [] uint32, sweeps taken


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["model", "bias"], meta_fields=["block", "period", "num_chains"]
)
@dataclasses.dataclass(frozen=True)
class _Chains:
    """What is sampled, and how the lattice is divided."""

    model: OperatorModel
    bias: OperatorModel | None
    block: int
    period: int  # sites; of the coarse lattice period / block
    num_chains: int

    @property
    def cells(self) -> tuple[int, ...]:
        """Sites of a class along each axis."""
        return tuple(side // self.period for side in self.model.shape)


def biased_heat_bath(
    model: OperatorModel, bias: OperatorModel | None = None, *, block: int = 1, num_chains: int
) -> Sampler:
    r"""Heat bath for a Hamiltonian of any operators, and a bias on the majority of its blocks.

    .. math:: P(\sigma) \propto e^{-H(\sigma) - V(\tau(\sigma))}

    A step is a sweep of all chains, class by class of sites that share no term of either. It leaves P invariant; as an
    ordered sweep it keeps balance but not detailed balance. Couplings are traced, those of the bias too.

    Args:
        model: H, on a periodic lattice.
        bias: V on the lattice of blocks as a model, whose couplings are those of :math:`-V`; without it the chain is
            that of H.
        block: odd side of the blocks, whose majority has no ties.
        num_chains: chains side by side; some hundred keep the processor busy, multiples of 32 most.

    Returns:
        A sampler with `BiasedState` and `jaxrg.samplers.SpinInfo`. ``init(key, spins)`` takes one configuration
        ``[*shape]`` for all chains or ``[num_chains, *shape]``; without it, chains start at random.

    Raises:
        ValueError: no `jaxrg.models.OperatorModel`, an open lattice, a bias on another lattice than that of the blocks,
            or blocks of an even side.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> basis = lattice.standard_operators(lattice.hypercubic((9, 9)), ["nearest_neighbour"])
        >>> blocks = lattice.standard_operators(lattice.hypercubic((3, 3)), ["nearest_neighbour"])
        >>> model, bias = models.OperatorModel(basis, [0.4]), models.OperatorModel(blocks, [-0.35])
        >>> sampler = biased_heat_bath(model, bias, block=3, num_chains=32)
        >>> run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 5)
        >>> sampler.measure(lambda spins: spins, run.state).shape
        (32, 9, 9)
    """
    for name, given in (("model", model), ("bias", bias)):
        if not isinstance(given, OperatorModel) and not (given is None and name == "bias"):
            raise ValueError(f"{name}: expected a models.OperatorModel, got {kind_of(given)}")
    lattice, side = model.lattice, as_count("block", block)
    if not all(lattice.periodic):
        raise ValueError(f"model: expected a periodic lattice, got periodic {lattice.periodic}")
    if side % 2 == 0:
        raise ValueError(f"block: expected an odd side, whose majority has no ties, got {side}")
    coarse = block_shape(lattice.shape, side)
    if bias is None:
        side, reach = 1, 0
    else:
        if bias.lattice.shape != coarse or not all(bias.lattice.periodic):
            raise ValueError(f"bias: expected the periodic lattice {coarse} of the blocks, got {bias.lattice.shape}")
        reach = _reach(bias.operators)
    period = _period(lattice.shape, side, max(_reach(model.operators) + 1, side * (reach + 1)))
    chains = _Chains(model, bias, side, period, as_count("num_chains", num_chains))
    return Sampler(Partial(_init, chains), counted(Partial(_sweep, chains)), Partial(_measure, chains))


def _reach(operators: Operators) -> int:
    """Steps along an axis between spins of one product, at most."""
    return max((abs(step) for offset in operators.interaction_offsets for step in offset), default=0)


def _period(shape: tuple[int, ...], block: int, least: int) -> int:
    """The shortest period of blocks that divides every side and keeps a class apart, or the shortest side's own."""
    common = int(np.gcd.reduce(shape))
    found = [length for length in range(block, common + 1, block) if common % length == 0 and length >= least]
    if found:
        return found[0]
    if len(set(shape)) > 1:
        raise ValueError(f"model: expected sides with a common divisor of at least {least}, got {shape}")
    return shape[0]  # one site a class


def _init(chains: _Chains, key: Array, spins: Array | None = None) -> BiasedState:
    check_key("key", key)
    shape = chains.model.shape
    if spins is None:
        down = _random(key, (*shape, chains.num_chains))
    else:
        given = as_spins("spins", spins)
        check_shape("spins", given, shape if given.ndim == len(shape) else (chains.num_chains, *shape))
        down = _given(given, chains.num_chains, len(shape))
    return BiasedState(down, jnp.zeros((), jnp.uint32))


@functools.partial(jax.jit, static_argnums=1)
def _random(key: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.bernoulli(key, shape=shape).astype(jnp.uint8)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _given(spins: Array, num_chains: int, ndim: int) -> Array:
    if spins.ndim == ndim:
        spins = jnp.broadcast_to(spins[None], (num_chains, *spins.shape))
    return jnp.moveaxis(spins < 0, 0, -1).astype(jnp.uint8)


def _measure(chains: _Chains, fn: Callable, state: BiasedState):
    return jax.vmap(fn)(jnp.moveaxis(1 - 2 * state.down.astype(jnp.int8), -1, 0))


@functools.cache
def _others(operators: Operators) -> tuple[tuple[tuple[tuple[int, ...], ...], ...], ...]:
    """For each operator, the offsets of the other spins of every product that a site is in."""
    return tuple(
        tuple(
            tuple(tuple(int(a - b) for a, b in zip(other, site, strict=True)) for other in term if other != site)
            for term in orbit
            for site in term
        )
        for orbit in operators.terms
    )


def _of_class(down: Array, period: int) -> Callable[[tuple[int, ...]], Array]:
    """``view(offset)``: the spins at an offset from the sites of the first class, ``[*cells, num_chains]``."""
    *shape, num_chains = down.shape
    split = down.reshape([length for side in shape for length in (side // period, period)] + [num_chains])

    @functools.cache
    def view(offset: tuple[int, ...]) -> Array:
        index = tuple(part for step in offset for part in (slice(None), step % period))
        moved = jnp.roll(split[index], tuple(-(step // period) for step in offset), tuple(range(len(shape))))
        return lax.optimization_barrier(moved)  # a roll inside of a fusion is done spin by spin

    return view


def _local_field(model: OperatorModel, view: Callable) -> Array:
    """-dH/ds at the sites of a class, ``[*cells, num_chains]``."""
    total = None
    for number, products in enumerate(_others(model.operators)):
        coupling = jnp.asarray(model.couplings)[number]
        constant = sum(not others for others in products)  # of the field, which has no other spins
        parts = [functools.reduce(operator.xor, map(view, others)) for others in products if others]
        field = coupling * constant
        if parts:
            if len(parts) > np.iinfo(np.uint8).max:  # the count of products of -1 overflows a byte
                parts = [part.astype(jnp.uint16) for part in parts]
            count = functools.reduce(operator.add, parts).astype(coupling.dtype)
            field = field + coupling * (len(parts) - 2 * count)
        total = field if total is None else total + field
    return jnp.asarray(total)


def _moved(array: Array, axis: int, steps: int) -> Array:
    return jnp.roll(array, -steps, axis)


class _Lattices(NamedTuple):
    """What a sweep carries: the lattice and, with a bias, the sums of its blocks, both moved alike."""

    down: Array
    sums: Array | None  # [*coarse shape, num_chains] int16 sums of the spins of a block
    visits: Array  # [] uint32 random numbers drawn so far
    is_finite: Array


def _sweep(chains: _Chains, key: Array, state: BiasedState) -> tuple[BiasedState, SpinInfo]:
    ndim, block, period = len(chains.model.shape), chains.block, chains.period

    def along(axis: int, carry: _Lattices) -> _Lattices:
        """All classes whose places along the axes before are the first."""
        if axis == ndim:
            return _update(chains, key, carry)

        def of_site(_, carry: _Lattices) -> _Lattices:
            carry = along(axis + 1, carry)
            return carry._replace(down=_moved(carry.down, axis, 1))

        def of_block(_, carry: _Lattices) -> _Lattices:
            carry = lax.fori_loop(0, block, of_site, carry)
            return carry if carry.sums is None else carry._replace(sums=_moved(carry.sums, axis, 1))

        carry = lax.fori_loop(0, period // block, of_block, carry)
        carry = carry._replace(down=_moved(carry.down, axis, -period))
        return carry if carry.sums is None else carry._replace(sums=_moved(carry.sums, axis, -(period // block)))

    sums = None if chains.bias is None else _block_sums(state.down, block)
    carry = along(0, _Lattices(state.down, sums, jnp.uint32(0), jnp.bool_(True)))
    acceptance = jnp.mean((carry.down ^ state.down).astype(jnp.float32))
    return state._replace(down=carry.down), SpinInfo(acceptance, Status.NOT_FINITE.when(~carry.is_finite))


def _block_sums(down: Array, block: int) -> Array:
    *shape, num_chains = down.shape
    split = down.reshape([length for side in shape for length in (side // block, block)] + [num_chains])
    count = jnp.sum(split, axis=tuple(range(1, 2 * len(shape), 2)), dtype=jnp.int16)
    return block ** len(shape) - 2 * count


def _update(chains: _Chains, key: Array, carry: _Lattices) -> _Lattices:
    """New spins for the sites of the first class."""
    view = _of_class(carry.down, chains.period)
    here = tuple([0] * len(chains.model.shape))
    before = view(here)
    field = _local_field(chains.model, view)
    if chains.bias is not None and carry.sums is not None:
        of_blocks = _of_class(carry.sums, chains.period // chains.block)
        others = of_blocks(here) - (1 - 2 * before.astype(jnp.int16))  # of the spins of the block but this one
        below = _of_class((carry.sums < 0).astype(jnp.uint8), chains.period // chains.block)
        # The block follows this spin only where the others cancel.
        field = field + jnp.where(others == 0, _local_field(chains.bias, below).astype(field.dtype), 0)
    field = jnp.broadcast_to(field, before.shape)
    counters = carry.visits + lax.iota(jnp.uint32, before.size).reshape(before.shape)
    is_up = random.bernoulli_logit(key, counters, 2 * field)
    after = (~is_up).astype(jnp.uint8)
    down = _written(carry.down, after, chains.period)
    sums = carry.sums
    if sums is not None:
        change = 2 * (before.astype(jnp.int16) - after.astype(jnp.int16))
        sums = _written(sums, of_blocks(here) + change, chains.period // chains.block)
    is_finite = carry.is_finite & jnp.all(jnp.isfinite(field))
    return _Lattices(down, sums, carry.visits + np.uint32(before.size), is_finite)


def _written(array: Array, values: Array, period: int) -> Array:
    """The array with new values on the first class."""
    *shape, num_chains = array.shape
    split = array.reshape([length for side in shape for length in (side // period, period)] + [num_chains])
    spread = values.reshape([*itertools.chain.from_iterable((side // period, 1) for side in shape), num_chains])
    return lax.dynamic_update_slice(split, spread, [0] * split.ndim).reshape(array.shape)
