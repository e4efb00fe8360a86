"""Hamiltonian Monte Carlo of a field, or of any tree of numbers with a differentiable action."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg import random
from jaxrg.base import FieldModel, PyTree, Sampler, Status
from jaxrg.checks import as_count, as_parameter, check_function, check_key, check_number
from jaxrg.closures import as_partial
from jaxrg.samplers.derivatives import without_derivatives
from jaxrg.samplers.fields import FieldState, Target, as_target, field_sampler
from jaxrg.samplers.kernels import check_sampler
from jaxrg.samplers.kinetic import UNIT, Kinetic, as_kinetic


class HMCInfo(NamedTuple):
    """One trajectory."""

    acceptance: Array  # [] float32 probability min(1, exp(-energy_change))
    is_accepted: Array  # [] bool
    energy_change: Array  # [] H at the end less H at the start, NaN or inf where the trajectory diverged
    status: Array  # [] uint32 `Status`


class Trajectory(NamedTuple):
    """Where a trajectory ends, and the action at both ends."""

    field: PyTree
    momentum: PyTree
    start_action: Array
    end_action: Array
    is_start_finite: Array  # [] bool, of the action and the first kick


def leapfrog(
    action: Callable,
    step_size: Array,
    num_leapfrog: Array | int,
    field: PyTree,
    momentum: PyTree,
    velocity: Callable = UNIT.velocity,
) -> Trajectory:
    r"""Hamilton's equations of :math:`H = p \cdot M^{-1} p/2 + S(\phi)`: reversible, and of Jacobian one.

    Kicks and drifts in turn, of which the first kick and the last are halves. The first drift, of length zero, is there
    so that the gradient stands in one place and is compiled once, as is the action of both ends.
    """

    def add(tree: PyTree, scale: Array, other: PyTree) -> PyTree:
        return jax.tree.map(lambda a, b: a + scale.astype(a.dtype) * b, tree, other)

    def drift_and_kick(index, carry):
        field, momentum, is_finite = carry
        is_start = index == 0
        field = add(field, jnp.where(is_start, 0, step_size), velocity(momentum))
        gradient = jax.grad(action)(field)
        is_half = is_start | (index == num_leapfrog)
        momentum = add(momentum, -jnp.where(is_half, 0.5 * step_size, step_size), gradient)
        # Of the kicked momentum, which is there anyway: a gradient that is looked at would be another array.
        found = jax.lax.cond(is_start, all_finite, lambda _: jnp.bool_(True), momentum)
        return field, momentum, is_finite & found

    def all_finite(tree: PyTree) -> Array:
        return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))

    start = field, momentum, jnp.bool_(True)
    end_field, momentum, is_finite = jax.lax.fori_loop(0, num_leapfrog + 1, drift_and_kick, start)
    ends = jax.tree.map(lambda first, last: jnp.stack([first, last]), field, end_field)
    start_action, end_action = jax.lax.map(action, ends)
    return Trajectory(end_field, momentum, start_action, end_action, is_finite & jnp.isfinite(start_action))


def energy_change(before: PyTree, trajectory: Trajectory, velocity: Callable = UNIT.velocity) -> Array:
    """H at the end of a trajectory less H at its start, where the momentum was ``before``."""
    dtype = trajectory.end_action.dtype
    difference = jax.tree.map(jnp.subtract, trajectory.momentum, before)
    total = velocity(jax.tree.map(jnp.add, trajectory.momentum, before))

    def gained(difference: Array, total: Array) -> Array:
        return 0.5 * jnp.sum(difference * total).astype(dtype)

    kinetic = jax.tree.leaves(jax.tree.map(gained, difference, total))
    return trajectory.end_action - trajectory.start_action + sum(kinetic[1:], kinetic[0])


def metropolis_acceptance(change: Array) -> Array:
    r"""Probability :math:`\min(1, e^{-\Delta H})`; 0 where the change is NaN."""
    return jnp.where(jnp.isnan(change), 0, jnp.exp(-jnp.maximum(change, 0)))


def hmc_step(
    target: Target, kinetic: Kinetic, step_size: Array, num_leapfrog: Array | int, key: Array, state: FieldState
):
    """One trajectory with a key of its own."""
    momentum_key, accept_key = jax.random.split(key)
    momentum = kinetic.momentum(momentum_key, state.field)
    trajectory = leapfrog(target.action, step_size, num_leapfrog, state.field, momentum, kinetic.velocity)
    change = energy_change(momentum, trajectory, kinetic.velocity)
    acceptance = metropolis_acceptance(change)
    is_accepted = random.bernoulli(accept_key, jnp.uint32(0), acceptance)
    field = jax.tree.map(lambda new, old: jnp.where(is_accepted, new, old), target.wrap(trajectory.field), state.field)
    status = Status.NOT_FINITE.when(~trajectory.is_start_finite)
    return state._replace(field=field), HMCInfo(acceptance.astype(jnp.float32), is_accepted, change, status)


def hmc(
    model: FieldModel | Callable,
    step_size: Array | float,
    num_leapfrog: int,
    *,
    start: Any = None,
    mass: Array | None = None,
) -> Sampler:
    r"""Hamiltonian (hybrid) Monte Carlo: a trajectory from random momenta, accepted by the Metropolis rule.

    .. math:: H(\phi, p) = \tfrac12 \sum_k \frac{|p_k|^2}{M_k} + S(\phi), \qquad
        P_{\mathrm{accept}} = \min(1, e^{H(\phi, p) - H(\phi', p')})

    with M = 1 unless masses are given. Those that grow as the stiffness of the modes, :math:`M_k = \hat k^2 + m^2` for
    a field of inverse correlation length about m, let all modes move at one pace (Fourier acceleration): near
    criticality the slow ones then cost no more trajectories, at two Fourier transforms a step.

    Exact at every step size and mass. Trajectories of a length near half a period of a mode bring it back to where it
    was: where a field is nearly free, take a `mixture` of several step sizes. `tune_step_size` finds one. Modes that no
    trajectory joins, as the two signs of an ordered field, want a mixture with `wolff_embedding`.

    Args:
        model: a `jaxrg.base.FieldModel`, as `jaxrg.models.Phi4`; or a bare differentiable action, a function of an
            array or of a tree of arrays to a scalar. Where a model has a method ``wrap``, as one of angles does, states
            are kept as it returns them.
        step_size: of the leapfrog, scalar, positive; traced.
        num_leapfrog: steps a trajectory; traced, so that other numbers do not recompile.
        start: configuration that ``init`` starts from unless it is given another. A model starts from a small random
            field without it, one of angles from any; a bare action needs one, whose shapes are those of the field.
        mass: None, or ``[L_1, ..., L_d]`` masses of the wave vectors along the leading axes of an array, in the order
            of ``jnp.fft.fftn``, as ``lattice.laplacian_eigenvalues(square) + 0.1``; traced. Those of k and -k are
            alike; inside a transformation, where that cannot be seen, their mean is taken.

    Returns:
        A sampler with `FieldState` and `HMCInfo`. A trajectory that ends in NaN or infinity, as too large a step size
        gives it, is rejected, as its energy is beyond all bounds; ``energy_change`` tells. An action or a gradient that
        is not finite where a trajectory starts, or a step size, is a failure, in the status.

    Raises:
        ValueError: no model and no action, unit vectors as those of `jaxrg.models.Heisenberg`, an action that is no
            scalar, a step size that is not finite and positive, no start for a bare action, or masses that do not fit
            the field, are not finite and positive, or differ for k and -k.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> phi4 = models.Phi4(lattice.hypercubic((4, 4)), 1.0, 0.5)
        >>> sampler = hmc(phi4, 0.1, 5)
        >>> run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 20, observe=phi4.action)
        >>> run.trace.shape, bool(jnp.mean(run.info.acceptance) > 0.8)
        ((1, 20), True)
        >>> oscillator = hmc(lambda x: 0.5 * jnp.sum(x**2), 0.3, 4, start=jnp.zeros(3))

    Reference:
        Duane, Kennedy, Pendleton & Roweth, Phys. Lett. B 195, 216 (1987); for the masses Batrouni et al., Phys. Rev. D
        32, 2736 (1985).
    """
    target = as_target(model, start)
    size = as_step_size("step_size", step_size)
    count = np.int32(as_count("num_leapfrog", num_leapfrog))
    kinetic = UNIT if mass is None else as_kinetic(mass, jax.eval_shape(target.start, jax.random.key(0)))
    return field_sampler(target, Partial(hmc_step, target, kinetic, size, count))


def as_step_size(name: str, value: Any) -> Array:
    """A positive scalar, or ValueError."""
    check_number(name, value, above=0)
    return as_parameter(name, value)


class TunedStepSize(NamedTuple):
    """What a warm-up found."""

    step_size: Array  # [] NaN where a step of its second half failed
    acceptance: Array  # [] mean over its second half
    state: PyTree  # of the chain or chains, after the warm-up


def tune_step_size(
    key: Array,
    make: Callable[[Array], Sampler],
    state: PyTree,
    step_size: Array | float,
    num_steps: int,
    *,
    target_acceptance: Array | float = 0.8,
) -> TunedStepSize:
    r"""The step size at which a sampler accepts as often as wanted, by dual averaging along a warm-up.

    .. math:: \ln\epsilon_{t+1} = \mu - \frac{\sqrt t}{\gamma (t + t_0)} \sum_{s \le t} (a^* - a_s), \qquad
        \ln\bar\epsilon_{t+1} = t^{-\kappa} \ln\epsilon_{t+1} + (1 - t^{-\kappa}) \ln\bar\epsilon_t

    with a_t the mean acceptance of all chains at step t, :math:`\mu = \ln 10\epsilon_0, \gamma = 0.05, t_0 = 10,
    \kappa = 0.75`. Run on with a sampler of the step size found, from the state, with a key of its own.

    Args:
        key: typed key of the warm-up.
        make: ``sampler = make(step_size)``, with ``acceptance`` among its infos, as
            ``lambda step_size: replicas(hmc(model, step_size, 10), 16)``.
        state: of such a sampler.
        step_size: at the start, scalar, positive.
        num_steps: steps of the warm-up.
        target_acceptance: a*, between 0 and 1; 0.65 to 0.8 is cheapest for HMC.

    Returns:
        `TunedStepSize`.

    Raises:
        ValueError: no typed key, a ``make`` that makes no sampler with acceptances, or numbers out of range.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> phi4 = models.Phi4(lattice.hypercubic((4, 4)), 1.0, 0.5)
        >>> make = lambda step_size: samplers.hmc(phi4, step_size, 5)
        >>> state = make(0.1).init(jax.random.key(0))
        >>> tuned = tune_step_size(jax.random.key(1), make, state, 0.1, 200)
        >>> bool(0.6 < tuned.acceptance < 0.95)
        True

    Reference:
        Hoffman & Gelman, J. Mach. Learn. Res. 15, 1593 (2014).
    """
    check_key("key", key)
    check_function("make", make, of="a step size")
    check_number("target_acceptance", target_acceptance, above=0, below=1)
    start = as_step_size("step_size", step_size)
    target = as_parameter("target_acceptance", target_acceptance)
    num_steps = as_count("num_steps", num_steps)
    return _tune(key, as_partial(make), state, start, np.int32(num_steps), target.astype(start.dtype))


@jax.jit
def _tune(key: Array, make: Callable, state: PyTree, start: Array, num_steps: Array, target: Array) -> TunedStepSize:
    make, state = without_derivatives((make, state))
    sampler = make(start)
    check_sampler("make", sampler)

    def one_step(index, carry):
        state, log_size, log_mean, lack, late = carry
        state, info = make(jnp.exp(log_size)).step(key, state)
        if not hasattr(info, "acceptance"):
            raise ValueError(f"make: expected a sampler with acceptances in its infos, got {type(info).__name__}")
        acceptance = jnp.mean(info.acceptance).astype(start.dtype)
        count = (index + 1).astype(start.dtype)
        lack = lack + target - acceptance
        log_size = jnp.log(10 * start) - jnp.sqrt(count) / (0.05 * (count + 10)) * lack
        weight = count**-0.75
        log_mean = weight * log_size + (1 - weight) * log_mean
        is_late = 2 * (index + 1) > num_steps
        failed = jnp.any(info.status != 0)
        seen = jnp.stack([acceptance, jnp.ones_like(count), failed.astype(start.dtype)])
        return state, log_size, log_mean, lack, late + jnp.where(is_late, seen, 0)

    zero = jnp.zeros_like(start)
    carry = (state, jnp.log(start), jnp.log(start), zero, jnp.zeros(3, start.dtype))
    state, _, log_mean, _, (total, count, failures) = jax.lax.fori_loop(0, num_steps, one_step, carry)
    return TunedStepSize(jnp.where(failures == 0, jnp.exp(log_mean), jnp.nan), total / count, state)
