"""Perceptrons that shrink distances: weights under a bound of their spectral norm."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.checks import as_floating, check_function, check_number
from jaxrg.closures import as_partial
from jaxrg.flows.bijectors.conditioners import Conditioner, Dense, as_widths, dense, init_dense
from jaxrg.flows.bijectors.making import Event

NUM_SQUARINGS = 6  # the bound is then at most n^(1/256) above the norm, 2% for n = 128
SILU_SLOPE = 1.1  # the largest slope of x sigmoid(x) is 1.0998


def lipswish(values: Array) -> Array:
    """x sigmoid(x) / 1.1: smooth, with slopes between -1 and 1."""
    return jax.nn.silu(values) / SILU_SLOPE


def spectral_norm_bound(matrix: Array) -> Array:
    r"""A differentiable upper bound of the largest singular value, at most a few percent above it.

    .. math:: \sigma_1 \le \big\| (W W^T)^{2^k} \big\|_F^{1/2^{k+1}}, \qquad k = 6

    Power iterations, which are usual here, come from below, and are no bound.

    Args:
        matrix: ``[n, m]``.

    Raises:
        ValueError: no matrix.

    Example:
        >>> float(spectral_norm_bound(jnp.diag(jnp.array([3.0, 1.0]))))
        3.0

    Reference:
        Delattre, Barthélemy, Araujo & Allauzen, ICML 2023, arXiv:2305.16173.
    """
    values = as_floating("matrix", matrix)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"matrix: expected one matrix, got shape {values.shape}")
    return _norm_bound(values)


@jax.jit
def _norm_bound(matrix: Array) -> Array:
    rows, columns = matrix.shape
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(matrix)))
    is_zero = scale == 0
    matrix = matrix / jnp.where(is_zero, 1, scale)  # squares of squares neither vanish nor overflow
    gram = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    gram = jnp.where(is_zero, jnp.eye(gram.shape[0], dtype=gram.dtype), gram)
    log_norm = jnp.zeros((), matrix.dtype)
    for squaring in range(NUM_SQUARINGS + 1):
        size = jnp.sqrt(jnp.sum(gram**2))
        log_norm = log_norm + jnp.log(size) / 2 ** (squaring + 1)
        gram = gram / size
        gram = gram @ gram
    return jnp.where(is_zero, 0, scale * jnp.exp(log_norm))


def lipschitz_perceptron(
    hidden: Sequence[int],
    *,
    bound: Array | float = 0.9,
    activation: Callable[[Array], Array] = lipswish,
) -> Conditioner:
    r"""A `perceptron` with Lipschitz constant below a bound, for residual blocks.

    Every one of its n weight matrices is divided by what its `spectral_norm_bound` exceeds :math:`c^{1/n}` by.

    Args:
        hidden: widths of the hidden layers.
        bound: c > 0.
        activation: elementwise function with slopes of at most one.

    Raises:
        ValueError: a width that is no count, a bound that is not positive, or no function.
    """
    widths = as_widths("hidden", hidden)
    check_number("bound", bound, above=0.0)
    check_function("activation", activation, of="an array")
    apply = Partial(_apply_bounded, as_floating("bound", bound), as_partial(activation))
    return Conditioner(Partial(init_dense, Event(widths)), apply)


def _apply_bounded(bound: Array, activation: Callable, params: tuple[Dense, ...], inputs: Array) -> Array:
    share = bound.astype(inputs.dtype) ** (1 / len(params))
    for index, layer in enumerate(params):
        norm = _norm_bound(layer.weight)
        inputs = dense(layer._replace(weight=layer.weight * (share / jnp.maximum(norm, share))), inputs)
        inputs = activation(inputs) if index < len(params) - 1 else inputs
    return inputs
