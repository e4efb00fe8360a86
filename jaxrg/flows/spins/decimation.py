"""The hierarchical sampler of Ising spins as a density: made for a model, drawn from, evaluated, refined."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, as_parameter, as_spins, check_key, check_number, is_traced, kind_of
from jaxrg.flows import level_checks
from jaxrg.flows.level_checks import as_level
from jaxrg.flows.spins import sampler
from jaxrg.flows.spins.conditionals import Conditional, odd_network
from jaxrg.flows.spins.plan import Plan
from jaxrg.lattice import hypercubic
from jaxrg.models import Ising

MAX_TOP = 16  # sites of the coarsest lattice, whose every state has a probability of its own


class LevelLogProbs(NamedTuple):
    """ln q of configurations, part by part; the sum of all is ``log_prob``."""

    top: Array  # [num_samples] of the coarsest spins
    levels: tuple[Array, ...]  # [num_samples, num_passes] of each level given the coarser ones, the finest first
    exact: Array  # [num_samples] of the finest sites whose conditional is known


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["couplings", "interval"], meta_fields=["plan", "degree"]
)
@dataclasses.dataclass(frozen=True)
class InverseDecimation:
    """A `jaxrg.base.Density` of Ising spins, drawn from coarse to fine; made by `inverse_decimation`.

    Attributes:
        couplings: ``[2]`` K between rows and between columns; leaves, so that other couplings do not recompile.
        interval: ``[2]`` couplings between which one set of weights holds, or none.
        plan: sides, levels and passes; static.
        degree: of the weights as polynomials of K; static.
    """

    couplings: Array
    interval: Array
    plan: Plan
    degree: int

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a configuration."""
        return self.plan.shape

    @property
    def num_levels(self) -> int:
        """How often the sides are halved."""
        return self.plan.num_levels

    def init(self, key: Array) -> PyTree:
        """Parameters at the start: ``{"top": weights, "levels": [params, ...]}``, the finest level first.

        Every leaf has a leading axis of ``degree + 1`` Chebyshev coefficients in K.
        """
        check_key("key", key)
        return _init(self.plan, key, degree=self.degree)

    def sample(self, key: Array, params: PyTree, num_samples: int, *, level: int = 0) -> tuple[Array, Array]:
        """Draws ``[num_samples, *shape]`` int8, and the ln q of each, ``[num_samples]``.

        With a ``level`` only the spins of every 2**level-th site are drawn: the coarse ones come first and cost little.
        """
        check_key("key", key)
        check_params(self, params)
        level = as_level(level, self.num_levels, minimum=0)
        return _sample(self, key, params, num_samples=as_count("num_samples", num_samples), level=level)

    def log_prob(self, params: PyTree, configurations: Array) -> Array:
        """``[num_samples]`` ln q of ``[num_samples, *shape]``; exact, with derivatives by the parameters."""
        check_params(self, params)
        return _log_prob(self, params, self._checked("configurations", configurations, 0))

    def level_log_probs(self, params: PyTree, configurations: Array) -> LevelLogProbs:
        """ln q of ``[num_samples, *shape]`` part by part: what each scale contributes."""
        check_params(self, params)
        return _level_log_probs(self, params, self._checked("configurations", configurations, 0))

    def refine(self, key: Array, params: PyTree, coarse: Array, level: int) -> tuple[Array, Array]:
        """Draw all that is finer than the spins of a level.

        Args:
            key: typed key.
            params: of the density.
            coarse: ``[num_samples, *shape / 2**level]`` spins of every 2**level-th site along each axis.
            level: from 1, every second site, to ``num_levels``, the top.

        Returns:
            Configurations ``[num_samples, *shape]`` int8 whose sublattice is ``coarse``, and ln q of all other spins
            given it, ``[num_samples]``.
        """
        check_key("key", key)
        check_params(self, params)
        coarse = self._checked("coarse", coarse, as_level(level, self.num_levels))
        return _refine(self, key, params, coarse, level=as_level(level, self.num_levels))

    def refinement_log_prob(self, params: PyTree, configurations: Array, level: int) -> Array:
        """``[num_samples]`` ln q of all other spins given those of a level, as `refine` returns it."""
        check_params(self, params)
        spins = self._checked("configurations", configurations, 0)
        return _refinement_log_prob(self, params, spins, level=as_level(level, self.num_levels))

    def _checked(self, name: str, configurations: Array, level: int) -> Array:
        spins = as_spins(name, configurations)
        level_checks.check_configurations(name, spins, self.plan.level_shape(level))
        return spins


def check_params(density: InverseDecimation, params: PyTree) -> None:
    """ValueError for parameters of another density."""
    level_checks.check_params(params, _shapes(density.plan, density.degree), density.num_levels)


