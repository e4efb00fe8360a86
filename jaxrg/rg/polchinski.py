"""Polchinski's flow of Gaussian fields, mode by mode: a gradient flow whose relative entropy never rises."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.checks import as_floating_alike, as_parameter, check_function, check_shape, is_traced
from jaxrg.closures import as_partial


class GaussianFlow(NamedTuple):
    """A Gaussian field that modes have been integrated out of.

    Attributes:
        interaction: ``[num_modes]`` v of the effective action at this time.
        variances: ``[num_modes]`` of the field.
        relative_entropy: scalar, KL of the field to the free one of the same cutoff.
        gradient_norm: scalar, the squared norm of its gradient: minus the rate of the relative entropy.
    """

    interaction: Array
    variances: Array
    relative_entropy: Array
    gradient_norm: Array


def polchinski_flow(covariance: Callable[[Array], Array], interaction: Array, time: Array | float) -> GaussianFlow:
    r"""Polchinski's exact renormalisation of a Gaussian field, in closed form.

    The action is :math:`\frac12 \sum_k \varphi_k^2 (1/C_k(t) + v_k(t))` with a free covariance C that shrinks as the
    cutoff falls. What is integrated out leaves

    .. math:: \frac{dv}{dt} = \dot C v^2, \qquad v(t) = \frac{v}{1 + v\, (C(0) - C(t))}

    and the density flows down the relative entropy in the metric of optimal transport: to
    :math:`\mathcal N(0, C/2)` at every moment, as Cotler and Rezchikov show, while its distance from the free field
    :math:`\mathcal N(0, C(t))`, which moves as well, never grows:

    .. math:: \frac{d}{dt} KL(P_t \| \mathcal N_{C(t)}) = -\frac12 \sum_k |\dot C_k|\,
        \Bigl\langle \Bigl(\partial_k \ln \frac{P_t}{\mathcal N_{C(t)}}\Bigr)^2 \Bigr\rangle \le 0

    Args:
        covariance: ``covariance(t)``, ``[num_modes]`` positive and falling with t = ln(Λ₀/Λ), differentiable.
        interaction: ``[num_modes]`` v at t = 0, above -1/C(0).
        time: scalar t >= 0.

    Raises:
        ValueError: no finite numbers, a covariance of another shape, that is not positive or rises, a negative time, or
            an interaction for which there is no Gaussian.

    Example:
        >>> momenta = jnp.arange(1.0, 4.0)
        >>> cutoff = lambda t: jnp.exp(-((momenta * jnp.exp(t)) ** 2)) / momenta**2
        >>> flows = [polchinski_flow(cutoff, jnp.ones(3), time) for time in (0.0, 0.5)]
        >>> bool(flows[0].relative_entropy > flows[1].relative_entropy)
        True

    Reference:
        Polchinski, Nucl. Phys. B 231, 269 (1984); Cotler & Rezchikov, Phys. Rev. D 108, 025003 (2023).
    """
    check_function("covariance", covariance, of="a time")
    strength, moment = as_floating_alike(
        interaction=as_parameter("interaction", interaction), time=as_parameter("time", time)
    )
    check_shape("time", moment, ())
    if strength.ndim != 1 or not strength.size:
        raise ValueError(f"interaction: expected [num_modes] numbers, got shape {tuple(strength.shape)}")
    compiled = as_partial(covariance)
    shape = getattr(jax.eval_shape(compiled, moment), "shape", None)
    if shape != strength.shape:
        raise ValueError(f"covariance: expected one for each of {strength.size} modes, got shape {shape}")
    flow, checks = _polchinski_flow(compiled, strength, moment)
    if not is_traced(flow):
        for name, what, wrong in zip(("time", "covariance", "interaction"), _EXPECTED, checks, strict=True):
            if np.any(np.asarray(wrong)):
                raise ValueError(f"{name}: expected {what}, got others")
    return flow


_EXPECTED = "a number >= 0", "positive ones that fall with time", "numbers above -1 / covariance(0)"


@jax.jit
def _polchinski_flow(covariance: Partial, start: Array, time: Array) -> tuple[GaussianFlow, Any]:
    free, slope = jax.jvp(covariance, (time,), (jnp.ones_like(time),))
    first = covariance(jnp.zeros_like(time))
    interaction = start / (1 + start * (first - free))
    excess = interaction * free  # variance = C / (1 + v C)
    entropies = (jnp.log1p(excess) - excess / (1 + excess)) / 2
    norms = -slope * interaction * excess / (1 + excess) / 2
    flow = GaussianFlow(interaction, free / (1 + excess), jnp.sum(entropies), jnp.sum(norms))
    return flow, (time < 0, (free <= 0) | (slope > 0), start * first <= -1)
