"""Ising strips of infinite length: free energy and correlation length by power iteration of the transfer matrix."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from jaxrg.checks import as_count
from jaxrg.exact.transfer_matrix import as_couplings, build_strip, check_width
from jaxrg.lattice.geometry import as_flags
from jaxrg.tables import all_spins

_compiled = functools.partial(jax.jit, static_argnames=("width", "periodic", "num_iterations"))


def _normalized(vector: Array) -> Array:
    return vector / jnp.sqrt(jnp.sum(vector * vector))


def _leading_eigenpair(
    apply: Callable[[Array], Array],
    start: Array,
    num_iterations: int,
    *,
    deflate: Array | None = None,
    shift: Array | float = 0.0,
) -> tuple[Array, Array]:
    """Eigenvalue of largest size and its vector, differentiated through the iteration; nan if it has not settled.

    A positive ``shift``, in units of the leading eigenvalue, prefers the largest positive eigenvalue to a negative one.
    """

    def project(vector: Array) -> Array:
        return vector if deflate is None else vector - deflate * jnp.sum(deflate * vector)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def body(vector: Array, _: None) -> tuple[Array, None]:
        image = project(apply(vector))
        size = lax.stop_gradient(jnp.sqrt(jnp.sum(image * image)))
        return _normalized(image + shift * size * vector), None

    vector, _ = lax.scan(body, _normalized(project(start)), None, length=num_iterations)
    image = project(apply(vector))
    eigenvalue = jnp.sum(vector * image)
    error = lax.stop_gradient((image - eigenvalue * vector) / eigenvalue)
    residual = jnp.sqrt(jnp.sum(error * error))
    # Over the gap, the eigenvalue's error is the square of the residual and its derivative's error the residual itself.
    is_settled = residual < float(jnp.finfo(vector.dtype).eps) ** (2 / 3)
    # A factor, so that the derivatives are nan as well.
    return eigenvalue * jnp.where(is_settled, 1, jnp.nan), vector


def strip_free_energy(
    coupling: ArrayLike, width: int, *, field: ArrayLike = 0.0, periodic: bool = True, num_iterations: int = 500
) -> Array:
    r"""ln Z per site of an infinitely long Ising strip, from the largest eigenvalue of the transfer matrix.

    .. math:: \lim_{n\to\infty} \frac{\ln Z}{n w} = \frac{\ln \lambda_0}{w}

    Args:
        coupling: scalar K, or along and across the strip ``[2]``. Either sign.
        width: sites across the strip, at most 16; a periodic width of two has double bonds.
        field: scalar h, H = -K Σ s s' - h Σ s.
        periodic: whether the strip closes across.
        num_iterations: steps of the power iteration. The default is ample unless two states of the symmetry of the
            leading one nearly meet: in an ordered phase, a field with ``field * width`` below about 0.02.

    Returns:
        Scalar in the dtype of ``coupling``; nan, with nan derivatives, if the relative residual has not fallen below
        eps^(2/3).

    Raises:
        ValueError: width out of range, coupling or field that is not finite or has another shape.

    Example:
        >>> round(float(strip_free_energy(0.4, 4)), 4)  # the infinite lattice has 0.8794
        0.8931
    """
    options = _checked_options(width, periodic, num_iterations)
    return _free_energy(*as_couplings(coupling, field), *options)


def _checked_options(width: int, periodic: bool, num_iterations: int) -> tuple[int, bool, int]:
    (closes,) = as_flags("periodic", periodic, 1)
    return check_width(width, periodic=closes), closes, as_count("num_iterations", num_iterations)


def _shift(along: Array) -> Array:
    """Rows that alternate have a second eigenvalue close to minus the first, which the shift halves."""
    return jnp.where(along < 0, 0.5, 0).astype(along.dtype)


@_compiled
def _free_energy(along: Array, across: Array, field: Array, width: int, periodic: bool, num_iterations: int) -> Array:
    strip = build_strip(along, across, field, width, periodic=periodic)
    eigenvalue, _ = _leading_eigenpair(strip.apply, strip.row, num_iterations, shift=_shift(along))
    return (jnp.log(eigenvalue) + strip.log_scale) / width


def strip_correlation_length(
    coupling: ArrayLike, width: int, *, field: ArrayLike = 0.0, periodic: bool = True, num_iterations: int = 500
) -> Array:
    r"""Correlation length along an infinitely long Ising strip, of the magnetization of its rows.

    .. math:: \xi^{-1} = \ln \frac{\lambda_0}{|\lambda_1|}

    λ₁ is the largest eigenvalue that the row's magnetization reaches from the leading vector: the second of the whole
    matrix for a ferromagnet. With a negative coupling across, the staggered magnetization takes its place.

    Args:
        coupling: scalar K, or along and across the strip ``[2]``. Either sign.
        width: sites across the strip, at most 16.
        field: scalar h.
        periodic: whether the strip closes across.
        num_iterations: steps of each of the two power iterations.

    Returns:
        Scalar, in lattice spacings; inf where the gap is lost in rounding, nan if an iteration has not settled.

    Raises:
        ValueError: width out of range, coupling or field that is not finite or has another shape.

    Example:
        >>> round(float(strip_correlation_length(0.5, 1, periodic=False)), 4)  # -1 / ln tanh K
        1.2954

    Reference:
        Nightingale, Physica A 83, 561 (1976).
    """
    options = _checked_options(width, periodic, num_iterations)
    return _correlation_length(*as_couplings(coupling, field), *options)


@_compiled
def _correlation_length(
    along: Array, across: Array, field: Array, width: int, periodic: bool, num_iterations: int
) -> Array:
    strip = build_strip(along, across, field, width, periodic=periodic)
    largest, vector = _leading_eigenpair(strip.apply, strip.row, num_iterations, shift=_shift(along))
    signs = jnp.where(across < 0, (-1.0) ** np.arange(width), 1).astype(vector.dtype)
    magnetization = all_spins(width, vector.dtype) @ signs
    second, _ = _leading_eigenpair(strip.apply, vector * magnetization, num_iterations, deflate=vector)
    gap = jnp.log(largest / jnp.abs(second))
    is_lost = gap < 64 * float(jnp.finfo(vector.dtype).eps)
    return jnp.where(is_lost, jnp.inf, 1 / jnp.where(is_lost, 1, gap))
