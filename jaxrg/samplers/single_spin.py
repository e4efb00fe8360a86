"""Single-site dynamics of any model: heat bath, Metropolis and over-relaxation, one sublattice at a time.

What the values at a site are and how they are drawn is the model's ``sites``, a `jaxrg.base.SiteSpace`: spins ±1, q
states, angles, unit vectors. `jaxrg.samplers.multispin_heat_bath` and `multispin_metropolis` do the same for many
chains of Ising and Potts models at once, far faster.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.base import MirroredSites, Model, PyTree, Sampler, SiteSpace, Status, computed_once
from jaxrg.checks import kind_of
from jaxrg.models import DensePairs
from jaxrg.models.sites import Circle
from jaxrg.models.vectors import LatticeVectors
from jaxrg.samplers.checkerboards import checkerboard_sweep, is_checkerboard_of_vectors
from jaxrg.samplers.spins import SpinInfo, site_indices, site_sampler, sites_of
from jaxrg.samplers.sublattices import sublattice

Draw: TypeAlias = Callable[[Any, Array, Array, Array, Array], tuple[Array, Array]]
"""``values, status = draw(space, number, sites, values, field)``: what values of a `SiteSpace` become at a visit."""


def metropolis_probability(space: SiteSpace, values: Array, proposed: Array, field: Array) -> Array:
    r"""``[*sites]`` probability :math:`\min(1, e^{f\cdot(u(s') - u(s))})` of accepting what is proposed."""
    return jnp.exp(jnp.minimum(space.log_ratio(values, proposed, field), 0))


def _sweep(draw: Draw, model: Model, state: PyTree, visits: Array) -> tuple[PyTree, SpinInfo]:
    """Give the sites of each visited sublattice what ``draw`` makes of them."""
    visit: Callable = _visit_site if isinstance(model, DensePairs) else _visit_sublattice

    def update(carry, numbered):
        values, status = carry
        values, found = visit(draw, model, values, *numbered)
        return (values, status | found), None

    before = _components_first(model, state[0])
    numbered = (_in_order(model), visits)
    (after, status), _ = jax.lax.scan(update, (before, jnp.uint32(0)), numbered)
    changed = jnp.any(after != before, axis=tuple(range(len(sites_of(model).value_shape))))
    return _moved(state, _components_last(model, after)), SpinInfo(jnp.mean(changed, dtype=jnp.float32), status)


def _sweep_of_all(draw: Draw, model: Model, state: PyTree) -> tuple[PyTree, SpinInfo]:
    """`_sweep` in order, by a draw that keeps nothing: what angles become as vectors and back is not what they were."""
    if not is_checkerboard_of_vectors(model):
        return _sweep(draw, model, state, _in_order(model))
    space = sites_of(model)
    before, after, status = checkerboard_sweep(draw, cast(LatticeVectors, model), state[0])
    configuration = space.lower(after) if isinstance(space, Circle) else _components_last(model, after)
    changed = jnp.any(after != before, axis=0)
    return _moved(state, configuration), SpinInfo(jnp.mean(changed, dtype=jnp.float32), status)


def _components_first(model: Model, configuration: Array) -> Array:
    """So that every operation runs along the sites."""
    axes = range(len(sites_of(model).value_shape))
    return jnp.moveaxis(configuration, [axis - len(axes) for axis in axes], list(axes))


def _components_last(model: Model, values: Array) -> Array:
    axes = range(len(sites_of(model).value_shape))
    return jnp.moveaxis(values, list(axes), [axis - len(axes) for axis in axes])


def _moved(state: PyTree, configuration: Array) -> PyTree:
    return state._replace(**{state._fields[0]: configuration})


def _visit_sublattice(draw: Draw, model: Model, values: Array, number: Array, colour: Array) -> tuple[Array, Array]:
    space = sites_of(model)
    num_components = len(space.value_shape)
    configuration = jnp.moveaxis(values, tuple(range(num_components)), tuple(range(-num_components, 0)))
    here = sublattice(model.colours, model.num_colours, colour)
    operands = here.pack(model.local_field(configuration)), here.pack(site_indices(model)), here.pack(values)

    def visited(field, sites, now):
        drawn, status = draw(space, number, sites, now, field)
        return drawn, status | _not_finite(field)

    drawn, status = computed_once(number, visited, *operands)
    return here.unpack(drawn, values), status


def _visit_site(draw: Draw, model: DensePairs, spins: Array, number: Array, site: Array) -> tuple[Array, Array]:
    """One row of couplings, where every site is a sublattice: a sweep is one product of the matrix in all."""
    row = model.couplings[site]
    field = jnp.dot(row, spins.astype(row.dtype)) + model.field_array()[site]
    drawn, status = draw(sites_of(model), number, site.astype(jnp.uint32), spins[site], field)
    return spins.at[site].set(drawn), status | _not_finite(field)


def _not_finite(field: Array) -> Array:
    return Status.NOT_FINITE.when(~jnp.all(jnp.isfinite(field)))


def _in_order(model: Model) -> Array:
    return jnp.arange(model.num_colours, dtype=jnp.int32)


def heat_bath_kernel(model: Model, key: Array, state: PyTree):
    def draw(space, number, sites, values, field):
        return space.draw(key, sites, field)

    return _sweep_of_all(draw, model, state)


def _metropolis_draw(space: SiteSpace, key: Array, sites: Array, values: Array, field: Array) -> tuple[Array, Array]:
    """What is proposed where it is accepted, and whether it is."""
    proposed = space.propose(key, sites, values)
    return proposed, random.bernoulli(key, sites, metropolis_probability(space, values, proposed, field))


def _metropolis(model: Model, key: Array, state: PyTree):
    def draw(space, number, sites, values, field):
        proposed, accepted = _metropolis_draw(space, key, sites, values, field)
        return _where(accepted, proposed, values), jnp.uint32(Status.OK)

    return _sweep(draw, model, state, _in_order(model))


def _random_scan_metropolis(model: Model, key: Array, state: PyTree):
    accept_key, propose_key, colour_key = jax.random.split(key, 3)

    def draw(space, number, sites, values, field):
        now_key = jax.random.fold_in(accept_key, number)
        proposed, accepted = _metropolis_draw(space, now_key, sites, values, field)
        chosen = random.bernoulli(jax.random.fold_in(propose_key, number), sites, 0.5)
        return _where(accepted & chosen, proposed, values), jnp.uint32(Status.OK)

    visits = jax.random.randint(colour_key, (model.num_colours,), 0, model.num_colours, dtype=jnp.int32)
    return _sweep(draw, model, state, visits)


def _over_relaxation(model: Model, key: Array, state: PyTree):
    def draw(space: MirroredSites, number, sites, values, field):
        return space.mirror(values, field), jnp.uint32(Status.OK)

    return _sweep_of_all(draw, model, state)


def _where(condition: Array, first: Array, second: Array) -> Array:
    """One choice a site, for all components of its value."""
    leading = (1,) * (first.ndim - condition.ndim)
    return jnp.where(jnp.broadcast_to(condition.reshape(*leading, *condition.shape), first.shape), first, second)


def heat_bath(model: Model) -> Sampler:
    r"""Heat bath (Glauber, Gibbs): every spin is drawn from its conditional distribution, sublattice by sublattice.

    .. math:: P(s_x \mid \text{rest}) \propto e^{f_x\cdot u(s_x)}, \qquad
        P(s_x = +1 \mid \text{rest}) = \frac{1}{1 + e^{-2 f_x}}, \quad f_x = -\partial H/\partial s_x

    of spins ±1; q states have log-weights f for the local field, angles and unit vectors a vector (`jaxrg.models.sites`
    says how each is drawn; all draws are exact). A step is a sweep over all sites. It leaves P invariant and is
    irreducible; as an ordered sweep it keeps balance but not detailed balance.

    Args:
        model: a model of `jaxrg.models` with a local field (Ising, glasses, any graph, Potts, clock, XY, Heisenberg),
            or another `jaxrg.base.Model`.

    Returns:
        A sampler with `SpinState`, or `FieldState` where spins are floats, and `SpinInfo`; a random start unless
        ``init`` is given spins.

    Raises:
        ValueError: no model, or couplings that do not fit it.

    Reference:
        Glauber, J. Math. Phys. 4, 294 (1963).
    """
    return site_sampler(heat_bath_kernel, model)


def metropolis(model: Model) -> Sampler:
    r"""Metropolis: every spin is proposed once a sweep, accepted with probability :math:`\min(1, e^{-\Delta H})`.

    What is proposed is the other sign, any other of q states, any angle or unit vector at all. As an ordered sweep over
    sublattices it can be reducible: moves with :math:`\Delta H \le 0` are always accepted, so that at zero coupling
    every spin changes in every sweep, and with two states small or special lattices have configurations it never
    reaches. Use `heat_bath`, or `random_scan_metropolis`, where that matters. Arguments and result are those of
    `heat_bath`.

    Reference:
        Metropolis et al., J. Chem. Phys. 21, 1087 (1953).
    """
    return site_sampler(_metropolis, model)


def random_scan_metropolis(model: Model) -> Sampler:
    """Metropolis on random halves of randomly chosen sublattices: reversible, and irreducible on every lattice.

    A step visits as many sublattices as the model has, each drawn at random, and proposes a random half of its sites;
    it moves about half as many spins as `metropolis`. Arguments and result are those of `heat_bath`.
    """
    return site_sampler(_random_scan_metropolis, model)


def over_relaxation(model: Model) -> Sampler:
    r"""Over-relaxation: every spin is reflected in the direction of its local field, which keeps the energy.

    .. math:: s_x \to 2\, \frac{s_x\!\cdot f_x}{f_x^2}\, f_x - s_x

    It moves far without random numbers, but only among configurations of one energy: take a `mixture` with `heat_bath`,
    of a few over-relaxations to each heat bath. A step is a sweep over all sites, sublattice by sublattice.

    Args:
        model: planar spins or unit vectors, `jaxrg.models.XY` or `Heisenberg`, or another `jaxrg.base.Model` whose
            ``sites`` have a mirror image.

    Returns:
        A sampler with `FieldState` and `SpinInfo`; a random start unless ``init`` is given spins.

    Raises:
        ValueError: no model, or spins without a mirror image.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> xy = models.XY(lattice.hypercubic((8, 8)), 1.1)
        >>> sampler = samplers.mixture([over_relaxation(xy), heat_bath(xy)], [0.75, 0.25])
        >>> samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 20).state.field.shape
        (8, 8)

    Reference:
        Creutz, Phys. Rev. D 36, 515 (1987); Brown & Woch, Phys. Rev. Lett. 58, 2394 (1987).
    """
    sampler = site_sampler(_over_relaxation, model)
    if not hasattr(sites_of(model), "mirror"):
        raise ValueError(
            f"model: expected planar spins or unit vectors, which have a mirror image, got {kind_of(model)}"
        )
    return sampler
