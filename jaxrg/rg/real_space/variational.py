r"""Variational renormalisation: a kernel with parameters, chosen where a loss of it is least."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from jaxrg.base import Hamiltonian, LogKernel, PyTree
from jaxrg.checks import as_sides, check_function, is_traced
from jaxrg.closures import as_partial
from jaxrg.rg.fixed_points import as_couplings
from jaxrg.rg.matching import Matching, kernel_matching

NUM_STEPS = 200  # at most, halved ones included
MIN_SCALE = 2**-20  # of a step that does not go down


class Minimum(NamedTuple):
    """Where a function of parameters is least.

    Attributes:
        parameters: in the structure of the guess.
        value: scalar, of the function there.
        gradient_norm: largest component of its gradient.
        is_converged: whether the gradient is within half of the digits of zero and the curvature nowhere negative.
            Outside of a transformation it is, or an error was raised; inside, all numbers are NaN where it is not.
    """

    parameters: PyTree
    value: Array
    gradient_norm: Array
    is_converged: Array


def minimum(objective: Callable[[Any], Array], guess: Any) -> Minimum:
    r"""The parameters λ for which a function is least near a guess, differentiable by the implicit function theorem.

    Newton's method with the absolute values of the curvatures, so that it leaves saddles, no step longer than the
    parameters and one, halved while it does not go down. With respect to arrays θ that the objective holds,

    .. math:: \frac{d\lambda}{d\theta} = -\Bigl(\frac{\partial^2 f}{\partial\lambda^2}\Bigr)^{+}
        \frac{\partial^2 f}{\partial\lambda\, \partial\theta}

    so that a flow R(K, λ(K)) has a Jacobian; along directions that do not change f, λ is said not to move.

    Args:
        objective: a scalar function of parameters, differentiable twice.
        guess: an array of parameters, or a pytree of arrays.

    Raises:
        ValueError: a guess that is not finite, or an objective that is not a scalar.
        FloatingPointError: no minimum was found, as at a saddle or where the objective falls for ever.

    Example:
        >>> found = minimum(lambda x: (x[0] - 1) ** 2 + (x[1] - x[0]) ** 2, [0.0, 0.0])
        >>> [round(value, 4) for value in found.parameters.tolist()]
        [1.0, 1.0]
    """
    check_function("objective", objective, of="parameters")
    start = as_couplings("guess", guess)
    compiled = as_partial(objective)
    value = jax.eval_shape(compiled, start)
    if getattr(value, "shape", None) != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"objective: expected a real scalar, got {value}")
    found = _minimum(compiled, start)
    if is_traced(found):
        return jax.tree.map(functools.partial(_where, found.is_converged), found)
    _check(found)
    return found


def _check(found: Minimum) -> None:
    if not bool(found.is_converged):
        raise FloatingPointError(
            f"objective: expected a minimum near the guess, got a gradient of {float(found.gradient_norm):.3g} at "
            f"{jax.tree.map(np.asarray, found.parameters)}, where it is {float(found.value):.6g}"
        )


def _where(is_converged: Array, value: Array) -> Array:
    return jnp.where(is_converged, value, jnp.nan) if jnp.issubdtype(value.dtype, jnp.floating) else value


@jax.jit
def _minimum(objective: Partial, guess: PyTree) -> Minimum:
    start, unravel = ravel_pytree(guess)
    of_vectors = Partial(_of_vectors, objective, Partial(unravel))
    parameters, size, is_converged = _minimize(of_vectors, start)
    return Minimum(unravel(parameters), of_vectors(parameters), size, is_converged)


def _of_vectors(objective: Partial, unravel: Partial, parameters: Array) -> Array:
    return objective(unravel(parameters)).astype(parameters.dtype)


def _inverse_hessian(objective: Partial, parameters: Array) -> Array:
    hessian = jax.jacfwd(jax.grad(objective))(parameters)
    return jnp.linalg.pinv(hessian, rtol=jnp.sqrt(jnp.finfo(parameters.dtype).eps), hermitian=True)


class _Point(NamedTuple):
    parameters: Array
    value: Array
    size: Array  # largest component of the gradient
    step: Array  # that Newton's method takes next
    is_converged: Array


@jax.custom_jvp
def _minimize(objective: Partial, start: Array) -> tuple[Array, Array, Array]:
    """Parameters, the size of the gradient there, and whether that is a minimum."""
    eps = jnp.finfo(start.dtype).eps
    small = jnp.sqrt(eps)

    def slope(parameters: Array) -> tuple[Array, tuple[Array, Array]]:
        value, gradient = jax.value_and_grad(objective)(parameters)
        return gradient, (value, gradient)

    def at(parameters: Array) -> _Point:
        hessian, (value, gradient) = jax.jacfwd(slope, has_aux=True)(parameters)
        curvatures, directions = jnp.linalg.eigh(hessian)
        size, largest = jnp.max(jnp.abs(gradient)), jnp.max(jnp.abs(curvatures))
        floor = jnp.maximum(small * jnp.maximum(largest, size), jnp.finfo(start.dtype).tiny)
        slopes = directions.T @ gradient
        reach = 1 + jnp.linalg.norm(parameters)
        # Along directions that do not change f, rounding is no slope to follow.
        rounding = 16 * eps * jnp.maximum(1, jnp.abs(value) / reach)
        is_rounding = (jnp.abs(curvatures) <= floor) & (jnp.abs(slopes) <= rounding)
        step = -directions @ (jnp.where(is_rounding, 0, slopes) / jnp.maximum(jnp.abs(curvatures), floor))
        length = jnp.linalg.norm(step)
        is_flat = (size <= small * jnp.maximum(1, jnp.abs(value))) & (length <= small * reach)
        step = step * jnp.minimum(1, reach / jnp.maximum(length, reach))
        return _Point(parameters, value, size, step, is_flat & (curvatures[0] >= -small * largest))

    def goes_on(state) -> Array:
        _, scale, num_steps = state
        return (num_steps < NUM_STEPS) & (scale >= MIN_SCALE)

    def advance(state):
        best, scale, num_steps = state
        trial = at(best.parameters + scale * best.step)
        # Near the end values agree within rounding, and gradients still tell which is closer.
        is_level = jnp.abs(trial.value - best.value) <= 16 * eps * jnp.maximum(1, jnp.abs(best.value))
        is_better = (trial.value < best.value) | (is_level & (trial.size < best.size)) | (num_steps == 0)
        chosen = jax.tree.map(functools.partial(jnp.where, is_better), trial, best)
        scale = jnp.where(best.is_converged, 0, jnp.where(is_better, 1, scale / 2)).astype(scale.dtype)
        return chosen, scale, num_steps + 1

    zero = jnp.zeros_like(start)
    nothing = _Point(start, jnp.zeros((), start.dtype), jnp.zeros((), start.dtype), zero, jnp.bool_(False))
    best, *_ = jax.lax.while_loop(goes_on, advance, (nothing, jnp.ones((), start.dtype), jnp.int32(0)))
    return best.parameters, best.size, best.is_converged & jnp.isfinite(best.value)


@_minimize.defjvp
def _minimize_jvp(primals, tangents):
    objective, start = primals
    found = _minimize(objective, start)
    parameters, size, _ = found
    _, change = jax.jvp(lambda objective: jax.grad(objective)(parameters), (objective,), (tangents[0],))
    still: Any = np.zeros((), jax.dtypes.float0)  # of a flag
    return found, (-(_inverse_hessian(objective, parameters) @ change), jnp.zeros_like(size), still)


class Variational(NamedTuple):
    """A kernel that was chosen by its parameters.

    Attributes:
        parameters: λ, in the structure of the guess.
        loss: scalar, the least value.
        gradient_norm: largest component of its gradient.
        matching: ln ρ, ΔF, KL, the Jensen gap and the coarse Hamiltonian there.
    """

    parameters: PyTree
    loss: Array
    gradient_norm: Array
    matching: Matching


def variational_kernel(
    make_kernel: Callable[[Any], LogKernel],
    hamiltonian: Hamiltonian,
    shape: Sequence[int],
    coarse_shape: Sequence[int],
    guess: Any,
    *,
    loss: Callable[[Matching], Array],
) -> Variational:
    r"""The parameters λ of any kernel :math:`T_\lambda(h|s)` for which a loss of its renormalisation is least.

    The loss is a function of a `jaxrg.rg.Matching`, such as ``lambda match: match.free_energy_difference**2``, with
    which Kadanoff, Houghton and Yalabik and later Mehta and Schwab choose λ, ``lambda match: match.kl``, or a bound of
    one's own of ``match.coarse_hamiltonian``. ΔF = 0 is a normalisation and says nothing of the coarse spins; KL = 0
    where ρ is constant. Everything is enumerated and differentiable with respect to the couplings of the Hamiltonian.

    Args:
        make_kernel: λ to a kernel ln T(h\|s).
        hamiltonian: reduced H of one configuration ``[*shape]``.
        shape: sides of the fine configuration.
        coarse_shape: sides of the coarse configuration.
        guess: λ to start from, an array or a pytree of arrays.
        loss: a scalar of a `Matching`.

    Raises:
        ValueError: as `jaxrg.rg.kernel_matching`; or a loss that is not a scalar.
        FloatingPointError: no minimum was found, as where ρ diverges along the way.

    Example:
        >>> energy = lambda s: -0.5 * jnp.float32(s[0] * s[1])
        >>> pair = lambda w: lambda h, s: jnp.float32(h[0]) * jnp.sum(w * s.astype(jnp.float32))  # ln T
        >>> found = variational_kernel(pair, energy, (2,), (1,), [0.3, 0.2], loss=lambda match: match.kl)
        >>> bool(found.matching.kl < 1e-5)
        True

    Reference:
        Kadanoff, Houghton & Yalabik, J. Stat. Phys. 14, 171 (1976); Mehta & Schwab, arXiv:1410.3831.
    """
    check_function("make_kernel", make_kernel, of="parameters")
    check_function("hamiltonian", hamiltonian, of="one configuration")
    check_function("loss", loss, of="a Matching")
    start = as_couplings("guess", guess)
    shapes = as_sides("shape", shape), as_sides("coarse_shape", coarse_shape)
    found = _variational(as_partial(make_kernel), as_partial(hamiltonian), as_partial(loss), start, *shapes)
    least, match = found
    if is_traced(found):
        return jax.tree.map(functools.partial(_where, least.is_converged), _of(least, match))
    _check(least)
    return _of(least, match)


def _of(least: Minimum, match: Matching) -> Variational:
    return Variational(least.parameters, least.value, least.gradient_norm, match)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _variational(
    make_kernel: Partial,
    hamiltonian: Partial,
    loss: Partial,
    guess: PyTree,
    shape: tuple[int, ...],
    coarse_shape: tuple[int, ...],
) -> tuple[Minimum, Matching]:
    match = functools.partial(_match, shape, coarse_shape)
    least = _minimum(Partial(functools.partial(_loss_of, match), make_kernel, hamiltonian, loss), guess)
    return least, match(make_kernel, hamiltonian, least.parameters)


def _match(
    shape: tuple[int, ...], coarse_shape: tuple[int, ...], make_kernel: Partial, hamiltonian: Partial, parameters: Any
) -> Matching:
    return kernel_matching(hamiltonian, shape, make_kernel(parameters), coarse_shape)


def _loss_of(match: Callable, make_kernel: Partial, hamiltonian: Partial, loss: Partial, parameters: Any) -> Array:
    return jnp.asarray(loss(match(make_kernel, hamiltonian, parameters)))
