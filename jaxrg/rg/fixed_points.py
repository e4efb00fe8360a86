"""Fixed points of maps of couplings, K* = R(K*), by Newton's method, and what the linearised map says of them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from jaxrg.base import PyTree
from jaxrg.checks import (
    PLAIN,
    as_count,
    as_floating,
    as_floating_alike,
    as_parameter,
    check_function,
    check_number,
    is_traced,
)
from jaxrg.closures import as_partial

MIN_SCALE = 2**-10  # of a step of Newton's that does not come closer


class Scaling(NamedTuple):
    r"""What a linearised flow :math:`\delta K' = M\, \delta K` does, direction by direction.

    Attributes:
        eigenvalues: ``[n]`` complex λ, by falling modulus; complex ones come in conjugate pairs, which no truncation is
            safe from.
        exponents: ``[n]`` complex :math:`y = \ln\lambda / \ln b`; negative eigenvalues have an imaginary part too.
        operators: ``[n, n]`` right eigenvectors, one a row: the scaling operator :math:`\sum_a e_{ia} O_a`. Of unit
            norm, the largest coefficient positive.
        fields: ``[n, n]`` left eigenvectors, one a row: the scaling field
            :math:`u_i = \sum_a f_{ia} (K - K^*)_a`, with ``fields @ operators.T = 1``.
    """

    eigenvalues: Array
    exponents: Array
    operators: Array
    fields: Array

    @property
    def kinds(self) -> tuple[str, ...]:
        """For each direction "relevant", "marginal" or "irrelevant"; marginal within half of the digits of one."""
        excess = np.abs(np.asarray(self.eigenvalues)) - 1
        width = np.sqrt(np.finfo(excess.dtype).eps)
        return tuple("marginal" if abs(x) <= width else "relevant" if x > 0 else "irrelevant" for x in excess)


def scaling(matrix: Array, rescaling: Array | float) -> Scaling:
    r"""Eigenvalues, exponents, scaling operators and scaling fields of a linearised flow.

    Eigenvalues and exponents are differentiable, :math:`d\lambda_i = f_i\, dM\, e_i`, where they are simple.

    Args:
        matrix: ``[n, n]`` :math:`\partial K'_a / \partial K_b`, as `fixed_point` gives it or Monte Carlo measures it.
        rescaling: b > 1, by which lengths shrink.

    Raises:
        ValueError: no square matrix of finite numbers, or a rescaling of at most one.

    Example:
        >>> found = scaling(jnp.array([[2.0, 1.0], [0.0, 0.5]]), 2)
        >>> found.exponents.real.tolist(), found.kinds
        ([1.0, -1.0], ('relevant', 'irrelevant'))
    """
    check_number("rescaling", rescaling, above=1)
    slopes, length = as_floating_alike(matrix=as_parameter("matrix", matrix), rescaling=rescaling)
    if slopes.ndim != 2 or slopes.shape[0] != slopes.shape[1] or not slopes.size:
        raise ValueError(f"matrix: expected a square matrix, got shape {tuple(slopes.shape)}")
    return _scaling(slopes, length)


@jax.jit
def _scaling(matrix: Array, rescaling: Array) -> Scaling:
    held = jax.lax.stop_gradient(matrix)
    values, vectors = jnp.linalg.eig(held)
    order = jnp.argsort(-jnp.abs(values))  # stable: the two of a pair stay together
    values, vectors = values[order], vectors[:, order]
    largest = jnp.take_along_axis(vectors, jnp.argmax(jnp.abs(vectors), axis=0)[None], axis=0)
    vectors = vectors * (jnp.conj(largest) / jnp.abs(largest).astype(values.dtype))
    fields = jnp.linalg.inv(vectors)
    # Zero, with the derivative of the eigenvalues; NaN where eigenvectors coincide, and they have none.
    rotated = fields @ (matrix - held).astype(values.dtype)
    change = jnp.sum(rotated * vectors.T, axis=1)
    values = values + jnp.where(jnp.isfinite(change), change, 0)
    exponents = jnp.log(values) / jnp.log(rescaling).astype(values.dtype)
    return Scaling(values, exponents, vectors.T, fields)


class FixedPoint(NamedTuple):
    """Couplings that a flow leaves as they are.

    Attributes:
        couplings: K*, in the structure of the guess.
        matrix: ``[n, n]`` dR/dK at K*, rows and columns in the order of the guess's flattened leaves, for `scaling`.
        residual: largest |R(K*) - K*|.
        num_steps: how often the flow was linearised.
        is_converged: whether a step of Newton's that would follow is within half of the digits of K*, and no eigenvalue
            of the matrix is as near to 1. Outside of a transformation it is, or an error was raised; inside, all
            numbers are NaN where it is not.
    """

    couplings: PyTree
    matrix: Array
    residual: Array
    num_steps: Array
    is_converged: Array


def fixed_point(flow: Callable[[Any], Any], guess: Any, *, num_steps: int = 50) -> FixedPoint:
    r"""The fixed point of a flow near a guess, by Newton's method on K - R(K).

    .. math:: K \to K + (1 - \partial R/\partial K)^{-1} (R(K) - K)

    with the Jacobian by forward-mode differentiation, and steps halved while they do not come closer or leave the
    domain of R. After a step within half of the digits there is one more. The result is differentiable with respect to
    the arrays that the flow holds, by the implicit function theorem,
    :math:`dK^* = (1 - \partial R/\partial K)^{-1} dR`.

    Args:
        flow: K' = R(K), from couplings to couplings of the same structure; solvers inside need derivatives of their
            own, as `jax.lax.custom_root` gives.
        guess: an array of couplings, or a dict, NamedTuple or other pytree of arrays.
        num_steps: linearisations at most.

    Raises:
        ValueError: a guess that is not finite, or a flow that does not return couplings like it.
        FloatingPointError: no fixed point was found: the flow is not finite at the guess, Newton's method gets no
            closer, or the fixed point is no isolated one, as dR/dK has an eigenvalue 1.

    Example:
        >>> found = fixed_point(lambda k: jnp.log(jnp.cosh(4 * k)) / 2, 0.3)  # Migdal and Kadanoff, b = d = 2
        >>> round(float(found.couplings), 4), round(float(scaling(found.matrix, 2).exponents[0].real), 4)
        (0.3047, 0.7472)
    """
    check_function("flow", flow, of="couplings")
    start = as_couplings("guess", guess)
    count = as_count("num_steps", num_steps)
    compiled = as_partial(flow)
    _check_flow(compiled, start)
    found = _fixed_point(compiled, start, np.int32(count))
    if is_traced(found):
        return jax.tree.map(functools.partial(_where_converged, found.is_converged), found)
    if not bool(found.is_converged):
        raise FloatingPointError(_why_not(found))
    return found


def as_couplings(name: str, value: Any) -> PyTree:
    """An array, or a pytree of arrays of one dtype, finite where that can be seen.

    Raises:
        ValueError: no couplings, or leaves that are no finite real numbers.
    """
    if value is None or (isinstance(value, (str, *PLAIN)) and not hasattr(value, "_fields")):
        value = as_parameter(name, value)
    leaves, treedef = jax.tree.flatten(value)
    arrays = [as_floating(name, as_parameter(name, leaf)) for leaf in leaves]
    if not sum(array.size for array in arrays):
        raise ValueError(f"{name}: expected at least one coupling, got none")
    dtype = functools.reduce(jnp.promote_types, [array.dtype for array in arrays])
    return jax.tree.unflatten(treedef, [jax.lax.convert_element_type(array, dtype) for array in arrays])


def _check_flow(flow: Partial, couplings: PyTree) -> None:
    """Raise ValueError unless the flow returns couplings like those it takes."""

    def shapes(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: tuple(leaf.shape), tree)

    image = jax.eval_shape(flow, couplings)
    if jax.tree.structure(image) != jax.tree.structure(couplings) or shapes(image) != shapes(couplings):
        raise ValueError(f"flow: expected couplings like the guess, {shapes(couplings)}, got {image}")


def _where_converged(is_converged: Array, value: Array) -> Array:
    return jnp.where(is_converged, value, jnp.nan) if jnp.issubdtype(value.dtype, jnp.floating) else value


def _why_not(found: FixedPoint) -> str:
    """Why there is no fixed point, in words."""
    where, residual = jax.tree.map(np.asarray, found.couplings), float(found.residual)
    if found.num_steps == 0 or not np.isfinite(residual):
        return f"guess: expected couplings where the flow is finite, got NaN or infinity from {where}"
    excess = np.linalg.svd(np.eye(len(found.matrix)) - np.asarray(found.matrix), compute_uv=False)
    if excess[-1] <= np.sqrt(np.finfo(excess.dtype).eps) * excess[0]:
        return (
            f"flow: expected an isolated fixed point, got dR/dK with an eigenvalue 1 at {where}, "
            f"where |R(K) - K| = {residual:.3g}"
        )
    return (
        f"flow: expected a fixed point near the guess, got |R(K) - K| = {residual:.3g} at {where}, the closest of "
        f"{int(found.num_steps)} steps"
    )


@jax.jit
def _fixed_point(flow: Partial, guess: PyTree, num_steps: Array) -> FixedPoint:
    start, unravel = ravel_pytree(guess)
    found = _newton(Partial(_on_vectors, flow, Partial(unravel)), start, num_steps)
    return found._replace(couplings=unravel(found.couplings))


def _on_vectors(flow: Partial, unravel: Partial, couplings: Array) -> Array:
    return ravel_pytree(flow(unravel(couplings)))[0].astype(couplings.dtype)


def _linearised(flow: Partial, couplings: Array) -> tuple[Array, Array]:
    """R(K) and dR/dK ``[n, n]``."""

    def twice(couplings: Array) -> tuple[Array, Array]:
        image = flow(couplings)
        return image, image

    matrix, image = jax.jacfwd(twice, has_aux=True)(couplings)
    return image, matrix


def _inverse(matrix: Array) -> Array:
    """(1 - dR/dK)^-1, which makes steps of differences R(K) - K."""
    return jnp.linalg.inv(jnp.eye(len(matrix), dtype=matrix.dtype) - matrix)


@jax.custom_jvp
def _newton(flow: Partial, start: Array, num_steps: Array) -> FixedPoint:
    """Newton's method on vectors; the flow is in the program once, whether a step is taken or halved."""
    small = jnp.sqrt(jnp.finfo(start.dtype).eps)

    def goes_on(state) -> Array:
        best, _, scale = state
        return (best.num_steps < num_steps) & (scale >= MIN_SCALE)

    def advance(state):
        best, step, scale = state
        trial = best.couplings + scale * step
        image, matrix = _linearised(flow, trial)
        residual = jnp.max(jnp.abs(image - trial))
        inverse = _inverse(matrix)
        longer = inverse @ (image - trial)
        is_small = jnp.max(jnp.abs(longer)) <= small * jnp.maximum(1, jnp.max(jnp.abs(trial)))
        is_isolated = jnp.max(jnp.abs(inverse)) <= 1 / small  # or rounding would move K* by half of its digits
        is_closer = residual < best.residual
        found = FixedPoint(trial, matrix, residual, best.num_steps, is_small & is_isolated)
        chosen = jax.tree.map(functools.partial(jnp.where, is_closer), found, best)
        # One step more after a small one, which doubles its digits; what comes no closer is halved.
        scale = jnp.where(best.is_converged, 0, jnp.where(is_closer, 1, scale / 2)).astype(scale.dtype)
        return chosen._replace(num_steps=best.num_steps + 1), jnp.where(is_closer, longer, step), scale

    matrix = jnp.full((start.size, start.size), jnp.nan, start.dtype)
    nothing = FixedPoint(start, matrix, jnp.asarray(jnp.inf, start.dtype), jnp.int32(0), jnp.bool_(False))
    return jax.lax.while_loop(goes_on, advance, (nothing, jnp.zeros_like(start), jnp.ones((), start.dtype)))[0]


@_newton.defjvp
def _newton_jvp(primals, tangents):
    """The implicit function theorem, for couplings and matrix."""
    flow, start, num_steps = primals
    found = _newton(flow, start, num_steps)
    _, image_dot = jax.jvp(lambda flow: flow(found.couplings), (flow,), (tangents[0],))
    couplings_dot = _inverse(found.matrix) @ image_dot
    moved = (flow, found.couplings), (tangents[0], couplings_dot)
    _, matrix_dot = jax.jvp(lambda flow, couplings: _linearised(flow, couplings)[1], *moved)
    still: Any = np.zeros((), jax.dtypes.float0)  # of integers and flags
    return found, FixedPoint(couplings_dot, matrix_dot, jnp.zeros_like(found.residual), still, still)
