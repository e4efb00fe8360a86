"""ln Z from tempered chains: all machines of a ladder are sampled, and neighbours or all of them compared."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import PyTree
from jaxrg.checks import as_count, check_key
from jaxrg.rbm.energy import RBM
from jaxrg.rbm.gibbs import sample_hidden
from jaxrg.rbm.likelihood.ways import check_independent
from jaxrg.rbm.tempering import TemperedState, tempered_gibbs_sampler
from jaxrg.rbm.tempering.chains import starting_state
from jaxrg.rbm.tempering.ladders import along, as_ladder, difference, independent_log_partition
from jaxrg.samplers import Run, replicas, run
from jaxrg.stats import GammaEstimate
from jaxrg.stats.free_energies import FreeEnergies, bennett_acceptance_ratio, multistate_bennett

NUM_LEADING = 10  # Gibbs steps at every machine on the way from the first one, before tempering starts


class TemperedLogPartition(NamedTuple):
    """What ladders found after their burn-in."""

    log_partition: GammaEstimate  # every field []: ln Z of the last machine
    free_energies: FreeEnergies  # -ln Z of every machine minus that of the one before
    visible: Array  # [chains, samples, num_visible] layers of the last machine
    work: Array  # [chains, samples, machines - 1] H of the next machine minus H of this one, of this one's layer
    reverse_work: (
        Array  # [chains, samples, machines - 1] H of this machine minus the next one's, of the next one's layer
    )
    swap_acceptance: Array  # [machines - 1]
    round_trips: Array  # [] int32: of all walkers of all chains
    tunnelling: Array  # [] changes of sign of the magnetisation a step
    is_converged: Array  # [] bool: whether the error can be trusted


class _Counts(NamedTuple):
    """Static numbers of a run."""

    num_chains: int
    num_steps: int
    num_burn_in: int


def _as_counts(num_chains: int, num_steps: int, num_burn_in: int) -> _Counts:
    return _Counts(
        as_count("num_chains", num_chains),
        as_count("num_steps", num_steps, minimum=4),
        as_count("num_burn_in", num_burn_in, minimum=0),
    )


@jax.jit
def _start(machines: RBM, key: Array, layers: Array) -> TemperedState:
    """Ladders ``[chains]`` from layers ``[machines, chains, num_visible]``."""
    num_machines, num_chains, _ = layers.shape
    keys = jax.random.split(key, (num_machines, num_chains))
    hidden = jax.vmap(jax.vmap(sample_hidden, (0, None, 0)))(keys, machines, layers)
    states = jax.vmap(starting_state)(jnp.swapaxes(layers, 0, 1), jnp.swapaxes(hidden, 0, 1))
    return states._replace(step=jnp.uint32(0))


def _layers_of_all(fn: Callable, state: TemperedState) -> PyTree:
    """What a sampler measures that shows the layers of all machines."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], fn(state.visible))


def _sampled(key: Array, machines: RBM, counts: _Counts, observe: Callable, *, is_of_all: bool) -> Run:
    lead_key, start_key, warm_key, key = jax.random.split(key, 4)
    sampler = tempered_gibbs_sampler(machines)
    if is_of_all:
        sampler = sampler._replace(measure=Partial(_layers_of_all))
    sampler = replicas(sampler, counts.num_chains)
    layers = along(lead_key, machines, num_chains=counts.num_chains, num_steps=NUM_LEADING)
    state = _start(machines, start_key, layers)
    if counts.num_burn_in:
        state = run(warm_key, sampler, state, counts.num_burn_in, observe=observe).state  # one program for both
    return run(key, sampler, state, counts.num_steps, observe=observe)


def _as_known(name: str, machines: RBM | Sequence[RBM]) -> RBM:
    ladder = as_ladder(name, machines)
    check_independent(name, ladder.weights[0])
    return ladder


