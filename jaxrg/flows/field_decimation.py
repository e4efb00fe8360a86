"""Decimation of a real field with a local action run backwards; what the action tells of its sites is not learned."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, as_floating, check_key, check_number, is_traced, kind_of
from jaxrg.flows import local_potentials, one_site
from jaxrg.flows.field_passes import LARGEST_TOP, SPACING, Level, level_sides, levels_of
from jaxrg.flows.initial import normal_weights
from jaxrg.flows.level_checks import as_level, check_configurations, check_params
from jaxrg.flows.line_densities import NUM_POINTS, draw, grid, log_normaliser
from jaxrg.flows.one_site import Potential
from jaxrg.lattice import hypercubic
from jaxrg.models import Phi4

COARSEST = 0.7  # points of the grid apart, in widths of the narrowest density


@dataclasses.dataclass(frozen=True)
class FieldPlan:
    """What is static of a `FieldDecimation`."""

    side: int
    num_features: int
    num_layers: int
    radius: float

    @property
    def levels(self) -> tuple[Level, ...]:
        """The finest first, the top last."""
        return levels_of(self.side, self.radius)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["potential"], meta_fields=["plan"])
@dataclasses.dataclass(frozen=True)
class FieldDecimation:
    """A `jaxrg.base.Density` of real fields, drawn from coarse to fine; made by `field_decimation`.

    Attributes:
        potential: couplings of the sites; leaves, so that others do not recompile.
        plan: side, levels and passes; static.
    """

    potential: Potential
    plan: FieldPlan

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a configuration."""
        return self.plan.side, self.plan.side

    @property
    def level_sides(self) -> tuple[int, ...]:
        """Sides of the lattices, the finest first, the top last."""
        return level_sides(self.plan.side)

    def init(self, key: Array) -> PyTree:
        """Parameters at the start, ``{"levels": (weights, ...)}``, finest first: sites feel only themselves."""
        check_key("key", key)
        return _init(self.plan, self.potential.quartic, key)

    def sample(self, key: Array, params: PyTree, num_samples: int) -> tuple[Array, Array]:
        """Draws ``[num_samples, *shape]`` and the ln q of each, ``[num_samples]``, with derivatives by the parameters.

        Those are at fixed random numbers, so that `reverse_kl` and `path_gradient` work.
        """
        check_key("key", key)
        self._check(params)
        return _sample(self, key, params, num_samples=as_count("num_samples", num_samples))

    def log_prob(self, params: PyTree, configurations: Array) -> Array:
        """``[num_samples]`` ln q of ``[num_samples, *shape]``."""
        self._check(params)
        return _log_prob(self, params, self._checked("configurations", configurations, 0))

    def level_log_prob(self, params: PyTree, configurations: Array, level: int) -> Array:
        """``[num_samples]`` ln q of the learned sites of one level given the coarser ones.

        Args:
            params: of the density.
            configurations: ``[num_samples, side / 2**level, side / 2**level]``: every 2**level-th site.
            level: 0 for the finest, ``len(level_sides) - 1`` for the top.
        """
        self._check(params)
        level = self._level(level)
        return _level_log_prob(self, params, self._checked("configurations", configurations, level), level=level)

    def refine(self, key: Array, params: PyTree, coarse: Array, level: int) -> tuple[Array, Array]:
        """Draw all that is finer than the sites of a level.

        Args:
            key: typed key.
            params: of the density.
            coarse: ``[num_samples, side / 2**level, side / 2**level]``.
            level: from 1 to ``len(level_sides) - 1``, the top.

        Returns:
            Configurations ``[num_samples, *shape]`` whose sublattice is ``coarse``, and ln q of all other sites.
        """
        check_key("key", key)
        self._check(params)
        level = self._level(level, minimum=1)
        return _refine(self, key, params, self._checked("coarse", coarse, level), level=level)

    def _level(self, level: int, minimum: int = 0) -> int:
        return as_level(level, len(self.level_sides) - 1, minimum)

    def _check(self, params: PyTree) -> None:
        check_params(params, _shapes(self.plan), len(self.level_sides))

    def _checked(self, name: str, configurations: Array, level: int) -> Array:
        fields = as_floating(name, configurations)
        check_configurations(name, fields, (self.level_sides[level],) * 2)
        return fields.astype(jnp.result_type(fields, self.potential.quartic))