def inverse_decimation(
    model: Ising,
    *,
    num_levels: int | None = None,
    spacing: int = 4,
    radius: float = 6.4,
    conditional: Conditional | None = None,
    degree: int = 0,
    interval: Sequence[float] | Array | None = None,
) -> InverseDecimation:
    r"""A sampler of Ising spins on a square torus that runs decimation backwards, with the exact q of every draw.

    .. math:: q(s) = q(s^{(n)}) \prod_{k=0}^{n-1} \prod_{P} \prod_{x \in P}
        \frac{1}{1 + e^{-2 s_x f_x(s^{(k+1)}, \text{passes before})}}

    The spins s^(n) of the top, every 2^n-th site along each axis, have a probability for each of their states, equal
    for states that a translation, a reflection, a rotation or a flip of all spins turns into each other. A level fills
    the (odd, odd) sites given the (even, even) ones, then the other half, in passes of sites ``spacing`` apart, drawn
    at once from local fields f that are learned. On the finest lattice the last half of all sites, and half of the
    (odd, odd) ones before it, have all that they interact with around them: they are drawn exactly.
    So drawing takes of the order of log L steps, and whatever is left of KL(q || p) comes from the passes that are
    learned: see `maximum_likelihood`, `jaxrg.flows.log_variance`, `jaxrg.samplers.weighted_draws`.

    Args:
        model: `jaxrg.models.Ising` on a periodic square lattice with nearest neighbours, without a field. Its coupling
            is a leaf: with ``degree`` and ``interval`` one set of weights serves many.
        num_levels: how often the sides are halved; None for as few times as leave a top of at most 16 sites.
        spacing: of the sites of a pass, a power of two; a level has 3 (spacing / 2)^2 passes. The finest one splits its
            own into diagonal halves where twice the spacing divides the sides.
        radius: how far away a spin knows others, in sites of its level.
        conditional: the local fields, `odd_network` or `local_operators`.
        degree: of the polynomials of K that all weights are; 0 for one coupling.
        interval: two couplings between which the polynomials are meant to hold; needed where the degree is not 0.

    Returns:
        `InverseDecimation`.

    Raises:
        ValueError: another model or lattice, a side that is odd or that the levels and the spacing do not divide, a top
            of more than 16 sites, or numbers out of range.

    Example:
        >>> from jaxrg import exact, lattice
        >>> ising = Ising(lattice.hypercubic((4, 4)), exact.critical_coupling)
        >>> density = inverse_decimation(ising, num_levels=1, spacing=2, radius=2.3)
        >>> params = density.init(jax.random.key(0))
        >>> spins, log_prob = density.sample(jax.random.key(1), params, 3)
        >>> spins.shape, spins.dtype, log_prob.shape
        ((3, 4, 4), dtype('int8'), (3,))
        >>> bool(jnp.allclose(log_prob, density.log_prob(params, spins), rtol=1e-5))
        True

    Reference:
        Singha, Cellini, Nicoli, Jansen, Kühn & Nakajima, ICLR (2025), whose passes are single sites trained by
        REINFORCE; Efthymiou, Beach & Melko, Phys. Rev. B 99, 075113 (2019) for decimation inverted.
    """
    shape = _checked_shape(model)
    spacing, degree = as_count("spacing", spacing, minimum=2), as_count("degree", degree, minimum=0)
    check_number("radius", radius, above=1.4, below=64)
    if spacing & (spacing - 1):
        raise ValueError(f"spacing: expected a power of two, got {spacing}")
    possible = _possible_levels(shape, spacing)
    fewest = next((n for n in range(1, possible) if (shape[0] >> n) * (shape[1] >> n) <= MAX_TOP), possible)
    levels = fewest if num_levels is None else as_count("num_levels", num_levels)
    if num_levels is None and (possible < 1 or (shape[0] >> fewest) * (shape[1] >> fewest) > MAX_TOP):
        raise ValueError(
            f"model: expected sides that are multiples of the spacing, {spacing}, each time they are halved, down to a "
            f"top of at most {MAX_TOP} sites, as powers of two are, and three times them with spacing 2, got {shape}"
        )
    if not 1 <= levels <= possible:
        raise ValueError(
            f"num_levels: expected 1 to {possible} for sides {shape}, which every level halves and the spacing "
            f"{spacing} divides, got {levels}"
        )
    size = (shape[0] >> levels) * (shape[1] >> levels)
    if size > MAX_TOP:
        raise ValueError(
            f"num_levels: expected a top of at most {MAX_TOP} sites, got {levels} levels that leave {size}"
        )
    if conditional is None:
        conditional = odd_network()
    if not isinstance(conditional, Conditional):
        raise ValueError(f"conditional: expected a Conditional such as odd_network(), got {kind_of(conditional)}")
    coupling = jnp.asarray(model.coupling)
    plan = Plan(shape, levels, spacing, float(radius), 4 if coupling.ndim else 8, conditional)
    return InverseDecimation(jnp.broadcast_to(coupling, (2,)), _as_interval(interval, degree, coupling), plan, degree)


