r"""Momenta of a kinetic energy :math:`\tfrac12 p \cdot M^{-1} p`, of mass one or of one for every wave vector."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import PyTree
from jaxrg.checks import as_floating, is_traced
from jaxrg.samplers.fields import normal_like

_SYMMETRIC = 1e-4  # relative difference of the masses of k and -k that rounding explains


class Kinetic(NamedTuple):
    """How momenta are drawn and what they move, each a `Partial`: a pytree whose leaves are the masses."""

    momentum: Callable  # momentum = draw(key, field), of covariance M
    velocity: Callable  # velocity = fn(momentum), M⁻¹p


def _same(momentum: PyTree) -> PyTree:
    return momentum


UNIT = Kinetic(Partial(normal_like), Partial(_same))


def as_kinetic(mass: Any, like: PyTree) -> Kinetic:
    """The kinetic energy of masses ``[L_1, ..., L_d]`` of the wave vectors along the leading axes of a field.

    Raises:
        ValueError: a tree of arrays, other sides than the field's, masses that are not finite and positive, or that
            differ for k and -k.
    """
    if mass is None:
        return UNIT
    masses = as_floating("mass", mass)
    shape = getattr(like, "shape", None)
    if shape is None:
        raise ValueError("mass: expected None where the field is a tree of arrays, got masses of wave vectors")
    if not masses.ndim or tuple(shape[: masses.ndim]) != masses.shape:
        raise ValueError(f"mass: expected the leading sides of a field of shape {tuple(shape)}, got {masses.shape}")
    if is_traced(masses):
        masses = (masses + jnp.roll(jnp.flip(masses), 1, axis=tuple(range(masses.ndim)))) / 2
    else:
        seen = np.asarray(masses)
        if not np.all(np.isfinite(seen) & (seen > 0)):
            raise ValueError("mass: expected finite positive masses, got others among them")
        other = np.roll(np.flip(seen), 1, axis=tuple(range(seen.ndim)))
        if not np.allclose(seen, other, rtol=_SYMMETRIC, atol=0):
            raise ValueError("mass: expected the same mass for k and -k, got masses that differ")
    return Kinetic(Partial(_coloured, masses), Partial(_moved, masses))


def _coloured(masses: Array, key: Array, field: Array) -> Array:
    return _filtered(jnp.sqrt(masses), normal_like(key, field))


def _moved(masses: Array, momentum: Array) -> Array:
    return _filtered(1 / masses, momentum)


def _filtered(spectrum: Array, field: Array) -> Array:
    """Every plane wave of the field times its entry."""
    sides, axes = spectrum.shape, tuple(range(spectrum.ndim))
    waves = jnp.fft.rfftn(field, axes=axes)
    half = spectrum[..., : sides[-1] // 2 + 1].astype(waves.dtype)
    return jnp.fft.irfftn(waves * half.reshape(half.shape + (1,) * (field.ndim - half.ndim)), s=sides, axes=axes)