def field_decimation(action: Phi4, *, num_features: int = 4, radius: float = 4.3) -> FieldDecimation:
    r"""Decimation of a field run backwards as a density, where what a known action tells of its sites is not learned.

    On the finest lattice the last half of all sites, and an eighth before it, have all that they interact with around
    them and are drawn exactly. Each of the others, from coarse to fine, feels

    .. math:: q(\phi \mid \text{known}) \propto e^{-(m^2 + 4k)\phi^2 - \lambda\phi^4 + \sum_n c_n f_n(\phi)}

    where a small network tells the c_n of what is known within a radius, with the symmetries of the square and of
    the field's sign. Lattices of sides that four divides are filled in passes of sites four apart, given the next
    coarser one; the rest, from the coarsest, in passes of few sites or one by one. A draw is a quantile of a cubic
    through the integral at 65 points: its density is the one that is stated within 0.3 % (root mean square; 0.04 % at
    the couplings of m^2 = -4), and a density too narrow for that is refused.

    Args:
        action: `jaxrg.models.Phi4` on a periodic square lattice whose side is a multiple of four from 8 that halving
            brings to 7 or below, as 12, 16 and 20. Its couplings are leaves, so that others do not recompile.
        num_features: of the hidden layers, in each of eight directions.
        radius: how far away a site knows others, in sites of its level.

    Returns:
        `FieldDecimation`, for `forward_kl` on samples, or level by level with its ``level_log_prob``; its draws have
        derivatives for `path_gradient`. `extended_decimation` takes its parameters to a larger lattice.

    Raises:
        ValueError: no such action, another lattice, a quartic or kinetic coupling that is not positive, wells too deep
            for the grid, or numbers out of range.

    Example:
        >>> density = field_decimation(Phi4(hypercubic((8, 8)), -4.0, 6.0), num_features=1)
        >>> density.level_sides
        (8, 4)

    Reference:
        Bauer, Kapust, Pawlowski & Temmen, arXiv:2412.12842 (2024), for samplers of this order.
    """
    if not isinstance(action, Phi4):
        raise ValueError(f"action: expected a jaxrg.models.Phi4, got {kind_of(action)}")
    features = as_count("num_features", num_features)
    check_number("radius", radius, above=1.4, below=64)
    shape = action.shape
    is_square = len(shape) == 2 and shape[0] == shape[1] and shape[0] % SPACING == 0 and shape[0] > SPACING
    if not is_square or level_sides(shape[0])[-1] > LARGEST_TOP:
        raise ValueError(
            f"action: expected two equal sides, a multiple of {SPACING} and at least {2 * SPACING}, that halving "
            f"brings to {LARGEST_TOP} or below, got {shape}"
        )
    if action.lattice != hypercubic(shape):
        raise ValueError(f"action: expected a periodic lattice with nearest neighbours, got {action.lattice}")
    if np.ndim(action.mass_squared):
        raise ValueError("action: expected the same mass_squared on all sites, got one for each")
    couplings = jnp.asarray(action.mass_squared), jnp.asarray(action.quartic), jnp.asarray(action.kinetic)
    potential, bound = _potential(*couplings)
    if not is_traced(couplings):
        _check_potential(potential, float(bound))
    return FieldDecimation(potential, FieldPlan(shape[0], features, 1, float(radius)))


@jax.jit
def _potential(mass_squared: Array, quartic: Array, kinetic: Array) -> tuple[Potential, Array]:
    """The couplings of a site, and its bound."""
    dtype = jnp.result_type(mass_squared, quartic, kinetic)
    mass_squared, quartic, kinetic = (coupling.astype(dtype) for coupling in (mass_squared, quartic, kinetic))
    potential = Potential(mass_squared + 4 * kinetic, quartic, kinetic)
    return potential, potential.bound


