"""The Ising chain in a field, in closed form."""

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxrg.checks import check_count
from jaxrg.exact.arguments import as_scalar


def chain_log_partition(coupling: ArrayLike, field: ArrayLike, num_sites: int) -> Array:
    r"""ln Z of a periodic Ising chain in a field.

    .. math:: Z = \lambda_+^N + \lambda_-^N, \qquad \lambda_\pm = e^K \cosh h \pm \sqrt{e^{2K} \sinh^2 h + e^{-2K}}

    Args:
        coupling: scalar K of either sign.
        field: scalar h.
        num_sites: N >= 2; two sites have a double bond.

    Returns:
        Scalar ln Z in the dtype of ``coupling``.

    Raises:
        ValueError: fewer than two sites, coupling or field that is not a finite scalar.

    Example:
        >>> round(float(chain_log_partition(0.5, 0.0, 3)), 4)  # ln(2 e^{3/2} + 6 e^{-1/2})
        2.5339
    """
    check_count("num_sites", num_sites, minimum=2)
    coupling, field = as_scalar(coupling, "coupling"), as_scalar(field, "field")
    field = field.astype(coupling.dtype)
    sign = jnp.where(coupling < 0, -1, 1)
    strength = sign * coupling
    # λ+ over e^{|K|}, and λ-/λ+ from the determinant 2 sinh 2K, which does not cancel.
    aligned, opposed = jnp.exp(coupling - strength), jnp.exp(-coupling - strength)
    larger = aligned * jnp.cosh(field) + jnp.sqrt((aligned * jnp.sinh(field)) ** 2 + opposed**2)
    ratio = -sign * jnp.expm1(-4 * strength) / (larger * larger)
    return num_sites * (strength + jnp.log(larger)) + jnp.log1p(lax.integer_pow(ratio, num_sites))
