"""Plain single-spin dynamics for any model: heat bath and Metropolis, one sublattice at a time, one int8 spin a site.

These are the references: they run every model with ``local_field`` and ``colours``.
`jaxrg.samplers.multispin_heat_bath` and `multispin_metropolis` do the same for many chains of the Ising model at once,
far faster.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.base import Model, Sampler, Status
from jaxrg.samplers.spins import SpinInfo, SpinState, site_indices, spin_sampler


def heat_bath_logit(model: Model, spins: Array) -> Array:
    r"""``[*shape]`` logit :math:`2 f_x` of the probability of spin +1 given the rest."""
    return 2 * model.local_field(spins)


def metropolis_probability(spins: Array, field: Array) -> Array:
    r"""``[*shape]`` probability :math:`\min(1, e^{-2 s_x f_x})` of accepting a flip in the local field."""
    return jnp.exp(-jnp.maximum(2 * spins.astype(field.dtype) * field, 0))


def _sweep(draw: Callable[[Array, Array], tuple[Array, Array]], model: Model, state: SpinState, visits: Array):
    """Give the sites of each visited sublattice what ``draw(number, spins)`` proposes beside a value to check."""
    colours = jnp.asarray(model.colours)

    def update(carry, visit):
        (spins, is_finite), (number, colour) = carry, visit
        drawn, checked = draw(number, spins)
        return (jnp.where(colours == colour, drawn, spins), is_finite & jnp.all(jnp.isfinite(checked))), None

    numbered = (jnp.arange(model.num_colours, dtype=jnp.int32), visits)
    (spins, is_finite), _ = jax.lax.scan(update, (state.spins, jnp.bool_(True)), numbered)
    acceptance = jnp.mean(spins != state.spins, dtype=jnp.float32)
    return state._replace(spins=spins), SpinInfo(acceptance, Status.NOT_FINITE.when(~is_finite))


def _in_order(model: Model) -> Array:
    return jnp.arange(model.num_colours, dtype=jnp.int32)


def _heat_bath(model: Model, key: Array, state: SpinState):
    sites = site_indices(model)

    def draw(_, spins):
        # Not from the probability: in float32 one close to 1 would freeze the rare flips of low temperatures.
        logit = heat_bath_logit(model, spins)
        return jnp.where(random.bernoulli_logit(key, sites, logit), jnp.int8(1), jnp.int8(-1)), logit

    return _sweep(draw, model, state, _in_order(model))


def _metropolis(model: Model, key: Array, state: SpinState):
    sites = site_indices(model)

    def draw(_, spins):
        field = model.local_field(spins)
        accepted = random.bernoulli(key, sites, metropolis_probability(spins, field))
        return jnp.where(accepted, -spins, spins), field

    return _sweep(draw, model, state, _in_order(model))


def _random_scan_metropolis(model: Model, key: Array, state: SpinState):
    sites = site_indices(model)
    accept_key, propose_key, colour_key = jax.random.split(key, 3)

    def draw(number, spins):
        field = model.local_field(spins)
        accepted = random.bernoulli(jax.random.fold_in(accept_key, number), sites, metropolis_probability(spins, field))
        proposed = random.bernoulli(jax.random.fold_in(propose_key, number), sites, 0.5)
        return jnp.where(accepted & proposed, -spins, spins), field

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