def _check_potential(potential: Potential, bound: float) -> None:
    """Raise ValueError unless densities vanish far out and are wide enough for the grid."""
    quadratic, quartic, kinetic = (float(coupling) for coupling in potential)
    if not (quartic > 0 and kinetic > 0):
        raise ValueError(f"action: expected positive quartic and kinetic couplings, got {quartic} and {kinetic}")
    squares = np.square([0.0, bound / 2, math.sqrt(max(0.0, -quadratic / (2 * quartic)))])
    narrowest = 1 / math.sqrt(max(2 * quadratic + 12 * quartic * squares.max(), 1e-30))
    if 2 * bound / (NUM_POINTS - 1) > COARSEST * narrowest:
        raise ValueError(
            f"action: expected densities of a site that are wide beside their range, at least "
            f"{2 * bound / (NUM_POINTS - 1) / COARSEST:.2g}, got a width of {narrowest:.2g} of {bound:.2g}"
        )


@functools.lru_cache(maxsize=64)
def _shapes(plan: FieldPlan) -> PyTree:
    return jax.eval_shape(lambda: _init(plan, jnp.float32(1), jax.random.key(0)))


@functools.partial(jax.jit, static_argnums=0)
def _init(plan: FieldPlan, like: Array, key: Array) -> PyTree:
    tables = [local_potentials.tables(level.passes) for level in plan.levels]
    shapes = [local_potentials.shapes(one, plan.num_features, plan.num_layers) for one in tables]
    drawn = normal_weights(key, [{name: shape[name] for name in ("first", "layers")} for shape in shapes], like.dtype)
    pairs = zip(shapes, drawn, strict=True)
    return {"levels": tuple(local_potentials.that_feel_nothing(shape, inside) for shape, inside in pairs)}


def _flat(fields: Array) -> Array:
    """``[sites + 1, lanes]`` of ``[lanes, side, side]``; the last one stands for an unknown site."""
    flat = jnp.moveaxis(fields.reshape(len(fields), -1), 0, -1)
    return jnp.concatenate([flat, jnp.zeros_like(flat[:1])])


def _log_densities(potential: Potential, coefficients: Array, values: Array) -> Array:
    """ln of a density without its normaliser, ``[lanes]`` of values, or ``[points, lanes]`` at ``[points, 1]``."""
    terms = local_potentials.terms(values, potential.bound)
    base = potential.log_density(values)
    if values.ndim == 1:
        return base + jnp.sum(coefficients * terms, axis=0)
    return base + terms[..., 0].T @ coefficients


def _scanned(level: Level, weights: PyTree) -> Any:
    passes = level.passes
    numbers = np.arange(len(passes.offsets), dtype=np.uint32)
    return numbers, weights, jax.tree.map(jnp.asarray, (passes, local_potentials.tables(passes)))


def _conditional(density: FieldDecimation, level: Level, row: Any, flat: Array) -> tuple[Array, Array, Array]:
    """Of one pass: its sites, the coefficients of their terms ``[terms, sites lanes]``, and ln of the density at the
    points of the grid."""
    _, weights, (passes, static) = row
    targets, known = level.sites(passes)
    bound = density.potential.bound
    around = flat[known].reshape(len(passes.steps), -1)
    coefficients = local_potentials.coefficients(weights, static, around, bound)
    return targets, coefficients, _log_densities(density.potential, coefficients, grid(bound)[:, None])


def _level_log_probs(density: FieldDecimation, level: Level, weights: PyTree, flat: Array) -> Array:
    """``[lanes]`` ln q of the learned sites of a level."""

    def one_pass(total: Array, row: Any) -> tuple[Array, None]:
        targets, coefficients, logs = _conditional(density, level, row, flat)
        found = _log_densities(density.potential, coefficients, flat[targets].reshape(-1))
        found = found - log_normaliser(logs, density.potential.bound)
        return total + jnp.sum(found.reshape(len(targets), -1), axis=0), None

    start = jnp.zeros(flat.shape[-1], flat.dtype)
    return jax.lax.scan(one_pass, start, _scanned(level, weights))[0]


