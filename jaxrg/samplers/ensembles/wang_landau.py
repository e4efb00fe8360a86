"""Wang-Landau: the number of states at every energy, by chains that build up the weights they walk in."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.base import Status
from jaxrg.checks import as_count, check_key, is_traced
from jaxrg.samplers.derivatives import without_derivatives
from jaxrg.samplers.ensembles.multicanonical import (
    Levels,
    as_levels,
    as_rows,
    as_spins,
    keys_of_chains,
    random_start,
    visit,
)
from jaxrg.samplers.ensembles.rungs import raised
from jaxrg.samplers.kernels import poisoned

# Visits that every level has had, times sqrt(f), before f is halved. Fewer leave errors behind that later visits are
# too small to mend (with three, ln g of 16 x 16 spins may be off by 2 or 3 after 1,000 sweeps); a flat histogram,
# which asks as much of levels that a chain rarely finds, may take ten times the sweeps and is no more exact.
VISITS = 10


class WangLandau(NamedTuple):
    """What the chains have built."""

    log_density: Array  # [num_levels] ln of the fraction of all states seen at a level; -inf where none was seen
    log_weights: Array  # [num_levels] for `multicanonical`: minus the former, interpolated where no state was seen
    refinement: Array  # [] what a visit added to ln g at the end: about the square of the error
    configurations: Array  # [num_chains, *shape] at the end
    status: Array  # [] uint32 `Status`


class _Build(NamedTuple):
    """Chains, and what they build."""

    rows: Array  # [num_sites, num_chains]
    energies: Array  # [num_chains]
    log_density: Array  # [num_levels], of a level that was not seen the lowest of those that were
    is_seen: Array  # [num_levels] bool, ever
    counts: Array  # [num_levels] int32 visits since the last refinement
    refinement: Array  # []
    is_late: Array  # [] bool, whether it falls as one over time


def _sweep(levels: Levels, key: Array, step: Array, build: _Build) -> _Build:
    keys, num_levels = keys_of_chains(levels, key, step), build.log_density.size

    def grown(counts: Array) -> Array:
        # By all visits of the sweep at once: single precision would lose small steps at the levels of many states only.
        return build.log_density + build.refinement * counts.astype(build.log_density.dtype)

    def update(site: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rows, energies, counts = carry
        rows, energies = visit(levels, -grown(counts), keys, rows, energies, site)
        place = levels.place(energies)
        is_inside = (place >= 0) & (place < num_levels)
        number = jnp.where(is_inside, place, num_levels).astype(jnp.int32)  # and what is outside is dropped
        return rows, energies, counts.at[number].add(1, mode="drop")

    start = build.rows, build.energies, jnp.zeros(num_levels, jnp.int32)
    rows, _, counts = lax.fori_loop(0, len(build.rows), update, start)
    # Afresh: the changes of real couplings would add up their roundings.
    rows, energies = as_rows(levels, as_spins(levels, rows))
    log_density = grown(counts)
    is_seen, counts = build.is_seen | (counts > 0), build.counts + counts
    lowest = jnp.min(jnp.where(is_seen, log_density, jnp.inf))
    lowest = jnp.where(jnp.any(is_seen), lowest, 0)
    # A level found late would hold the chains for as long as its ln g takes to grow from zero.
    log_density = jnp.where(is_seen, log_density - lowest, 0)
    num_moves = (step + 1).astype(log_density.dtype) * float(rows.size)
    one_over_time = jnp.sum(is_seen, dtype=log_density.dtype) / num_moves
    is_new = jnp.any(is_seen & ~build.is_seen)  # no round ends while the chains still find levels
    enough = VISITS / jnp.sqrt(build.refinement)
    is_told = jnp.all((counts.astype(log_density.dtype) >= enough) | ~is_seen) & jnp.any(is_seen) & ~is_new
    halved = jnp.where(is_told, build.refinement / 2, build.refinement)
    is_late = build.is_late | ((halved < 1) & (halved <= one_over_time))
    return _Build(
        rows,
        energies,
        log_density,
        is_seen,
        jnp.where(is_told | is_new, 0, counts),
        jnp.where(is_late, one_over_time, halved),
        is_late,
    )


@jax.jit
def _wang_landau(key: Array, levels: Levels, grid: Array, num_steps: Array) -> WangLandau:
    levels = without_derivatives(levels)
    start_key, run_key = jax.random.split(key)
    rows, energies = as_rows(levels, random_start(levels, start_key))
    none = jnp.zeros(grid.size, bool)
    zeros, one = jnp.zeros(grid.size, energies.dtype), jnp.ones((), energies.dtype)
    start = _Build(rows, energies, zeros, none, jnp.zeros(grid.size, jnp.int32), one, jnp.bool_(False))

    def sweep(step: Array, build: _Build) -> _Build:
        return _sweep(levels, run_key, step.astype(jnp.uint32), build)

    build = lax.fori_loop(0, num_steps, sweep, start)
    log_density = jnp.where(build.is_seen, build.log_density, -jnp.inf)
    log_density = log_density - jax.nn.logsumexp(log_density)
    # Between seen levels a line, beyond them the value at the end: where a level is not known, it may be entered.
    numbers = jnp.arange(grid.size, dtype=energies.dtype)
    order = jnp.argsort(~build.is_seen, stable=True)
    last = jnp.max(jnp.where(build.is_seen, numbers, 0))
    places = jnp.where(build.is_seen[order], numbers[order], last)
    values = jnp.where(build.is_seen[order], log_density[order], log_density[last.astype(jnp.int32)])
    is_finite = jnp.all(jnp.isfinite(build.energies)) & jnp.all(jnp.isfinite(values))
    status = Status.NOT_FINITE.when(~is_finite) | Status.NOT_CONVERGED.when(~build.is_late)
    weights = -jnp.interp(numbers, places, values)
    return poisoned(status, WangLandau(log_density, weights, build.refinement, as_spins(levels, build.rows), status))


def wang_landau(key: Array, model: Any, energies: Array, num_steps: int, *, num_chains: int = 64) -> WangLandau:
    r"""Wang-Landau with chains that share one density of states: weights for `multicanonical`.

    .. math:: \ln g(E) \to \ln g(E) + f \quad \text{at every visit in weights } W = 1/g, \qquad f \to f/2,
        \quad \text{then} \quad f = \frac{\text{levels seen}}{\text{moves made}}

    The refinement f is halved when every level seen has had :math:`10 / \sqrt f` visits since the last halving and
    since the last level was found, and is one over the time as soon as it would fall below that. The error then falls
    as :math:`\sqrt f`, and in float32 down to a few spacings of ln g, 1e-3 where it is a thousand. In a narrow window
    of levels single sites may not join all states, and g is that of those they join. The weights change while chains
    walk, so what they show are no averages; those are for `multicanonical` with these weights, and exact there.

    Args:
        key: typed key.
        model: as for `multicanonical`, with coupling 1.
        energies: ``[num_levels]`` as for `multicanonical`; levels of no state are found out.
        num_steps: sweeps of all chains.
        num_chains: side by side.

    Returns:
        `WangLandau`. A fraction of all states is one only where the energies are all there are; times :math:`q^N` it is
        then their number.

    Raises:
        ValueError: what `multicanonical` refuses, no typed key, or counts that are no positive integers.
        FloatingPointError: energies that are NaN or infinite, or too few steps for f to fall as one over the time.
            Under a transformation floats become NaN.

    Example:
        >>> from jaxrg import exact, lattice, models
        >>> square = lattice.hypercubic((4, 4))
        >>> found = wang_landau(jax.random.key(0), models.Ising(square, 1.0), jnp.arange(-32.0, 33.0, 4.0), 300)
        >>> counts = jnp.exp(found.log_density) * 2.0**16
        >>> bool(abs(counts[2] / exact.torus_state_counts((4, 4))[2] - 1) < 0.3), float(counts[1])
        (True, 0.0)

    Reference:
        Wang & Landau, Phys. Rev. Lett. 86, 2050 (2001); Zhou & Bhatt, Phys. Rev. E 72, 025701 (2005); Belardinelli &
        Pereyra, Phys. Rev. E 75, 046701 (2007).
    """
    check_key("key", key)
    levels, steps = as_levels(model, energies, num_chains), np.int32(as_count("num_steps", num_steps))
    grid = jnp.asarray(energies) if is_traced(energies) else np.asarray(energies, np.float32)
    return raised("wang_landau", "more steps, until ln g converges", _wang_landau(key, levels, grid, steps))
