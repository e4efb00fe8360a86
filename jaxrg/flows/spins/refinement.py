"""What a hierarchy of scales adds to weights: new details on the same coarse spins, means from cheap coarse draws."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial, register_static

from jaxrg.base import PyTree, Sampler, Status
from jaxrg.checks import as_count, as_floating, check_function, check_key, kind_of
from jaxrg.closures import as_partial
from jaxrg.flows.level_checks import as_level
from jaxrg.flows.spins.decimation import InverseDecimation, check_params
from jaxrg.lattice import hypercubic
from jaxrg.models import Ising
from jaxrg.samplers import SpinInfo, SpinState
from jaxrg.samplers.spins import spin_sampler


@register_static
class _Level(int):
    """A static level."""


def refinement_metropolis(density: InverseDecimation, params: PyTree, level: int) -> Sampler:
    r"""Metropolis that draws all spins finer than those of a level anew, on the same coarse spins.

    .. math:: A = \min\left(1, \frac{e^{-H(s')}\, q(s \mid s^{(k)})}{e^{-H(s)}\, q(s' \mid s^{(k)})}\right)

    The coarse spins stay, so it is not irreducible by itself: mix it with a sampler that moves them, as in
    ``samplers.mixture([refinement_metropolis(...), samplers.wolff(model)], [0.5, 0.5])``.

    Args:
        density: from `inverse_decimation`, with the coupling of the model that is sampled.
        params: of the density; leaves.
        level: whose spins stay, from 1 to ``num_levels``.

    Returns:
        A sampler with `jaxrg.samplers.SpinState`; its ``acceptance`` is the share of spins that changed.

    Raises:
        ValueError: no such density or level, or parameters of another one.
    """
    if not isinstance(density, InverseDecimation):
        raise ValueError(f"density: expected an InverseDecimation, got {kind_of(density)}")
    check_params(density, params)
    level = as_level(level, density.num_levels)
    model = Ising(hypercubic(density.shape), density.couplings)
    return spin_sampler(Partial(_refine, density, params, _Level(level)), model)


def _refine(density: InverseDecimation, params: PyTree, level: _Level, model: Ising, key: Array, state: SpinState):
    draw_key, accept_key = jax.random.split(key)
    step, now = 2**level, state.spins[None]
    new, log_new = density.refine(draw_key, params, now[:, ::step, ::step], int(level))
    log_now = density.refinement_log_prob(params, now, int(level))
    change = model.hamiltonian(new[0]) - model.hamiltonian(state.spins) + log_new[0] - log_now[0]
    accepted = jax.random.exponential(accept_key, (), change.dtype) > change
    spins = jnp.where(accepted, new[0], state.spins)
    info = SpinInfo(jnp.mean(spins != state.spins, dtype=jnp.float32), Status.NOT_FINITE.when(~jnp.isfinite(change)))
    return state._replace(spins=spins), info


class MultilevelMean(NamedTuple):
    """A mean under the target from draws of several levels."""

    mean: Array  # []
    error: Array  # [] of independent draws
    single_error: Array  # [] of the weighted draws of the finest level alone
    corrections: (
        Array  # [num_levels used] of each level to the next coarser one, the finest first; they sum to the mean
    )
    errors: Array  # of the corrections


def multilevel_mean(
    key: Array, density: InverseDecimation, params: PyTree, observe: Callable, num_samples: Sequence[int]
) -> MultilevelMean:
    r"""A mean under the target from few draws of all spins and many of the coarse ones, which cost little.

    .. math:: \langle O \rangle_p = \frac{\langle w O(s) \rangle}{\langle w \rangle} - \langle O(s^{(1)}) \rangle_0
        + \sum_{k=1}^{n-1} \left[\langle O(s^{(k)}) \rangle_k - \langle O(s^{(k+1)}) \rangle_k\right] +
        \langle O(s^{(n)}) \rangle_n, \qquad w = \frac{e^{-H}}{q}

    with averages over draws of q of their own at each level k. As the spins of a level are those of the finer ones, the
    terms cancel in the mean, whatever q is; the finer ones fluctuate less the better O is known from coarse spins, as a
    magnetisation is.

    Args:
        key: typed key.
        density: from `inverse_decimation`, with the coupling of the target.
        params: of the density.
        observe: ``value = observe(spins)``, one number of a square configuration of any side.
        num_samples: draws of every level, the finest first; at most ``num_levels + 1`` of them, each at least 2.

    Raises:
        ValueError: no such density or function, or wrong counts.

    Reference:
        Giles, Oper. Res. 56, 607 (2008).
    """
    check_key("key", key)
    if not isinstance(density, InverseDecimation):
        raise ValueError(f"density: expected an InverseDecimation, got {kind_of(density)}")
    check_params(density, params)
    check_function("observe", observe, of="one configuration")
    if isinstance(num_samples, str) or not isinstance(num_samples, Sequence) or not num_samples:
        raise ValueError(f"num_samples: expected a count for each level, got {num_samples!r}")
    counts = tuple(as_count("num_samples", count, minimum=2) for count in num_samples)
    if len(counts) > density.num_levels + 1:
        raise ValueError(f"num_samples: expected at most {density.num_levels + 1} levels, got {len(counts)}")
    return _multilevel_mean(key, density, params, as_partial(observe), counts=counts)


@functools.partial(jax.jit, static_argnames="counts")
def _multilevel_mean(
    key: Array, density: InverseDecimation, params: PyTree, observe: Callable, *, counts: tuple[int, ...]
) -> MultilevelMean:
    def values(spins: Array) -> Array:
        return as_floating("observe", jax.vmap(observe)(spins))

    means, variances, single = [], [], jnp.zeros(())
    for level, count in enumerate(counts):
        spins, log_prob = density.sample(jax.random.fold_in(key, level), params, count, level=level)
        seen, pairs = values(spins), float(count) * (count - 1)
        coarser = values(spins[:, ::2, ::2]) if level + 1 < len(counts) else jnp.zeros_like(seen)
        mean, spread = jnp.mean(seen), seen - jnp.mean(seen)
        if level == 0:
            model = Ising(hypercubic(density.shape), density.couplings)
            weights = jax.nn.softmax(-jax.vmap(model.hamiltonian)(spins) - log_prob) * np.float32(count)
            mean = jnp.mean(weights * seen)
            spread = weights * (seen - mean)
            single = jnp.sum(spread**2) / pairs
        means.append(mean - jnp.mean(coarser))
        variances.append(jnp.sum((spread - coarser + jnp.mean(coarser)) ** 2) / pairs)
    corrections, squares = jnp.stack(means), jnp.stack(variances)
    return MultilevelMean(
        jnp.sum(corrections), jnp.sqrt(jnp.sum(squares)), jnp.sqrt(single), corrections, jnp.sqrt(squares)
    )
