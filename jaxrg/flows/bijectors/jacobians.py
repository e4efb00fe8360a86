"""Log-determinants of residual and continuous flows: exact on small blocks, estimated on large ones."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_count, as_floating, check_function, check_key
from jaxrg.closures import as_partial

MAX_FEATURES = 64  # of a block whose Jacobian is formed: 64^2 numbers a lane
MAX_UNROLLED = 12  # of a block that is eliminated with all lanes side by side; larger ones go to LAPACK
EXACT_TERMS = 6  # of the series, always summed
SURVIVAL = 0.9  # of the series after each further term; the variance is finite where the Lipschitz constant^2 is below


def jacobian(fn: Callable[[Array], Array], values: Array) -> Array:
    """``[inputs, outputs, *lanes]`` derivatives of a function of ``[features, *lanes]`` whose lanes do not mix."""
    _, push = jax.linearize(fn, values)
    basis = jnp.eye(values.shape[0], dtype=values.dtype)
    basis = basis.reshape(*basis.shape, *(1,) * (values.ndim - 1))
    return jax.vmap(push)(jnp.broadcast_to(basis, (values.shape[0], *values.shape)))


def divergence(fn: Callable[[Array], Array], values: Array) -> Array:
    """``[*lanes]`` trace of the Jacobian."""
    return jnp.einsum("ii...->...", jacobian(fn, values))


def log_det_of_contraction(fn: Callable[[Array], Array], values: Array) -> Array:
    """``[*lanes]`` ln det(1 + dg/dx), exact; NaN where the pivots show that g is no contraction.

    The symmetric part of 1 + J is positive, so elimination without pivoting is stable and its pivots are positive.
    """
    matrix = jacobian(fn, values)
    num_features = matrix.shape[0]
    one = jnp.eye(num_features, dtype=matrix.dtype)
    matrix = matrix + one.reshape(*one.shape, *(1,) * (matrix.ndim - 2))
    if num_features > MAX_UNROLLED:
        sign, log_det = jnp.linalg.slogdet(jnp.moveaxis(matrix, (0, 1), (-2, -1)))
        return jnp.where(sign > 0, log_det, jnp.nan)
    total = jnp.zeros_like(matrix[0, 0])
    for _ in range(num_features):
        pivot, row, column = matrix[0, 0], matrix[:1, 1:], matrix[1:, :1]
        total = total + jnp.log(pivot)
        matrix = matrix[1:, 1:] - column * (row / pivot[None, None])
    return total


class LogDetEstimate(NamedTuple):
    """An unbiased estimate and what is known of its error."""

    log_det: Array  # [*lanes] mean of the probes
    variance: Array  # [*lanes] of that mean, estimated without bias from the scatter of the probes


def log_det_estimate(key: Array, fn: Callable[[Array], Array], values: Array, *, num_probes: int = 8) -> LogDetEstimate:
    r"""Unbiased estimate of :math:`\ln\det(1 + \partial g/\partial x)` of a contraction g, for blocks of any size.

    .. math:: \ln\det(1+J) = \sum_{k\ge1} \frac{(-1)^{k+1}}{k} \langle v^T J^k v \rangle_{v = \pm1}

    Six terms are always summed; after each further one the series goes on with probability 0.9, and terms are weighed
    by the inverse probability of getting there. Gradients are unbiased too: that of the same series for
    :math:`(1+J)^{-1}`, with nothing stored but two vectors.

    Args:
        key: of the probes and of the lengths of the series.
        fn: g of ``[features, *lanes]`` whose lanes do not mix, with a Lipschitz constant below 0.94 for a finite
            variance.
        values: ``[features, *lanes]`` x.
        num_probes: at least two.

    Raises:
        ValueError: no key, no function, no real numbers, or fewer than two probes.

    Reference:
        Chen, Behrmann, Duvenaud & Jacobsen, NeurIPS 2019, arXiv:1906.02735.
    """
    check_key("key", key)
    check_function("fn", fn, of="features [features, *lanes]")
    probes = as_count("num_probes", num_probes, minimum=2)
    features = as_floating("values", values)
    if features.ndim == 0:
        raise ValueError("values: expected [features, *lanes], got one number")
    return _estimate(key, as_partial(fn), features, probes)


@functools.partial(jax.jit, static_argnames="num_probes")
def _estimate(key: Array, fn: Callable, values: Array, num_probes: int) -> LogDetEstimate:
    draws = estimates(key, fn, values, jnp.arange(num_probes, dtype=jnp.uint32))
    mean = jnp.mean(draws, axis=0)
    scatter = jnp.sum((draws - mean[None]) ** 2, axis=0)
    return LogDetEstimate(mean, scatter / (num_probes * (num_probes - 1)))


def estimates(key: Array, fn: Callable, values: Array, probes: Array) -> Array:
    """``[num_probes, *lanes]`` independent unbiased estimates of ln det(1 + J)."""

    def one(probe: Array) -> Array:
        probe_key, length_key = jax.random.split(jax.random.fold_in(key, probe))
        vector = jax.random.rademacher(probe_key, values.shape, values.dtype)
        uniform = jax.random.uniform(length_key, (), values.dtype, minval=jnp.finfo(values.dtype).tiny)
        extra = jnp.floor(jnp.log(uniform) / jnp.log(jnp.asarray(SURVIVAL, values.dtype))).astype(jnp.int32)
        return _series(fn, values, vector, EXACT_TERMS + extra)

    return jax.lax.map(one, probes)


def _series(fn: Callable, values: Array, vector: Array, num_terms: Array) -> Array:
    """One estimate. The loop has no derivative; that of the estimate is put beside it, as that of zero."""
    still = jax.tree.map(jax.lax.stop_gradient, fn)  # the arrays that the function holds
    outputs, pull = jax.vjp(still, jax.lax.stop_gradient(values))
    if outputs.shape != values.shape:
        raise ValueError(f"fn: expected outputs of shape {values.shape}, got {outputs.shape}")

    def add(term: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        power, total, dual = carry
        (power,) = pull(power)
        late = jnp.maximum(term - EXACT_TERMS, 0).astype(power.dtype)
        weight = jnp.where(term % 2 == 1, 1, -1) * SURVIVAL**-late
        total = total + weight / term.astype(power.dtype) * jnp.sum(power * vector, axis=0)
        return power, total, dual - weight * power

    start = vector, jnp.zeros_like(vector[0]), vector
    _, total, dual = jax.lax.fori_loop(1, num_terms + 1, add, start)
    _, pushed = jax.jvp(fn, (values,), (vector,))
    derivative = jnp.sum(dual * pushed, axis=0)
    return jax.lax.stop_gradient(total) + derivative - jax.lax.stop_gradient(derivative)
