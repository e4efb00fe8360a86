"""A bracket around ln Z from both directions, intervals, and the likelihood of data with them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_floating, check_key, check_number, kind_of
from jaxrg.rbm.energy import RBM, as_machine, as_visible, unchecked_visible_hamiltonian
from jaxrg.rbm.likelihood.annealing import (
    AnnealedImportance,
    annealed_importance,
    as_samples,
    reverse_annealed_importance,
)
from jaxrg.rbm.likelihood.tempered import tempered_log_partition
from jaxrg.rbm.likelihood.ways import as_way
from jaxrg.rbm.tempering import choose_machines, tempered
from jaxrg.stats import GammaEstimate
from jaxrg.stats.free_energies import bennett_acceptance_ratio
from jaxrg.stats.student import student_quantile
from jaxrg.sums import blocked_sum

NUM_CANDIDATES = 64  # temperatures the ladder of the sampler is chosen from
NUM_CHAINS = 8
NUM_BURN_IN = 200


class Bracket(NamedTuple):
    """ln Z from paths in both directions."""

    log_partition: GammaEstimate  # every field []: Bennett's acceptance ratio of both
    lower: GammaEstimate  # [] stochastic lower bound: mean ln w of paths to the machine
    upper: GammaEstimate  # [] stochastic upper bound: mean ln w of paths from samples of the machine
    overlap: Array  # [] of both distributions of ln w: with less than 0.03 no error can be trusted
    forward: AnnealedImportance
    reverse: AnnealedImportance
    is_converged: Array  # [] bool: whether the error can be trusted


def bracket(
    key: Array,
    machine: RBM,
    *,
    samples: Array | None = None,
    reference: RBM | None = None,
    num_particles: int = 1000,
    num_moves: int = 1,
    effective_fraction: Array | float = 0.98,
    inverse_temperatures: Array | Sequence[float] | None = None,
) -> Bracket:
    r"""ln Z between two stochastic bounds, by annealed importance sampling in both directions.

    .. math:: \langle \ln w \rangle_\mathrm{forward} \le \ln Z \le \langle \ln w \rangle_\mathrm{reverse}, \qquad
        \frac{P_\mathrm{reverse}(\ln w)}{P_\mathrm{forward}(\ln w)} = \frac{w}{Z}

    Both directions run through the same stages. The second relation, Crooks', makes an estimate of both: Bennett's
    acceptance ratio of the log-weights. What the forward direction misses shows in a gap between the bounds.

    Args:
        key: typed key.
        machine: of any size.
        samples: ``[chains, samples, num_visible]`` of the machine, or ``[samples, num_visible]`` independent ones. By
            default ``num_particles`` of tempered chains, on a ladder that is chosen first.
        reference: a machine without weights, as for `annealed_importance`, which the rest goes to as well.
        num_particles: in either direction.
        num_moves: Gibbs steps a stage.
        effective_fraction: of the pilots that choose the stages.
        inverse_temperatures: stages of one's own.

    Returns:
        `Bracket`.

    Raises:
        ValueError: as `annealed_importance` and `reverse_annealed_importance`.
        FloatingPointError: a NaN or infinite number, or stages without end.

    Example:
        >>> from jaxrg import rbm
        >>> machine = rbm.init(jax.random.key(0), 20, 10, scale=0.4)
        >>> found = bracket(jax.random.key(1), machine, num_particles=500)
        >>> exact = rbm.log_partition(machine)
        >>> low, high = interval(found.log_partition, 0.999)
        >>> bool(low < exact < high), bool(found.lower.value < found.upper.value)
        (True, True)

    Reference:
        Grosse, Ghahramani & Adams, arXiv:1511.02543; Crooks, Phys. Rev. E 61, 2361 (2000).
    """
    check_key("key", key)
    way = as_way(machine, reference, num_moves)
    samples = None if samples is None else as_samples("samples", samples, way.machine)
    forward_key, ladder_key, chain_key, reverse_key = jax.random.split(key, 4)
    options = {"reference": reference, "num_moves": num_moves}
    forward = annealed_importance(
        forward_key,
        machine,
        num_particles=num_particles,
        effective_fraction=effective_fraction,
        inverse_temperatures=inverse_temperatures,
        **options,
    )
    if samples is None:
        samples = _tempered_samples(ladder_key, chain_key, way.machine, way.reference, num_particles)
    reverse = reverse_annealed_importance(reverse_key, machine, samples, forward.inverse_temperatures, **options)
    return _joined(forward, reverse)


@jax.jit
def _joined(forward: AnnealedImportance, reverse: AnnealedImportance) -> Bracket:
    # A number near both takes the digits of ln Z off the works.
    near = forward.bound.value
    free = bennett_acceptance_ratio(near - forward.log_weights, reverse.log_weights - near)
    found = free.total._replace(value=near - free.total.value, is_converged=free.is_converged)
    return Bracket(found, forward.bound, reverse.bound, free.overlap[0], forward, reverse, free.is_converged)


def _tempered_samples(ladder_key: Array, chain_key: Array, machine: RBM, reference: RBM, count: int) -> Array:
    """``[chains, samples, num_visible]`` of tempered chains, several steps apart."""
    many = tempered(machine, reference, jnp.linspace(0, 1, NUM_CANDIDATES))
    ladder = choose_machines(ladder_key, many)
    stride, num_samples = 4, max(-(-count // NUM_CHAINS), 4)
    found = tempered_log_partition(
        chain_key,
        ladder.machines,
        num_chains=NUM_CHAINS,
        num_steps=stride * num_samples,
        num_burn_in=NUM_BURN_IN,
    )
    return found.visible[:, stride - 1 :: stride]


def interval(estimate: GammaEstimate, level: Array | float = 0.95) -> tuple[Array, Array]:
    """The two ends of an interval of Student's t around an estimate.

    Args:
        estimate: of this room, or of `jaxrg.stats.gamma_method`.
        level: the probability that it covers the value.

    Returns:
        Both ends, of the shape of the value.

    Raises:
        ValueError: no estimate with an error and its degrees of freedom, or a level that is not between 0 and 1.

    Example:
        >>> from jaxrg import stats
        >>> mean = stats.gamma_method(lambda mean: mean, jax.random.normal(jax.random.key(0), (4, 1_000)))
        >>> low, high = interval(mean)
        >>> bool(low < 0 < high), round(float((high - low) / mean.error), 1)
        (True, 4.0)
    """
    if not isinstance(estimate, GammaEstimate):
        raise ValueError(f"estimate: expected a GammaEstimate, such as .log_partition, got {kind_of(estimate)}")
    check_number("level", level, above=0, below=1)
    return _interval(estimate, as_floating("level", level))


@jax.jit
def _interval(estimate: GammaEstimate, level: Array) -> tuple[Array, Array]:
    quantile = student_quantile(level.astype(estimate.error.dtype), estimate.num_degrees_of_freedom)
    return estimate.value - quantile * estimate.error, estimate.value + quantile * estimate.error


def log_likelihood(machine: RBM, data: Array, log_partition: GammaEstimate) -> GammaEstimate:
    r"""Mean log-likelihood of data under a machine of any size, with the error of its partition function.

    .. math:: \mathcal L = -\frac1M \sum_n H(v_n) - \ln Z

    Args:
        machine: an `jaxrg.rbm.RBM`.
        data: ``[num_samples, num_visible]``.
        log_partition: an estimate of ln Z, as `bracket` and `tempered_log_partition` have it.

    Returns:
        The estimate of ln Z with the value of the log-likelihood in nats per sample; its error is that of ln Z alone.
        For one bound from the other: the lower bound of ln Z gives an upper one.

    Raises:
        ValueError: no machine, data that do not fit, or no estimate.

    Example:
        >>> from jaxrg import rbm
        >>> machine = rbm.init(jax.random.key(0), 20, 10, scale=0.4)
        >>> found = annealed_importance(jax.random.key(1), machine, num_particles=500)
        >>> data = jax.random.rademacher(jax.random.key(2), (50, 20))
        >>> exact, estimate = rbm.log_likelihood(machine, data), log_likelihood(machine, data, found.log_partition)
        >>> bool(abs(estimate.value - exact) < 4 * estimate.error)
        True
    """
    machine = as_machine(machine)
    data = as_visible("data", data, machine, is_batch=True)
    if not isinstance(log_partition, GammaEstimate):
        raise ValueError(f"log_partition: expected a GammaEstimate, got {kind_of(log_partition)}")
    return _log_likelihood(machine, data, log_partition)


@jax.jit
def _log_likelihood(machine: RBM, data: Array, log_partition: Any) -> GammaEstimate:
    energies = jax.vmap(unchecked_visible_hamiltonian, (None, 0))(machine, data)
    return log_partition._replace(value=-blocked_sum(energies) / energies.size - log_partition.value)
