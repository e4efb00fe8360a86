"""Population annealing: configurations that go down a ladder of couplings, resampled at every one; ln Z and means."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.base import Observe, PyTree
from jaxrg.checks import as_count, check_function, check_key
from jaxrg.closures import as_partial
from jaxrg.samplers.derivatives import without_derivatives
from jaxrg.samplers.ensembles.ladders import Family, as_family
from jaxrg.samplers.ensembles.rungs import (
    Rung,
    energies_of,
    keys_of,
    measured,
    moved,
    not_finite,
    raised,
    rungs_of,
    start_of,
)
from jaxrg.samplers.kernels import poisoned
from jaxrg.samplers.resampling import mean_of_logs, systematic
from jaxrg.samplers.single_spin import heat_bath

MAX_POPULATION = 2**20  # beyond, single precision cannot tell the teeth of a comb along all shares


class PopulationAnnealing(NamedTuple):
    """What the populations found; every population weighs ``exp(log_partitions)`` in what is averaged over them."""

    log_partition: Array  # [num_couplings] ln Z(K_r) / Z(K_0), of the mean of all populations' estimates
    error: Array  # [num_couplings] its standard error, from their scatter
    log_partitions: Array  # [num_repeats, num_couplings] ln of the estimate of each population
    means: PyTree  # [num_couplings, ...] of ``observe``, or of dH/dK without it
    mean_errors: PyTree  # their standard errors, from the scatter of the populations
    survival: Array  # [num_couplings - 1] fraction of a population that has copies at the next coupling
    family_entropy: Array  # [num_couplings] -sum n ln n of the fractions n that descend from one ancestor, at worst
    mean_square_family_size: Array  # [num_couplings] rho_t = M sum n^2, at worst: M / rho_t members are independent
    configurations: PyTree  # [num_repeats, population_size, *shape] at the last coupling
    status: Array  # [] uint32 `Status`


class _Population(NamedTuple):
    """Chains on their way down the ladder, of one population."""

    chains: PyTree  # [population_size, ...]
    ancestors: Array  # [population_size] int32 whose descendants they are
    energies: Array  # [population_size] dH/dK
    log_partition: Array  # []
    status: Array  # []


class _Rest(NamedTuple):
    """What a population reports of a coupling."""

    log_partition: Array
    means: PyTree
    survival: Array
    family_entropy: Array
    mean_square_family_size: Array


def _descend(
    family: Family,
    observe: Callable | None,
    num_steps: Array,
    keys: tuple[Array, Array],
    population: _Population,
    numbered: tuple[Array, Rung],
) -> tuple[_Population, _Rest]:
    """Resample by the weights from the coupling before to this one, then move."""
    (resample_key, move_keys), (number, rung) = keys, numbered
    size = population.energies.size
    log_weights = -rung.step * population.energies
    copied = systematic(jax.random.fold_in(resample_key, number), log_weights)
    chains = jax.tree.map(lambda leaf: leaf[copied], population.chains)

    def move(_, carry: tuple[PyTree, Array]) -> tuple[PyTree, Array]:
        chains, status = carry
        chains, found = moved(rung, move_keys, chains)
        return chains, status | found

    chains, status = lax.fori_loop(0, num_steps, move, (chains, population.status))
    energies = energies_of(family, rung, chains)
    log_partition = population.log_partition + jax.nn.logsumexp(log_weights) - math.log(size)
    ancestors = population.ancestors[copied]
    fractions = jnp.zeros(size, energies.dtype).at[ancestors].add(1 / size)
    observed = energies if observe is None else measured(observe, rung, chains)

    def mean(values: Array) -> Array:
        if jnp.issubdtype(values.dtype, jnp.complexfloating):
            raise ValueError(f"observe: expected real numbers, got {values.dtype}; take real and imaginary parts apart")
        is_floating = jnp.issubdtype(values.dtype, jnp.floating)
        return jnp.mean(values if is_floating else values.astype(energies.dtype), axis=0)

    rest = _Rest(
        log_partition,
        jax.tree.map(mean, observed),
        1 - jnp.mean(jnp.diff(copied) == 0, dtype=energies.dtype),
        -jnp.sum(jax.scipy.special.xlogy(fractions, fractions)),
        size * jnp.sum(fractions**2),
    )
    status = status | not_finite(energies) | not_finite(log_partition)
    return _Population(chains, ancestors, energies, log_partition, status), rest


@functools.partial(jax.jit, static_argnames=("population_size", "num_repeats"))
def _population_annealing(
    key: Array, family: Family, observe: Callable | None, num_steps: Array, *, population_size: int, num_repeats: int
) -> PopulationAnnealing:
    family = without_derivatives(family)
    rungs, numbers = rungs_of(family), jnp.arange(family.couplings.size, dtype=jnp.uint32)

    def one_population(key: Array) -> tuple[PyTree, Array, _Rest]:
        start_key, resample_key, move_key = jax.random.split(key, 3)
        chains = start_of(family, keys_of(start_key, population_size))
        first = jax.tree.map(lambda leaf: leaf[0], rungs)
        start = _Population(
            chains,
            jnp.arange(population_size, dtype=jnp.int32),
            energies_of(family, first, chains),
            jnp.zeros((), family.couplings.dtype),
            jnp.uint32(0),
        )
        keys = resample_key, keys_of(move_key, population_size)
        end, rest = lax.scan(functools.partial(_descend, family, observe, num_steps, keys), start, (numbers, rungs))
        last = jax.tree.map(lambda leaf: leaf[-1], rungs)
        return measured(lambda configuration: configuration, last, end.chains), end.status, rest

    # In turn: the members of each are side by side.
    configurations, status, rest = lax.map(one_population, jax.random.split(key, num_repeats))
    log_partition, error = mean_of_logs(rest.log_partition)
    shares = jax.nn.softmax(rest.log_partition, axis=0)  # [num_repeats, num_couplings]

    def weights_of(values: Array) -> Array:
        return shares.astype(values.dtype).reshape(*shares.shape, *[1] * (values.ndim - 2))

    def mean(values: Array) -> Array:
        if jnp.issubdtype(values.dtype, jnp.complexfloating):
            raise ValueError(f"observe: expected real numbers, got {values.dtype}; take real and imaginary parts apart")
        return jnp.sum(weights_of(values) * values, axis=0)

    def error_of_mean(values: Array, mean: Array) -> Array:  # a ratio of means over the populations, linearised
        deviations = weights_of(values) * (values - mean[None])
        return jnp.sqrt(jnp.sum(deviations**2, axis=0) * (num_repeats / (num_repeats - 1)))

    means = jax.tree.map(mean, rest.means)
    return poisoned(
        jnp.bitwise_or.reduce(status),
        PopulationAnnealing(
            log_partition,
            error,
            rest.log_partition,
            means,
            jax.tree.map(error_of_mean, rest.means, means),
            jnp.mean(rest.survival, axis=0)[1:],
            jnp.min(rest.family_entropy, axis=0),
            jnp.max(rest.mean_square_family_size, axis=0),
            configurations,
            jnp.bitwise_or.reduce(status),
        ),
    )


def population_annealing(
    key: Array,
    family: Callable,
    couplings: Array,
    population_size: int,
    *,
    num_repeats: int = 8,
    num_steps: int = 10,
    sampler: Callable = heat_bath,
    observe: Observe | None = None,
) -> PopulationAnnealing:
    r"""Population annealing: ln Z along a ladder of couplings, with an error, and means at every coupling.

    .. math:: \frac{\hat Z(K_r)}{\hat Z(K_0)} = \prod_{q < r} \frac1M \sum_{i=1}^M e^{-(K_{q+1} - K_q) E(s_i)}, \qquad
        E = \frac{\partial H}{\partial K}

    A population of M configurations goes from one coupling to the next: each is copied as often as its weight wants,
    to within one, and all are then moved. The estimate of Z is unbiased if the population is in equilibrium at the
    first coupling, as it is at K = 0, where Z is known: :math:`2^N` for spins. All errors come from the scatter of
    ``num_repeats`` populations, and are honest where that of ln Z is well below one. In a glass look at the families as
    well: if ``mean_square_family_size`` is not far below M, few ancestors are left, and the population is too small.

    Args:
        key: typed key.
        family: ``model = family(coupling)``, as ``lambda K: models.Ising(square, K)``; its Hamiltonian linear in K.
        couplings: ``[num_couplings]`` from where the population starts, in rising or falling order. `equal_acceptance`
            of ``survival`` spaces them such that every step leaves the same fraction behind; it falls by a
            tenth where a step is about 0.25 over the standard deviation of E.
        population_size: M, of every population; its members move side by side.
        num_repeats: independent populations, at least two, in turn.
        num_steps: steps of the sampler at every coupling, the first one included.
        sampler: ``sampler(model)`` moves every member, such as `heat_bath`; of one chain.
        observe: function of one configuration whose means are taken at every coupling; dH/dK without it.

    Returns:
        `PopulationAnnealing`.

    Raises:
        ValueError: no typed key, what `parallel_tempering` refuses, counts out of range, more than 2^20
            members, no function ``observe``, or one with complex values.
        FloatingPointError: an energy that is NaN or infinite. Under a transformation floats become NaN.

    Example:
        >>> from jaxrg import exact, lattice, models
        >>> square = lattice.hypercubic((4, 4))
        >>> ladder = jnp.linspace(0.0, 0.4, 9)
        >>> found = population_annealing(jax.random.key(0), lambda K: models.Ising(square, K), ladder, 200)
        >>> wanted = exact.torus_log_partition(0.4, (4, 4))
        >>> bool(abs(16 * np.log(2) + found.log_partition[-1] - wanted) < 5 * found.error[-1])
        True

    Reference:
        Hukushima & Iba, AIP Conf. Proc. 690, 200 (2003); Machta, Phys. Rev. E 82, 026704 (2010); for families Wang,
        Machta & Katzgraber, Phys. Rev. E 92, 063307 (2015).
    """
    check_key("key", key)
    size = as_count("population_size", population_size, minimum=2)
    if size > MAX_POPULATION:
        raise ValueError(f"population_size: expected at most {MAX_POPULATION}, got {size}; take more populations")
    repeats = as_count("num_repeats", num_repeats, minimum=2)
    steps = np.int32(as_count("num_steps", num_steps))
    if observe is not None:
        check_function("observe", observe, of="one configuration")
        observe = as_partial(observe)
    found = as_family(family, couplings, sampler)
    result = _population_annealing(key, found, observe, steps, population_size=size, num_repeats=repeats)
    return raised("population_annealing", "finite energies", result)
