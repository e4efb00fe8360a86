"""Maximum likelihood on Swendsen-Wang configurations made on the fly, every level by itself."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial, register_static

from jaxrg import samplers
from jaxrg.base import PyTree
from jaxrg.checks import as_count, as_parameter, check_key, kind_of
from jaxrg.flows.spins.decimation import InverseDecimation, at_coupling, check_params
from jaxrg.flows.spins.plan import Plan
from jaxrg.flows.spins.sampler import level_log_prob, sublattice, top_log_prob
from jaxrg.lattice import hypercubic
from jaxrg.models import Ising


class Chains(NamedTuple):
    """Swendsen-Wang chains that training draws its data from: the ``aux`` of `maximum_likelihood`."""

    couplings: Array  # [num_couplings, 2]
    states: samplers.SpinState  # leaves [num_couplings, num_chains, ...]


@register_static
@dataclasses.dataclass(frozen=True)
class _Counts:
    num_sites: int
    num_sweeps: int


def start_chains(
    key: Array,
    density: InverseDecimation,
    num_chains: int = 64,
    *,
    num_sweeps: int = 100,
    couplings: Array | None = None,
) -> Chains:
    """Chains at the coupling of a density, or at several, from order and a number of sweeps.

    Args:
        key: typed key.
        density: whose lattice they are on.
        num_chains: at each coupling.
        num_sweeps: to forget the start.
        couplings: ``[num_couplings]`` to train one set of weights for all of them; None for the one of the density.

    Raises:
        ValueError: no such density, counts below one, or couplings of another shape.
    """
    check_key("key", key)
    _check_density(density)
    chains = as_count("num_chains", num_chains)
    points = np.asarray(density.couplings)[None] if couplings is None else as_parameter("couplings", couplings)
    if couplings is not None and (np.ndim(points) != 1 or not len(points)):
        raise ValueError(f"couplings: expected [num_couplings], got {kind_of(couplings)}")
    sweeps = np.int32(as_count("num_sweeps", num_sweeps))
    return _start(key, density.plan, points, sweeps, num_chains=chains)


def _check_density(density: Any) -> None:
    if not isinstance(density, InverseDecimation):
        raise ValueError(f"density: expected an InverseDecimation, got {kind_of(density)}")


def _sweeps(plan: Plan, key: Array, chains: Chains, num_sweeps: Any) -> Chains:
    num_couplings, num_chains = chains.states.step.shape

    def one_chain(key: Array, pair: Array, state: samplers.SpinState) -> samplers.SpinState:
        sampler = samplers.swendsen_wang(Ising(hypercubic(plan.shape), pair))
        return jax.lax.fori_loop(0, num_sweeps, lambda _, state: sampler.step(key, state)[0], state)

    keys = jax.random.split(key, (num_couplings, num_chains))
    states = jax.vmap(jax.vmap(one_chain, (0, None, 0)))(keys, chains.couplings, chains.states)
    return chains._replace(states=states)


@functools.partial(jax.jit, static_argnums=1, static_argnames="num_chains")
def _start(key: Array, plan: Plan, points: Array, num_sweeps: Array, *, num_chains: int) -> Chains:
    pairs = points if points.ndim == 2 else jnp.broadcast_to(points[:, None], (len(points), 2))
    leading = (len(pairs), num_chains)
    states = samplers.SpinState(jnp.ones((*leading, *plan.shape), jnp.int8), jnp.zeros(leading, jnp.uint32))
    return _sweeps(plan, key, Chains(pairs, states), num_sweeps)


def maximum_likelihood(density: InverseDecimation, *, num_sites: int = 2048, num_sweeps: int = 1) -> Partial:
    r"""The gradient of the cross entropy of Swendsen-Wang samples, which is KL(p || q) up to a constant.

    .. math:: -\nabla_\theta \mathrm{E}_p[\ln q_\theta(s)] = -\sum_k \nabla_\theta
        \mathrm{E}_p[\ln q_{\theta_k}(s^{(k)} \mid s^{(k+1)})]

    The levels are independent of each other, so each learns from as many sites as it needs: a fine one from some of the
    configurations, a coarse one from several sublattices of each. Nothing is drawn from the density itself.

    Args:
        density: from `inverse_decimation`.
        num_sites: of every pass in a step; the top has as many states to learn from.
        num_sweeps: of every chain before a step.

    Returns:
        A `jaxrg.training.GradientFn` with ``data`` None, and `start_chains` for ``aux``. Its metrics are the ``loss``
        in nats a configuration, without the sites that are drawn exactly, and ``parts``: that of every level, the
        finest first, and that of the top.

    Raises:
        ValueError: no such density, or counts below one.

    Example:
        >>> import optax
        >>> from jaxrg import lattice, training
        >>> from jaxrg.flows.spins import inverse_decimation, local_operators
        >>> ising = Ising(lattice.hypercubic((4, 4)), 0.4)
        >>> density = inverse_decimation(ising, num_levels=1, spacing=2, conditional=local_operators(2), radius=2.3)
        >>> key, params = jax.random.key(0), density.init(jax.random.key(1))
        >>> chains = start_chains(jax.random.key(2), density, 16)
        >>> gradient_fn = maximum_likelihood(density, num_sites=64)
        >>> fit = training.fit(key, gradient_fn, optax.adam(0.01), params, aux=chains, num_epochs=2, steps_per_epoch=20)
        >>> bool(fit.metrics["loss"][1] < fit.metrics["loss"][0])
        True
    """
    _check_density(density)
    counts = _Counts(as_count("num_sites", num_sites), as_count("num_sweeps", num_sweeps))
    return Partial(_gradient, density, counts)


def _gradient(density: InverseDecimation, counts: _Counts, key: Array, params: PyTree, aux: Any, _: PyTree):
    if not isinstance(aux, Chains):
        raise ValueError(f"aux: expected Chains, as start_chains makes them, got {kind_of(aux)}")
    sweep_key, origin_key = jax.random.split(key)
    chains = _sweeps(density.plan, sweep_key, aux, counts.num_sweeps)
    keys = jax.random.split(origin_key, len(chains.couplings))

    def loss_fn(params: PyTree) -> tuple[Array, Array]:
        def one_coupling(key: Array, pair: Array, spins: Array) -> Array:
            weights = at_coupling(dataclasses.replace(density, couplings=pair), params)
            lanes = jnp.moveaxis(spins, 0, -1).astype(pair.dtype)
            return _losses(density.plan, key, weights, lanes, counts.num_sites)

        parts = jnp.mean(jax.vmap(one_coupling)(keys, chains.couplings, chains.states.spins), axis=0)
        return jnp.sum(parts), parts

    (loss, parts), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
    return gradients, chains, {"loss": loss, "parts": parts}


def _losses(plan: Plan, key: Array, params: PyTree, spins: Array, num_sites: int) -> Array:
    """``[num_levels + 1]`` mean -ln q of a configuration: every level given the coarser ones, and the top."""
    keys = jax.random.split(key, plan.num_levels + 1)
    losses = []
    for level in range(plan.num_levels):
        chosen = _from_origins(keys[level], spins, level, -(-num_sites // len(plan.starts(level)[0])))
        losses.append(-jnp.sum(jnp.mean(level_log_prob(plan, params, chosen, level), axis=-1)))
    chosen = _from_origins(keys[-1], spins, plan.num_levels, num_sites)
    return jnp.stack([*losses, -jnp.mean(top_log_prob(plan, params, chosen))])


def _from_origins(key: Array, spins: Array, level: int, num_lanes: int) -> Array:
    """Sublattices ``[rows, columns, num_lanes]`` of a level, configuration by configuration, from any origin."""
    step, available = 2**level, spins.shape[-1]
    parts = []
    for start in range(0, num_lanes, available):
        row, column = jax.random.randint(jax.random.fold_in(key, start), (2,), 0, step, dtype=jnp.int32)
        moved = jnp.roll(spins[..., : num_lanes - start], (-row, -column), (0, 1))
        parts.append(sublattice(moved, level))
    return jnp.concatenate(parts, axis=-1)


def extend(density: InverseDecimation, params: PyTree, smaller: PyTree) -> PyTree:
    """Parameters of a larger lattice from those of a smaller one, whose finest levels are the same physics.

    Levels are counted from the finest: those that both have are copied, and coarser ones begin as the coarsest of the
    smaller lattice where that has as many passes; the top stays as in ``params``.

    Args:
        density: of the larger lattice.
        params: of that density, as ``init`` makes them.
        smaller: of a density with as many levels or fewer, and the same spacing, radius, conditional and degree.

    Raises:
        ValueError: parameters that do not go together.
    """
    _check_density(density)
    check_params(density, params)
    is_proper = isinstance(smaller, dict) and set(smaller) == set(params) and smaller["levels"]
    if not is_proper or len(smaller["levels"]) > len(params["levels"]):
        raise ValueError(f"smaller: expected parameters of at most {density.num_levels} levels, got {kind_of(smaller)}")
    levels = list(smaller["levels"])
    if len(levels) > 1:
        levels += [levels[-1]] * (len(params["levels"]) - len(levels))
    extended = {**params, "levels": [*levels, *params["levels"][len(levels) :]]}
    check_params(density, extended)
    return extended