def _checked_shape(model: Any) -> tuple[int, int]:
    if not isinstance(model, Ising):
        raise ValueError(f"model: expected an Ising model, got {kind_of(model)}")
    if len(model.shape) != 2 or model.lattice != hypercubic(model.shape):
        raise ValueError(f"model: expected a periodic square lattice with nearest neighbours, got {model.lattice}")
    if not is_traced(model.field) and np.any(np.asarray(model.field) != 0):
        raise ValueError("model: expected no field, got one; the fields that are learned are odd in the spins")
    height, width = model.shape
    if height % 2 or width % 2:
        raise ValueError(f"model: expected even sides, which every level halves, got {model.shape}")
    return height, width


def _possible_levels(shape: tuple[int, int], spacing: int) -> int:
    """How many levels the sides allow: the spacing divides each but the top, which has four sites or more."""
    levels = 0
    while all((side >> levels) % spacing == 0 and (side >> levels) >= 4 for side in shape):
        levels += 1
    return levels


def _as_interval(interval: Any, degree: int, coupling: Array) -> Array:
    if interval is None:
        if degree:
            raise ValueError(f"interval: expected two couplings for weights of degree {degree}, got None")
        return jnp.zeros(2, coupling.dtype)
    ends = as_parameter("interval", interval)
    if np.shape(ends) != (2,) or (not is_traced(ends) and not float(ends[0]) < float(ends[1])):
        raise ValueError(f"interval: expected two couplings, the smaller one first, got {interval!r}")
    return ends.astype(coupling.dtype)


@functools.lru_cache(maxsize=64)
def _shapes(plan: Plan, degree: int) -> PyTree:
    return jax.eval_shape(lambda: _init(plan, jax.random.key(0), degree=degree))


@functools.partial(jax.jit, static_argnums=0, static_argnames="degree")
def _init(plan: Plan, key: Array, *, degree: int) -> PyTree:
    def coefficients(leaf: Array) -> Array:
        return jnp.concatenate([leaf[None], jnp.zeros((degree, *leaf.shape), leaf.dtype)])

    return jax.tree.map(coefficients, plan.init(key))


def at_coupling(density: InverseDecimation, params: PyTree) -> PyTree:
    """The weights at the coupling of the density: their polynomials summed up."""
    if density.degree == 0:
        return jax.tree.map(lambda leaf: leaf[0], params)
    low, high = density.interval
    place = (2 * jnp.mean(density.couplings) - low - high) / (high - low)
    values = [jnp.ones_like(place), place]
    for _ in range(density.degree - 1):
        values.append(2 * place * values[-1] - values[-2])
    return jax.tree.map(lambda leaf: jnp.tensordot(jnp.stack(values).astype(leaf.dtype), leaf, 1), params)


def _lanes(density: InverseDecimation, configurations: Array) -> Array:
    return jnp.moveaxis(configurations, 0, -1).astype(density.couplings.dtype)


def _configurations(spins: Array) -> Array:
    return jnp.moveaxis(spins, -1, 0).astype(jnp.int8)


@functools.partial(jax.jit, static_argnames=("num_samples", "level"))
def _sample(density: InverseDecimation, key: Array, params: PyTree, *, num_samples: int, level: int):
    plan, weights = density.plan, at_coupling(density, params)
    spins, total = sampler.draw_top(plan, jax.random.fold_in(key, plan.num_levels), weights, num_samples)
    spins, finer = sampler.draw_between(plan, key, weights, density.couplings, spins, plan.num_levels, level)
    return _configurations(spins), total + finer


@functools.partial(jax.jit, static_argnames="level")
def _refine(density: InverseDecimation, key: Array, params: PyTree, coarse: Array, *, level: int):
    weights, spins = at_coupling(density, params), _lanes(density, coarse)
    spins, total = sampler.draw_between(density.plan, key, weights, density.couplings, spins, level, 0)
    return _configurations(spins), total


@jax.jit
def _level_log_probs(density: InverseDecimation, params: PyTree, configurations: Array) -> LevelLogProbs:
    plan, weights, spins = density.plan, at_coupling(density, params), _lanes(density, configurations)
    levels = tuple(
        sampler.level_log_prob(plan, weights, sampler.sublattice(spins, level), level).T
        for level in range(plan.num_levels)
    )
    top = sampler.top_log_prob(plan, weights, sampler.sublattice(spins, plan.num_levels))
    return LevelLogProbs(top, levels, sampler.exact_log_prob(plan, density.couplings, spins))


@jax.jit
def _log_prob(density: InverseDecimation, params: PyTree, configurations: Array) -> Array:
    found = _level_log_probs(density, params, configurations)
    return found.top + sum(jnp.sum(level, axis=-1) for level in found.levels) + found.exact


@functools.partial(jax.jit, static_argnames="level")
def _refinement_log_prob(density: InverseDecimation, params: PyTree, configurations: Array, *, level: int) -> Array:
    found = _level_log_probs(density, params, configurations)
    return sum(jnp.sum(part, axis=-1) for part in found.levels[:level]) + found.exact