def tempered_log_partition(
    key: Array,
    machines: RBM | Sequence[RBM],
    *,
    num_chains: int = 8,
    num_steps: int = 2000,
    num_burn_in: int = 200,
) -> TemperedLogPartition:
    r"""ln Z of the last machine of a ladder, by parallel tempering and Bennett's acceptance ratio of neighbours.

    .. math:: \ln Z_R = \ln Z_1 - \sum_{r=1}^{R-1} \Delta f_r

    Every ladder starts from layers that were led from the first machine to the last. Both directions of every pair
    are used, the parts that every time step has in the sum are added before its error is taken, and that error knows
    their autocorrelation and the scatter of the chains.

    Args:
        key: typed key.
        machines: ``[num_machines, ...]`` or a list, as for `jaxrg.rbm.tempering.tempered_gibbs_sampler`; the first has
            no weights. `jaxrg.rbm.tempering.choose_machines` chooses them.
        num_chains: independent ladders.
        num_steps: of every ladder, after burn-in.
        num_burn_in: steps that are left out.

    Returns:
        `TemperedLogPartition`.

    Raises:
        ValueError: no typed key, no machines of one shape, a first one with weights, or counts out of range.
        FloatingPointError: a NaN or an infinite number.

    Example:
        >>> from jaxrg import rbm
        >>> machine = rbm.init(jax.random.key(0), 20, 10, scale=0.4)
        >>> reference = rbm.tempering.independent_units(machine)
        >>> ladder = rbm.tempering.tempered(machine, reference, [0.0, 0.3, 0.6, 0.8, 1.0])
        >>> found = tempered_log_partition(jax.random.key(1), ladder, num_steps=500)
        >>> bool(abs(found.log_partition.value - rbm.log_partition(machine)) < 4 * found.log_partition.error)
        True

    Reference:
        Bennett, J. Comput. Phys. 22, 245 (1976).
    """
    check_key("key", key)
    ladder = _as_known("machines", machines)
    found = _sampled(key, ladder, _as_counts(num_chains, num_steps, num_burn_in), _itself, is_of_all=False)
    free = bennett_acceptance_ratio(found.info.work, found.info.reverse_work)
    return _result(ladder, found, found.trace, free)


def _itself(visible: Array) -> Array:
    return visible


def multistate_log_partition(
    key: Array,
    machines: RBM | Sequence[RBM],
    *,
    num_chains: int = 8,
    num_steps: int = 2000,
    num_burn_in: int = 200,
) -> TemperedLogPartition:
    r"""The same with every layer reweighted to all machines of the ladder (MBAR), not to its neighbours alone.

    It costs R products of a layer and weights where neighbours cost three, and gains where machines further apart
    overlap.

    Args:
        key: typed key.
        machines: as for `tempered_log_partition`, and so are the counts.
        num_chains: independent ladders.
        num_steps: of every ladder, after burn-in.
        num_burn_in: steps that are left out.

    Returns:
        `TemperedLogPartition`.

    Raises:
        ValueError: as `tempered_log_partition`.
        FloatingPointError: a NaN or an infinite number.

    Reference:
        Shirts & Chodera, J. Chem. Phys. 129, 124105 (2008).
    """
    check_key("key", key)
    ladder = _as_known("machines", machines)
    counts = _as_counts(num_chains, num_steps, num_burn_in)
    found = _sampled(key, ladder, counts, Partial(_all_differences, ladder), is_of_all=True)
    energies, visible = found.trace
    return _result(ladder, found, visible, multistate_bennett(energies))


def _all_differences(machines: RBM, layers: Array) -> tuple[Array, Array]:
    """``[machines, machines]`` H of every machine minus H at home, of the layer at each; and the last layer."""
    of_layer = jax.vmap(difference, (0, None, None))
    return jax.vmap(of_layer, (None, 0, 0))(machines, machines, layers), layers[-1]


def _result(machines: RBM, found: Run, visible: Array, free: FreeEnergies) -> TemperedLogPartition:
    return TemperedLogPartition(*_summary(machines, found.info, free, visible))


@jax.jit
def _summary(machines: RBM, info, free: FreeEnergies, visible: Array) -> TemperedLogPartition:
    known = independent_log_partition(jax.tree.map(lambda leaf: leaf[0], machines))
    return TemperedLogPartition(
        log_partition=free.total._replace(value=known - free.total.value, is_converged=free.is_converged),
        free_energies=free,
        visible=visible,
        work=info.work,
        reverse_work=info.reverse_work,
        swap_acceptance=jnp.mean(info.swap_acceptance, axis=(0, 1)),
        round_trips=jnp.sum(info.round_trips),
        tunnelling=jnp.mean(info.has_tunnelled, dtype=known.dtype),
        is_converged=free.is_converged,
    )
