"""Plain single-spin dynamics for any model: heat bath and Metropolis, one sublattice at a time, one int8 spin a site.

These are the references: they run every model with ``local_field`` and ``colours``.
`jaxrg.samplers.multispin_heat_bath` and `multispin_metropolis` do the same for many chains of the Ising model at once,
far faster.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.base import Model, Sampler, Status
from jaxrg.models import DensePairs
from jaxrg.samplers.spins import SpinInfo, SpinState, site_indices, spin_sampler


def heat_bath_logit(field: Array) -> Array:
    r"""Logit :math:`2 f_x` of the probability of spin +1 in the local field."""
    return 2 * field


def metropolis_probability(spins: Array, field: Array) -> Array:
    r"""Probability :math:`\min(1, e^{-2 s_x f_x})` of accepting a flip in the local field."""
    return jnp.exp(-jnp.maximum(2 * spins.astype(field.dtype) * field, 0))


Draw: TypeAlias = Callable[[Array, Array, Array, Array], Array]
"""``spins = draw(number, sites, spins, field)``: spins in their local field are proposed at visit ``number``."""


def _sweep(draw: Draw, model: Model, state: SpinState, visits: Array) -> tuple[SpinState, SpinInfo]:
    """Give the sites of each visited sublattice what ``draw`` proposes."""
    visit: Callable = _visit_site if isinstance(model, DensePairs) else _visit_sublattice

    def update(carry, numbered):
        spins, is_finite = carry
        spins, field = visit(draw, model, spins, *numbered)
        return (spins, is_finite & jnp.all(jnp.isfinite(field))), None

    numbered = (jnp.arange(model.num_colours, dtype=jnp.int32), visits)
    (spins, is_finite), _ = jax.lax.scan(update, (state.spins, jnp.bool_(True)), numbered)
    acceptance = jnp.mean(spins != state.spins, dtype=jnp.float32)
    return state._replace(spins=spins), SpinInfo(acceptance, Status.NOT_FINITE.when(~is_finite))


def _visit_sublattice(draw: Draw, model: Model, spins: Array, number: Array, colour: Array) -> tuple[Array, Array]:
    field = model.local_field(spins)
    drawn = draw(number, site_indices(model), spins, field)
    return jnp.where(jnp.asarray(model.colours) == colour, drawn, spins), field


def _visit_site(draw: Draw, model: DensePairs, spins: Array, number: Array, site: Array) -> tuple[Array, Array]:
    """One row of couplings, where every site is a sublattice: a sweep is one product of the matrix in all."""
    row = model.couplings[site]
    field = jnp.dot(row, spins.astype(row.dtype)) + model.field_array()[site]
    return spins.at[site].set(draw(number, site.astype(jnp.uint32), spins[site], field)), field


def _in_order(model: Model) -> Array:
    return jnp.arange(model.num_colours, dtype=jnp.int32)


def _heat_bath(model: Model, key: Array, state: SpinState):
    def draw(number, sites, spins, field):
        # Not from the probability: in float32 one close to 1 would freeze the rare flips of low temperatures.
        return jnp.where(random.bernoulli_logit(key, sites, heat_bath_logit(field)), jnp.int8(1), jnp.int8(-1))

    return _sweep(draw, model, state, _in_order(model))


def _metropolis(model: Model, key: Array, state: SpinState):
    def draw(number, sites, spins, field):
        accepted = random.bernoulli(key, sites, metropolis_probability(spins, field))
        return jnp.where(accepted, -spins, spins)

    return _sweep(draw, model, state, _in_order(model))


def _random_scan_metropolis(model: Model, key: Array, state: SpinState):
    accept_key, propose_key, colour_key = jax.random.split(key, 3)

    def draw(number, sites, spins, field):
        accepted = random.bernoulli(jax.random.fold_in(accept_key, number), sites, metropolis_probability(spins, field))
        proposed = random.bernoulli(jax.random.fold_in(propose_key, number), sites, 0.5)
        return jnp.where(accepted & proposed, -spins, spins)

    chosen = jax.random.randint(colour_key, (model.num_colours,), 0, model.num_colours, dtype=jnp.int32)
    return _sweep(draw, model, state, chosen)


def heat_bath(model: Model) -> Sampler:
    r"""Heat bath (Glauber, Gibbs): every spin is drawn from its conditional distribution, sublattice by sublattice.

    .. math:: P(s_x = +1 \mid \text{rest}) = \frac{1}{1 + e^{-2 f_x}}, \qquad f_x = -\partial H/\partial s_x

    A step is a sweep over all sites. It leaves P invariant and is irreducible; as an ordered sweep it keeps balance but
    not detailed balance.

    Args:
        model: any model of `jaxrg.models`, or another `jaxrg.base.Model`.

    Returns:
        A sampler with `SpinState` and `SpinInfo`; a random start unless ``init`` is given spins.

    Raises:
        ValueError: no model, or couplings that do not fit it.

    Reference:
        Glauber, J. Math. Phys. 4, 294 (1963).
    """
    return spin_sampler(_heat_bath, model)


def metropolis(model: Model) -> Sampler:
    r"""Metropolis: every spin is proposed once a sweep, accepted with probability :math:`\min(1, e^{-\Delta H})`.

    As an ordered sweep over sublattices it can be reducible: moves with :math:`\Delta H \le 0` are always accepted, so
    that at zero coupling every spin flips in every sweep, and small or special lattices have states it never reaches.
    Use `heat_bath`, or `random_scan_metropolis`, where that matters. Arguments and result are those of `heat_bath`.

    Reference:
        Metropolis et al., J. Chem. Phys. 21, 1087 (1953).
    """
    return spin_sampler(_metropolis, model)


def random_scan_metropolis(model: Model) -> Sampler:
    """Metropolis on random halves of randomly chosen sublattices: reversible, and irreducible on every lattice.

    A step visits as many sublattices as the model has, each drawn at random, and proposes a random half of its sites;
    it moves about half as many spins as `metropolis`. Arguments and result are those of `heat_bath`.
    """
    return spin_sampler(_random_scan_metropolis, model)
