"""Annealed importance sampling from independent units to a machine, and back from samples of the machine."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import Status
from jaxrg.checks import as_array, as_count, as_floating, check_key, check_number, is_traced
from jaxrg.rbm.energy import RBM, as_units
from jaxrg.rbm.likelihood.ways import Way, Weights, anneal, as_stages, as_way, choose_stages, counted_stages, start
from jaxrg.rbm.tempering.ladders import independent_log_partition
from jaxrg.stats import GammaEstimate, gamma_method
from jaxrg.sums import add

MIN_PARTICLES = 16


class AnnealedImportance(NamedTuple):
    """What particles found on their way between independent units and a machine."""

    log_partition: GammaEstimate  # every field []: ln Z of the machine
    bound: GammaEstimate  # [] mean of the log-weights: below ln Z forwards, above it from samples of the machine
    effective_fraction: Array  # [] effective sample size of the weights, over the number of particles
    log_weights: Array  # [chains, samples] ln w of every path, also of a backward one
    visible: Array  # [chains, samples, num_visible] where the particles arrived
    inverse_temperatures: Array  # [max_stages] up to 1, which fills the stages that were not needed
    num_stages: Array  # [] int32
    status: Array  # [] uint32 `Status`


def annealed_importance(
    key: Array,
    machine: RBM,
    *,
    reference: RBM | None = None,
    num_particles: int = 1000,
    num_moves: int = 1,
    effective_fraction: Array | float = 0.98,
    inverse_temperatures: Array | Sequence[float] | None = None,
) -> AnnealedImportance:
    r"""ln Z by annealed importance sampling: its bound is a stochastic lower one.

    .. math:: w = Z_0 \prod_{k=1}^K e^{-H_k(v_{k-1}) + H_{k-1}(v_{k-1})}, \qquad
        \langle w \rangle = Z, \qquad \langle \ln w \rangle \le \ln Z

    with :math:`H_k` of parameters interpolated at :math:`\beta_k`, v_0 a draw of the reference, and v_k from v_(k-1)
    by block Gibbs at :math:`\beta_k`, which leaves that distribution invariant. Pilot particles, resampled at every
    stage, first choose the stages so that each leaves a given fraction of them effective; then fresh particles run
    through those, so that their weights are unbiased. Particles are independent, and the error is that of their mean
    weight; where few of them carry it, as where a phase was missed, it says nothing, and only the other direction
    shows it: see `bracket`.

    Args:
        key: typed key.
        machine: of any size.
        reference: a machine without weights; by default that of `jaxrg.rbm.tempering.independent_units`. With data at
            hand, biases that give their means are nearer.
        num_particles: fresh ones.
        num_moves: Gibbs steps a stage.
        effective_fraction: of the pilots, between 0 and 1, that every stage leaves effective; higher is finer.
        inverse_temperatures: ``[num_stages]`` stages of one's own, rising from above 0 to 1, or those of a result.

    Returns:
        `AnnealedImportance` with one chain of ``num_particles``. In float32 ln Z itself is rounded at 6e-8 of its
        size; weights are sums of differences and keep their digits.

    Raises:
        ValueError: no typed key, machines that do not fit together, a reference with weights, numbers out of range.
        FloatingPointError: NaN or infinite weights, or more than 4096 stages. Under a transformation floats are NaN.

    Example:
        >>> from jaxrg import rbm
        >>> machine = rbm.init(jax.random.key(0), 20, 10, scale=0.4)
        >>> found = annealed_importance(jax.random.key(1), machine, num_particles=500)
        >>> exact = rbm.log_partition(machine)
        >>> bool(abs(found.log_partition.value - exact) < 4 * found.log_partition.error)
        True
        >>> bool(found.bound.value < exact + 3 * found.bound.error)
        True

    Reference:
        Neal, Statistics and Computing 11, 125 (2001); for machines Salakhutdinov & Murray, ICML (2008).
    """
    check_key("key", key)
    way = as_way(machine, reference, num_moves)
    count = as_count("num_particles", num_particles, minimum=MIN_PARTICLES)
    check_number("effective_fraction", effective_fraction, above=0, below=1)
    fraction = as_floating("effective_fraction", effective_fraction)
    stages = None if inverse_temperatures is None else as_stages("inverse_temperatures", inverse_temperatures)
    return raised("annealed_importance", _forward(key, way, fraction, stages, num_particles=count))


def raised(name: str, result: AnnealedImportance) -> AnnealedImportance:
    """The result, or the error its status says."""
    if not is_traced(result.status) and int(result.status):
        message = Status(int(result.status)).message
        raise FloatingPointError(f"{name}: expected particles that reach the other end, got {message}")
    return result


@functools.partial(jax.jit, static_argnames="num_particles")
def _forward(key: Array, way: Way, fraction: Array, stages: Array | None, *, num_particles: int) -> AnnealedImportance:
    pilot_key, start_key, key = jax.random.split(key, 3)
    betas, num_stages = choose_stages(way, pilot_key, fraction) if stages is None else counted_stages(way, stages)
    whole = jnp.concatenate([jnp.zeros(1, betas.dtype), betas])
    weights, visible = anneal(way, key, whole, num_stages, start(way, start_key, num_particles))
    return _result(way, weights, visible[None], betas, num_stages, sign=1)


def reverse_annealed_importance(
    key: Array,
    machine: RBM,
    samples: Array,
    inverse_temperatures: Array | Sequence[float],
    *,
    reference: RBM | None = None,
    num_moves: int = 1,
) -> AnnealedImportance:
    r"""ln Z by annealing samples of the machine back to the reference: its bound is a stochastic upper one.

    .. math:: \frac1Z = \Big\langle \frac1w \Big\rangle, \qquad \langle \ln w \rangle \ge \ln Z

    with w as in `annealed_importance`, of paths that start from the machine. Of exact samples this holds exactly; of
    samples that miss a phase the bound is one on the rest of Z. Errors take the autocorrelation of the samples in.

    Args:
        key: typed key.
        machine: as for `annealed_importance`.
        samples: ``[chains, samples, num_visible]`` of the machine, as of a tempered chain, or ``[samples,
            num_visible]`` of independent ones; one particle starts from each.
        inverse_temperatures: ``[num_stages]`` rising from above 0 to 1, such as those of the forward result.
        reference: where to, a machine without weights.
        num_moves: Gibbs steps a stage.

    Returns:
        `AnnealedImportance`, laid out as the samples.

    Raises:
        ValueError: no typed key, machines or samples that do not fit together, or temperatures that do not rise to 1.
        FloatingPointError: NaN or infinite weights.

    Example:
        >>> from jaxrg import rbm, tables
        >>> machine = rbm.init(jax.random.key(0), 8, 10, scale=0.4)
        >>> chances = rbm.visible_distribution(machine)
        >>> samples = tables.all_spins(8)[jax.random.choice(jax.random.key(1), 256, (500,), p=chances)]
        >>> found = reverse_annealed_importance(jax.random.key(2), machine, samples, jnp.linspace(0.05, 1, 20))
        >>> bool(found.bound.value > rbm.log_partition(machine) - 3 * found.bound.error)
        True

    Reference:
        Burda, Grosse & Salakhutdinov, AISTATS (2015).
    """
    check_key("key", key)
    way = as_way(machine, reference, num_moves)
    array = as_samples("samples", samples, way.machine)
    stages = as_stages("inverse_temperatures", inverse_temperatures)
    return raised("reverse_annealed_importance", _backward(key, way, array, stages))


def as_samples(name: str, value: Any, machine: RBM) -> Array:
    """``[chains, samples, num_visible]`` or ``[samples, num_visible]`` of the visible layer, enough to start from."""
    array = as_array(name, value)
    shape = (None,) * (2 if array.ndim == 3 else 1) + (machine.num_visible,)
    array = as_units(name, array, shape, machine.visible_units)
    if math.prod(array.shape[:-1]) < MIN_PARTICLES or array.shape[-2] < 4:
        raise ValueError(
            f"{name}: expected [chains, samples, num_visible] with at least {MIN_PARTICLES} samples, 4 a chain, got "
            f"shape {array.shape}"
        )
    return array


@jax.jit
def _backward(key: Array, way: Way, samples: Array, stages: Array) -> AnnealedImportance:
    betas, num_stages = counted_stages(way, stages)
    samples = samples.reshape((-1, *samples.shape[-2:]))
    drawn = jax.eval_shape(way.machine.visible_units.sample, key, way.machine.visible_bias)
    flat = samples.reshape((-1, samples.shape[-1])).astype(drawn.dtype)
    places = num_stages - 1 - jnp.arange(betas.size + 1)  # 1, ..., down to 0 behind the smallest
    backwards = jnp.where(places >= 0, betas[jnp.maximum(places, 0)], 0)
    weights, visible = anneal(way, key, backwards, num_stages, flat)
    return _result(way, weights, visible.reshape(samples.shape), betas, num_stages, sign=-1)


def _upwards(means: tuple[Array, Array]) -> tuple[Array, Array]:
    return jnp.log(means[0]), means[1]


def _downwards(means: tuple[Array, Array]) -> tuple[Array, Array]:
    return -jnp.log(means[0]), -means[1]


def _result(way: Way, weights: Weights, visible: Array, betas: Array, num_stages: Array, *, sign: int):
    """Of ln weights from the reference on, ``sign`` 1, or back to it, -1: those of -ln Z."""
    rest = weights.rest.reshape(visible.shape[:2])
    known = independent_log_partition(way.reference)
    largest = jnp.max(rest)
    # One e^(largest) is taken off, and what all have in common is added at the end.
    mean, bound = gamma_method(_upwards if sign > 0 else _downwards, (jnp.exp(rest - largest), rest))
    common = sign * add(weights.common, sign * known).value
    once, twice = jax.nn.logsumexp(rest), jax.nn.logsumexp(2 * rest)
    is_finite = jnp.all(jnp.isfinite(rest)) & jnp.isfinite(common)
    is_finite &= jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(way.machine)]))
    is_done = jnp.where(num_stages > 0, betas[jnp.maximum(num_stages - 1, 0)], 0) == 1
    status = Status.NOT_FINITE.when(~is_finite) | Status.NOT_CONVERGED.when(is_finite & ~is_done)
    result = AnnealedImportance(
        log_partition=mean._replace(value=common + sign * largest + mean.value),
        bound=bound._replace(value=common + bound.value),
        effective_fraction=jnp.exp(2 * once - twice) / rest.size,
        log_weights=common + sign * rest,
        visible=visible,
        inverse_temperatures=betas,
        num_stages=num_stages,
        status=status,
    )
    return jax.tree.map(
        lambda leaf: jnp.where(status == 0, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, result
    )
