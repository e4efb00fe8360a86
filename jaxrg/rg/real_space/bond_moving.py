r"""Migdal and Kadanoff's renormalisation: bonds are moved together, and what is between them is decimated."""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_count, as_floating_alike, as_parameter, check_number, check_shape


def move_then_decimate(
    coupling: Array | float, rescaling: Array | float = 2, *, ndim: int = 2, num_states: int | None = None
) -> Array:
    r"""Kadanoff's order on a hypercubic lattice, :math:`K' = D_b(b^{d-1} K)`.

    :math:`D_b` is the exact decimation of a chain to every b-th spin; with d = 1 that is all there is, and it is exact.
    Of Potts models on hierarchical lattices either order is exact too.

    .. math:: D_b: \quad x' = x^b, \qquad x = \frac{e^K - 1}{e^K + q - 1}

    Args:
        coupling: scalar K: of Ising spins, or with ``num_states`` of a Potts model, :math:`-K \sum \delta_{ss'}`.
        rescaling: scalar b > 1, any real number; whole numbers for antiferromagnets.
        ndim: d.
        num_states: q of a Potts model; the Ising model is q = 2 with twice its K.

    Returns:
        Scalar K'.

    Raises:
        ValueError: no finite scalars, a rescaling of at most one, or no counts.

    Example:
        >>> round(float(move_then_decimate(0.5)), 6)  # ln cosh(4K) / 2
        0.662501

    Reference:
        Migdal, Sov. Phys. JETP 42, 743 (1975); Kadanoff, Ann. Phys. 100, 359 (1976).
    """
    return _move_then_decimate(*_checked(coupling, rescaling, ndim, num_states))


def decimate_then_move(
    coupling: Array | float, rescaling: Array | float = 2, *, ndim: int = 2, num_states: int | None = None
) -> Array:
    r"""Migdal's order, :math:`K' = b^{d-1} D_b(K)`, with arguments as of `move_then_decimate`.

    Its fixed point is :math:`b^{d-1}` times that of the other order, with the same exponents.

    Args:
        coupling: scalar K.
        rescaling: scalar b > 1.
        ndim: d.
        num_states: q of a Potts model; by default Ising spins.

    Returns:
        Scalar K'.

    Raises:
        ValueError: as `move_then_decimate`.

    Example:
        >>> round(float(decimate_then_move(0.5)), 6)  # ln cosh(2K)
        0.433781

    Reference:
        Migdal, Sov. Phys. JETP 42, 743 (1975).
    """
    return _decimate_then_move(*_checked(coupling, rescaling, ndim, num_states))


def _checked(coupling, rescaling, ndim, num_states) -> tuple[Array, Array, int, int | None]:
    check_number("rescaling", rescaling, above=1)
    strength, length = as_floating_alike(coupling=as_parameter("coupling", coupling), rescaling=rescaling)
    check_shape("coupling", strength, ())
    states = None if num_states is None else as_count("num_states", num_states, minimum=2)
    return strength, length, as_count("ndim", ndim), states


@functools.partial(jax.jit, static_argnums=(2, 3))
def _move_then_decimate(coupling: Array, rescaling: Array, ndim: int, num_states: int | None) -> Array:
    return _decimated(coupling * rescaling ** (ndim - 1), rescaling, num_states)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _decimate_then_move(coupling: Array, rescaling: Array, ndim: int, num_states: int | None) -> Array:
    return _decimated(coupling, rescaling, num_states) * rescaling ** (ndim - 1)


def _decimated(coupling: Array, rescaling: Array, num_states: int | None) -> Array:
    """D_b, to all digits for weak and for strong couplings."""
    if num_states is None:
        return _decimated(2 * coupling, rescaling, 2) / 2
    others = num_states - 1
    is_strong = coupling > 1

    weak = jnp.where(is_strong, 0, coupling)
    share = (jnp.expm1(weak) / (jnp.expm1(weak) + num_states)) ** rescaling
    from_weak = jnp.log1p(others * share) - jnp.log1p(-share)

    # 1 - x = y is small. With x^b = e^-t, ln(1 - x^b) = ln t + ln((1 - e^-t)/t) and ln t = ln b + ln y + ln(t / (b y)).
    strong = jnp.where(is_strong, coupling, 1)
    log_rest = jnp.log(num_states) - strong - jnp.log1p(others * jnp.exp(-strong))
    rest = jnp.exp(log_rest)
    time = -rescaling * jnp.log1p(-rest)
    log_time = jnp.log(rescaling) + log_rest + jnp.log(_over(-jnp.log1p(-rest), rest))
    from_strong = jnp.log1p(others * jnp.exp(-time)) - log_time - jnp.log(_over(-jnp.expm1(-time), time))
    return jnp.where(is_strong, from_strong, from_weak)


def _over(numerator: Array, denominator: Array) -> Array:
    """A ratio of numbers that are as small as each other, and one where both vanish."""
    is_tiny = denominator < jnp.finfo(denominator.dtype).tiny
    return jnp.where(is_tiny, 1, numerator / jnp.where(is_tiny, 1, denominator))