def _draw_level(density: FieldDecimation, level: Level, weights: PyTree, key: Array, coarse: Array):
    """``[lanes, side, side]`` with the learned sites drawn on ``[lanes, side / 2, side / 2]``, and ln q of them."""
    num_lanes = coarse.shape[0]
    fields = jnp.zeros((num_lanes, level.side, level.side), coarse.dtype)
    flat = _flat(fields if level.is_top else fields.at[:, ::2, ::2].set(coarse))

    def one_pass(carry: tuple[Array, Array], row: Any) -> tuple[tuple[Array, Array], None]:
        flat, total = carry
        targets, coefficients, logs = _conditional(density, level, row, flat)
        bound = density.potential.bound
        uniforms = jax.random.uniform(jax.random.fold_in(key, row[0]), logs.shape[1:], logs.dtype)
        values = draw(uniforms, logs, bound)
        found = _log_densities(density.potential, coefficients, values) - log_normaliser(logs, bound)
        flat = flat.at[targets].set(values.reshape(len(targets), -1))
        return (flat, total + jnp.sum(found.reshape(len(targets), -1), axis=0)), None

    start = flat, jnp.zeros(num_lanes, flat.dtype)
    (flat, total), _ = jax.lax.scan(one_pass, start, _scanned(level, weights))
    return jnp.moveaxis(flat[:-1], -1, 0).reshape(fields.shape), total


def _drawn_down(density: FieldDecimation, key: Array, params: PyTree, fields: Array, start: int):
    """The finest fields on those of level ``start + 1``, and ln q of all other sites."""
    total = jnp.zeros(len(fields), fields.dtype)
    for number in reversed(range(start + 1)):
        level, weights = density.plan.levels[number], params["levels"][number]
        fields, found = _draw_level(density, level, weights, jax.random.fold_in(key, number), fields)
        total = total + found
    sites, flat = one_site.exact_sites(density.plan.side), _flat(fields)
    exact_key = jax.random.fold_in(key, len(density.plan.levels))
    flat, found = one_site.fill(density.potential, sites, exact_key, flat)
    return jnp.moveaxis(flat[:-1], -1, 0).reshape(fields.shape), total + found


@functools.partial(jax.jit, static_argnames="num_samples")
def _sample(density: FieldDecimation, key: Array, params: PyTree, *, num_samples: int) -> tuple[Array, Array]:
    nothing = jnp.zeros((num_samples, 0, 0), params["levels"][0]["constant"].dtype)
    return _drawn_down(density, key, params, nothing, len(density.plan.levels) - 1)


@functools.partial(jax.jit, static_argnames="level")
def _refine(density: FieldDecimation, key: Array, params: PyTree, coarse: Array, *, level: int):
    return _drawn_down(density, key, params, coarse, level - 1)


@functools.partial(jax.jit, static_argnames="level")
def _level_log_prob(density: FieldDecimation, params: PyTree, fields: Array, *, level: int) -> Array:
    return _level_log_probs(density, density.plan.levels[level], params["levels"][level], _flat(fields))


@jax.jit
def _log_prob(density: FieldDecimation, params: PyTree, fields: Array) -> Array:
    total = one_site.log_prob(density.potential, one_site.exact_sites(density.plan.side), _flat(fields))
    for number, level in enumerate(density.plan.levels):
        part = _flat(fields[:, :: 2**number, :: 2**number])
        total = total + _level_log_probs(density, level, params["levels"][number], part)
    return total


def extended(params: PyTree) -> PyTree:
    """Parameters for twice the side; see `extended_decimation`."""
    levels = params["levels"]
    is_proper = isinstance(levels, tuple) and all(isinstance(one, dict) and "constant" in one for one in levels)
    if not is_proper or len(levels) < 3 or len(levels[1]["constant"]) != 12:
        raise ValueError(
            "params: expected those of a decimation with two levels or more whose sides four divides, as of side 16, "
            f"got {kind_of(params)}"
        )
    return {"levels": (levels[0], levels[1], *levels[1:])}
