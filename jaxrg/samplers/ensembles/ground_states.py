"""Simulated annealing: restarts whose coupling grows, and the lowest energies they see."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.base import PyTree
from jaxrg.checks import as_count, check_key, is_traced
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
from jaxrg.samplers.single_spin import heat_bath

_ROUNDING = 1e-6  # relative, of energies that are one


class SimulatedAnnealing(NamedTuple):
    """The lowest energies that were ever seen."""

    energy: Array  # [] dH/dK, the lowest of all restarts
    configuration: PyTree  # [*shape] that has it
    success: Array  # [] fraction of the restarts that have seen it
    energies: Array  # [num_restarts] the lowest of each
    configurations: PyTree  # [num_restarts, *shape] that have them
    status: Array  # [] uint32 `Status`


class _Best(NamedTuple):
    """The lowest energy that each restart has seen, and where."""

    energies: Array  # [num_restarts]
    configurations: PyTree  # [num_restarts, *shape]


@functools.partial(jax.jit, static_argnames="num_restarts")
def _simulated_annealing(key: Array, family: Family, num_steps: Array, *, num_restarts: int) -> SimulatedAnnealing:
    family = without_derivatives(family)
    start_key, move_key = jax.random.split(key)
    keys, rungs = keys_of(move_key, num_restarts), rungs_of(family)

    def seen(rung: Rung, chains: PyTree) -> _Best:
        return _Best(energies_of(family, rung, chains), measured(lambda configuration: configuration, rung, chains))

    def cool(carry: tuple[PyTree, _Best, Array], rung: Rung) -> tuple[tuple[PyTree, _Best, Array], None]:
        def move(_, carry: tuple[PyTree, _Best, Array]) -> tuple[PyTree, _Best, Array]:
            chains, best, status = carry
            chains, found = moved(rung, keys, chains)
            now = seen(rung, chains)
            is_lower = now.energies < best.energies

            def lower(new: Array, old: Array) -> Array:
                return jnp.where(is_lower.reshape(-1, *[1] * (new.ndim - 1)), new, old)

            return chains, jax.tree.map(lower, now, best), status | found | not_finite(now.energies)

        return lax.fori_loop(0, num_steps, move, carry), None

    chains = start_of(family, keys_of(start_key, num_restarts))
    start = chains, seen(jax.tree.map(lambda leaf: leaf[0], rungs), chains), jnp.uint32(0)
    (_, best, status), _ = lax.scan(cool, start, rungs)
    lowest = jnp.argmin(best.energies)
    energy = best.energies[lowest]
    return poisoned(
        status,
        SimulatedAnnealing(
            energy,
            jax.tree.map(lambda leaf: leaf[lowest], best.configurations),
            jnp.mean(best.energies <= energy + _ROUNDING * jnp.abs(energy), dtype=energy.dtype),
            best.energies,
            best.configurations,
            status,
        ),
    )


def simulated_annealing(
    key: Array,
    family: Callable,
    couplings: Array,
    num_restarts: int,
    *,
    num_steps: int = 10,
    sampler: Callable = heat_bath,
) -> SimulatedAnnealing:
    r"""Simulated annealing: the lowest energies that many restarts see while their coupling grows.

    .. math:: E = \frac{\partial H}{\partial K}, \qquad K_0 < K_1 < \dots

    What is kept is the best configuration ever seen after a step, not the last one. A share of restarts that agree on
    the lowest energy says how safe it is to take it for the ground state: if a fraction p finds it, another run of R
    misses it with probability :math:`(1 - p)^R`. Where hardly any two agree, cool more slowly or take
    `population_annealing` or `parallel_tempering`.

    Args:
        key: typed key.
        family: ``model = family(coupling)`` with a Hamiltonian linear in K, as ``lambda K: models.Glass(square, bonds,
            K)``; a field that cools with it is ``K * field``.
        couplings: ``[num_couplings]``, rising: from where the sampler moves freely to where it is frozen.
        num_restarts: chains, which run side by side, each with random numbers of its own.
        num_steps: steps of the sampler at every coupling.
        sampler: ``sampler(model)``, such as `heat_bath`; of one chain.

    Returns:
        `SimulatedAnnealing`; energies in units of J, and two that differ by 1e-6 of themselves count as one.

    Raises:
        ValueError: no typed key, what `parallel_tempering` refuses, couplings below 0, or counts that are no
            positive integers.
        FloatingPointError: an energy that is NaN or infinite. Under a transformation floats become NaN.

    Example:
        >>> from jaxrg import lattice, models
        >>> square = lattice.hypercubic((4, 4))
        >>> bonds = models.plus_minus_glass(jax.random.key(1), square).bonds
        >>> found = simulated_annealing(
        ...     jax.random.key(0), lambda K: models.Glass(square, bonds, K), jnp.linspace(0.2, 3.0, 15), 20
        ... )
        >>> float(found.energy), bool(found.success > 0.5)
        (-24.0, True)

    Reference:
        Kirkpatrick, Gelatt & Vecchi, Science 220, 671 (1983).
    """
    check_key("key", key)
    restarts, steps = as_count("num_restarts", num_restarts), np.int32(as_count("num_steps", num_steps))
    found = as_family(family, couplings, sampler)
    if not is_traced(found.couplings) and (least := float(np.min(np.asarray(found.couplings)))) < 0:
        raise ValueError(f"couplings: expected numbers >= 0, whose ground states are lowest in energy, got {least}")
    return raised(
        "simulated_annealing", "finite energies", _simulated_annealing(key, found, steps, num_restarts=restarts)
    )
