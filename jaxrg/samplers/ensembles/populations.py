"""Sequential Monte Carlo from a distribution that is known to one that is wanted: ln Z with an error, and samples."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial

from jaxrg.base import Density, FieldModel, PyTree, Status
from jaxrg.checks import as_count, as_floating, check_function, check_key, check_number, is_traced
from jaxrg.closures import as_functions
from jaxrg.samplers.derivatives import without_derivatives
from jaxrg.samplers.fields import FieldState, Target, as_target, dtype_of
from jaxrg.samplers.hamiltonian import as_step_size, hmc_step
from jaxrg.samplers.kinetic import UNIT
from jaxrg.samplers.resampling import mean_of_logs, systematic

MAX_STAGES = 512  # of an adaptive schedule
TARGET_ACCEPTANCE = 0.8  # of the moves
BISECTIONS = 24  # of the width of a stage: as many as a float32 has digits


class TemperedSMC(NamedTuple):
    """What the populations found."""

    log_partition: Array  # [] ln Z, of the mean of all populations' estimates of Z
    error: Array  # [] its standard error, from their scatter
    log_partitions: Array  # [num_repeats] ln of the estimate of each population
    configurations: PyTree  # [num_repeats, num_particles, *shape]; a population weighs exp(log_partitions) as a whole
    inverse_temperatures: Array  # [max_stages] up to 1, which fills the stages that were not needed
    acceptance: Array  # [max_stages] of the moves of a stage, mean of all populations; 0 where not needed
    num_stages: Array  # [] int32
    status: Array  # [] uint32 `Status`


class _Problem(NamedTuple):
    """From one density to another, and how particles move in between."""

    target: Target
    reference: Density
    params: PyTree
    num_moves: Any  # [] int32 trajectories a stage
    num_leapfrog: Any  # [] int32


class _Stages(NamedTuple):
    """What is fixed before a population starts: entries of inverse temperature 0 are left to it."""

    inverse_temperatures: Array  # [max_stages]
    step_sizes: Array  # [max_stages], or one to start with
    effective_fraction: Array  # []


class _Population(NamedTuple):
    """Particles on their way."""

    stage: Array  # [] int32
    inverse_temperature: Array  # []
    step_size: Array  # []
    particles: PyTree  # [num_particles, *shape]
    log_partition: Array  # []
    is_finite: Array  # [] bool
    stages: Any  # `_Stages`, as they were taken
    acceptance: Array  # [max_stages]


def _log_reference(problem: _Problem, field: PyTree) -> Array:
    """ln q of one configuration, in the precision of the action."""
    one = jax.tree.map(lambda leaf: leaf[None], field)
    return problem.reference.log_prob(problem.params, one)[0].astype(_precision(problem.target.action, field))


def _precision(action: Callable, field: PyTree) -> Any:
    return jax.eval_shape(action, field).dtype


def _tempered_action(problem: _Problem, inverse_temperature: Array, field: PyTree) -> Array:
    reference = _log_reference(problem, field)
    return inverse_temperature * problem.target.action(field) - (1 - inverse_temperature) * reference


def _gap(problem: _Problem, field: PyTree) -> Array:
    """ln of what the target has more than the reference."""
    return -problem.target.action(field) - _log_reference(problem, field)


def _effective_fraction(log_weights: Array) -> Array:
    """Effective sample size over the number of particles."""
    once, twice = jax.nn.logsumexp(log_weights), jax.nn.logsumexp(2 * log_weights)
    return jnp.exp(2 * once - twice) / log_weights.size


def _widest_step(gaps: Array, left: Array, fraction: Array) -> Array:
    """The step in inverse temperature, up to what is left, that keeps this fraction of the particles effective."""

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        is_fine = _effective_fraction(middle * gaps) > fraction
        return jnp.where(is_fine, middle, low), jnp.where(is_fine, high, middle)

    low, _ = lax.fori_loop(0, BISECTIONS, halve, (jnp.zeros_like(left), left))
    return jnp.where(_effective_fraction(left * gaps) > fraction, left, low)


def _stage(problem: _Problem, is_pilot: Array, key: Array, population: _Population) -> _Population:
    """Reweight, resample, and move by some trajectories; a pilot chooses the temperature and adapts the step size."""
    resample_key, move_key = jax.random.split(jax.random.fold_in(key, population.stage))
    index, stages = population.stage, population.stages
    gaps = jax.vmap(functools.partial(_gap, problem))(population.particles)
    planned, before = stages.inverse_temperatures[index], population.inverse_temperature

    def choose(_):
        width = _widest_step(gaps, 1 - before, stages.effective_fraction)
        return jnp.where(width == 1 - before, 1, before + width)

    chosen = lax.cond(planned == 0, choose, lambda _: planned, None)
    log_weights = (chosen - before) * gaps
    copied = systematic(resample_key, log_weights)
    particles = jax.tree.map(lambda leaf: leaf[copied], population.particles)
    target = problem.target._replace(action=Partial(_tempered_action, problem, chosen))

    def one(step_size, key, field):
        state, info = hmc_step(target, UNIT, step_size, problem.num_leapfrog, key, FieldState(field, jnp.uint32(0)))
        return state.field, info.acceptance

    def move(number, carry):
        particles, step_size, total = carry
        keys = jax.random.split(jax.random.fold_in(move_key, number), gaps.size)
        particles, acceptance = jax.vmap(functools.partial(one, step_size))(keys, particles)
        mean = jnp.mean(acceptance).astype(step_size.dtype)
        return particles, jnp.where(is_pilot, step_size * jnp.exp(mean - TARGET_ACCEPTANCE), step_size), total + mean

    step_size = jnp.where(is_pilot, population.step_size, stages.step_sizes[index])
    carry = particles, step_size, jnp.zeros_like(step_size)
    particles, step_size, total = lax.fori_loop(0, problem.num_moves, move, carry)
    gain = jax.nn.logsumexp(log_weights) - math.log(gaps.size)
    return _Population(
        index + 1,
        chosen,
        step_size,
        particles,
        population.log_partition + gain,
        population.is_finite & jnp.isfinite(gain) & ~jnp.any(jnp.isnan(gaps)),
        stages._replace(
            inverse_temperatures=stages.inverse_temperatures.at[index].set(chosen),
            step_sizes=stages.step_sizes.at[index].set(step_size),
        ),
        population.acceptance.at[index].set(total / problem.num_moves.astype(total.dtype)),
    )


def _travel(problem: _Problem, stages: _Stages, num_particles: int, is_pilot: Array, key: Array) -> _Population:
    """A population from the reference to the target."""
    start_key, key = jax.random.split(key)
    particles, _ = problem.reference.sample(start_key, problem.params, num_particles)
    zero, none = jnp.zeros_like(stages.step_sizes[0]), jnp.zeros_like(stages.step_sizes)
    start = _Population(jnp.int32(0), zero, stages.step_sizes[0], particles, zero, jnp.bool_(True), stages, none)

    def is_on_its_way(population: _Population) -> Array:
        is_left = population.stage < stages.inverse_temperatures.size
        return is_left & (population.inverse_temperature < 1) & population.is_finite

    return lax.while_loop(is_on_its_way, functools.partial(_stage, problem, is_pilot, key), start)


@functools.partial(jax.jit, static_argnames=("num_particles", "num_repeats"))
def _tempered_smc(key: Array, problem: _Problem, stages: _Stages, *, num_particles: int, num_repeats: int):
    problem, stages = without_derivatives((problem, stages))
    dtype = _precision(problem.target.action, jax.eval_shape(problem.target.start, key))
    stages = jax.tree.map(lambda leaf: leaf.astype(dtype), stages)
    stages = stages._replace(step_sizes=jnp.broadcast_to(stages.step_sizes, stages.inverse_temperatures.shape))

    def one_population(stages: _Stages, numbered: tuple[Array, Array]) -> tuple[_Stages, _Population]:
        number, key = numbered
        found = _travel(problem, stages, num_particles, number == 0, key)
        return found.stages, found._replace(stages=None)

    # In turn, so that pilot and populations are one program; the particles of each are side by side.
    numbered = jnp.arange(num_repeats + 1), jax.random.split(key, num_repeats + 1)
    planned, everyone = lax.scan(one_population, stages, numbered)
    found = jax.tree.map(lambda leaf: leaf[1:], everyone)
    is_finite = jnp.all(everyone.is_finite)
    is_done = everyone.inverse_temperature[0] == 1
    status = Status.NOT_FINITE.when(~is_finite) | Status.NOT_CONVERGED.when(is_finite & ~is_done)
    log_partition, error = mean_of_logs(found.log_partition)
    stage = jnp.arange(stages.inverse_temperatures.size)
    result = TemperedSMC(
        log_partition,
        error,
        found.log_partition,
        found.particles,
        jnp.where(stage < everyone.stage[0], planned.inverse_temperatures, 1),
        jnp.mean(found.acceptance, axis=0),
        everyone.stage[0],
        status,
    )
    return jax.tree.map(
        lambda leaf: jnp.where(status == 0, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, result
    )


def tempered_smc(
    key: Array,
    model: FieldModel | Callable,
    num_particles: int,
    *,
    num_repeats: int = 8,
    num_moves: int = 2,
    num_leapfrog: int = 5,
    step_size: Array | float = 0.2,
    effective_fraction: Array | float = 0.9,
    inverse_temperatures: Array | None = None,
    reference: Density | None = None,
    params: PyTree = None,
) -> TemperedSMC:
    r"""Annealed importance sampling with resampling: ln Z and samples, by stages from a normalised density q.

    .. math:: \pi_j \propto q^{1-\beta_j} e^{-\beta_j S}, \qquad
        \hat Z = \prod_j \frac1M \sum_{i=1}^M e^{-(\beta_j - \beta_{j-1}) (S(x_i) + \ln q(x_i))}

    At every stage the particles are reweighted, resampled systematically and moved by trajectories of HMC at the new
    temperature. A pilot population first finds stages that leave a given fraction of its particles effective, and step
    sizes of 0.8 acceptance. Then ``num_repeats`` fresh populations run through those: as nothing is adapted to them,
    each estimate of Z is unbiased, and the error of their mean comes from their scatter alone. It is honest where that
    is well below one; a scatter of more says that the populations are too small.

    Args:
        key: typed key.
        model: a `jaxrg.base.FieldModel`, or a bare differentiable action, then with a ``reference``.
        num_particles: M, of every population.
        num_repeats: independent populations, at least two.
        num_moves: trajectories a stage.
        num_leapfrog: steps a trajectory.
        step_size: of the leapfrog, where the pilot starts.
        effective_fraction: of the particles, between 0 and 1, left effective by every stage; higher is finer.
        inverse_temperatures: ``[num_stages]`` a schedule of one's own, rising from above 0 to 1.
        reference: q, a `jaxrg.base.Density`, as a flow is. By default independent normal numbers, or for a model with
            ``wrap`` uniform angles.
        params: of the reference.

    Returns:
        `TemperedSMC`. Particles of one population stem from fewer ancestors than there are: errors of means over the
        configurations want the axis of repeats.

    Raises:
        ValueError: no typed key, no model, numbers out of range, a schedule that does not rise to 1, or no reference
            for a bare action.
        FloatingPointError: an action that is NaN, or more than 512 stages. Under a transformation floats become NaN.

    Example:
        >>> from jaxrg import lattice, models
        >>> free = models.Phi4(lattice.hypercubic((4,)), 1.0, 0.0)
        >>> found = tempered_smc(jax.random.key(0), free, 64)
        >>> exact = 2 * np.log(np.pi) - 0.5 * np.log([1, 3, 3, 5]).sum()  # of the eigenvalues 1 + 4 sin²(k/2)
        >>> bool(abs(found.log_partition - exact) < 5 * found.error)
        True

    Reference:
        Del Moral, Doucet & Jasra, J. R. Stat. Soc. B 68, 411 (2006).
    """
    check_key("key", key)
    target, reference, params = _as_problem(model, reference, params)
    size = as_step_size("step_size", step_size)
    check_number("effective_fraction", effective_fraction, above=0, below=1)
    fraction = as_floating("effective_fraction", effective_fraction)
    counts = [as_count(name, value) for name, value in (("num_moves", num_moves), ("num_leapfrog", num_leapfrog))]
    result = _tempered_smc(
        key,
        _Problem(target, reference, params, *map(np.int32, counts)),
        _Stages(_as_schedule(inverse_temperatures), size, fraction),
        num_particles=as_count("num_particles", num_particles, minimum=2),
        num_repeats=as_count("num_repeats", num_repeats, minimum=2),
    )
    if not is_traced(result.status) and int(result.status):
        message = Status(int(result.status)).message
        raise FloatingPointError(f"tempered_smc: expected populations that reach the model, got {message}")
    return result


def _as_problem(model: Any, reference: Any, params: PyTree) -> tuple[Target, Density, PyTree]:
    is_model = hasattr(model, "action") and hasattr(model, "shape")
    if reference is None and is_model:
        target = as_target(model)
        start = np.zeros(model.shape, dtype_of(model))
        is_angle = hasattr(model, "wrap")
        return target, _UNIFORM if is_angle else _NORMAL, start
    if reference is None:
        check_function("model", model, of="one configuration, or a FieldModel")
        raise ValueError("reference: expected a Density where the model is a bare action, got None")
    reference = as_functions("reference", reference, Density)
    one = jax.eval_shape(lambda key, params: reference.sample(key, params, 1)[0], jax.random.key(0), params)
    start = jax.tree.map(lambda leaf: np.zeros(leaf.shape[1:], leaf.dtype), one)
    return as_target(model, start), reference, params


def _as_schedule(inverse_temperatures: Any) -> Any:
    if inverse_temperatures is None:
        return np.zeros(MAX_STAGES, np.float32)
    schedule = as_floating("inverse_temperatures", inverse_temperatures)
    if schedule.ndim != 1 or not schedule.size:
        raise ValueError(f"inverse_temperatures: expected a list of numbers, got shape {schedule.shape}")
    if not is_traced(schedule):
        steps = np.diff(np.asarray(schedule), prepend=0)
        if not (np.all(steps > 0) and float(schedule[-1]) == 1):
            raise ValueError(f"inverse_temperatures: expected numbers that rise from above 0 to 1, got {schedule}")
    return schedule


def _no_params(key: Array) -> None:
    return None


def _normal_sample(key: Array, centre: Array, num_samples: int) -> tuple[Array, Array]:
    field = centre[None] + jax.random.normal(key, (num_samples, *centre.shape), centre.dtype)
    return field, _normal_log_prob(centre, field)


def _normal_log_prob(centre: Array, fields: Array) -> Array:
    squares = (fields - centre[None]) ** 2
    return -0.5 * jnp.sum(squares + math.log(2 * math.pi), axis=tuple(range(1, fields.ndim)))


def _uniform_sample(key: Array, centre: Array, num_samples: int) -> tuple[Array, Array]:
    shape = (num_samples, *centre.shape)
    angles = jax.random.uniform(key, shape, centre.dtype, minval=-math.pi, maxval=math.pi)
    return angles, _uniform_log_prob(centre, angles)


def _uniform_log_prob(centre: Array, angles: Array) -> Array:
    return jnp.full(angles.shape[:1], -centre.size * math.log(2 * math.pi), centre.dtype)


_NORMAL = Density(Partial(_no_params), Partial(_normal_sample), Partial(_normal_log_prob))
_UNIFORM = Density(Partial(_no_params), Partial(_uniform_sample), Partial(_uniform_log_prob))
