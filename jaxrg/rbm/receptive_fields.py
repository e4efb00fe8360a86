"""What the hidden units of a stack look at on the lattice, and how localised it is."""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_floating, as_sides
from jaxrg.rbm.energy import RBM, are_alike, as_machine


def as_stack(stack: Sequence[RBM]) -> tuple[RBM, ...]:
    """Machines that have been checked, of which each one's visible layer is the hidden one of the machine below.

    Raises:
        ValueError: no sequence of machines, an empty one, or machines that do not fit onto each other.
    """
    if isinstance(stack, RBM) or not isinstance(stack, list | tuple) or len(stack) == 0:
        raise ValueError("stack: expected a non-empty sequence of machines, got one machine or none")
    machines = tuple(as_machine(machine, name=f"stack[{level}]") for level, machine in enumerate(stack))
    for level, (below, machine) in enumerate(itertools.pairwise(machines)):
        num_units, num_visible = below.weights.shape[1], machine.weights.shape[0]
        if num_visible != num_units:
            raise ValueError(f"stack: expected {num_units} visible units at level {level + 2}, got {num_visible}")
        if not are_alike(below.hidden_units, machine.visible_units):
            raise ValueError(
                f"stack: expected visible units at level {level + 2} as the hidden ones of level {level + 1}, "
                f"{below.hidden_units}, got {machine.visible_units}"
            )
    widest = max((machine.weights.dtype for machine in machines), key=lambda dtype: jnp.finfo(dtype).bits)
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, widest), machines)


def receptive_fields(stack: Sequence[RBM]) -> tuple[Array, ...]:
    r"""Receptive field of every hidden unit on the lowest visible layer, level by level.

    .. math:: r^{(1)} = W^{(1)}, \qquad r^{(l)} = r^{(l-1)} W^{(l)}

    Flipping a hidden unit and its weights changes nothing, so the sign of a field is arbitrary: each is returned with
    its entry of largest magnitude positive.

    Args:
        stack: machines from the lowest up, as `train_stack` returns them.

    Returns:
        One ``[num_visible, num_hidden_l]`` array per level.

    Example:
        >>> bottom = RBM(jnp.array([[0.5, 1.0], [-2.0, 0.5]]), jnp.zeros(2), jnp.zeros(2))
        >>> receptive_fields([bottom])[0].tolist()
        [[-0.5, 1.0], [2.0, 0.5]]

    Reference:
        Mehta & Schwab, arXiv:1410.3831 (2014).
    """
    return _receptive_fields(as_stack(stack))


@jax.jit
def _receptive_fields(stack: tuple[RBM, ...]) -> tuple[Array, ...]:
    product, fields = None, []
    for machine in stack:
        product = machine.weights if product is None else product @ machine.weights
        dominant = jnp.take_along_axis(product, jnp.argmax(jnp.abs(product), axis=0)[None, :], axis=0)
        fields.append(jnp.where(dominant < 0, -product, product))
    return tuple(fields)


class Locality(NamedTuple):
    """How localised the receptive fields of one level are; lengths in lattice spacings."""

    radius: Array  # [num_hidden] root of the second moment about the centre of mass; NaN for a field of zeros
    participation: Array  # [num_hidden] number of sites that carry the field, 1 / sum p^2; NaN for a field of zeros
    mean_radius: Array  # [] radius of the level: mean over fields weighted by their squared norm
    mean_participation: Array  # [] the same mean of the participation
    uniform_radius: Array  # [] radius of a field of equal weights on all sites


def _radius(share: Array, shape: tuple[int, ...]) -> Array:
    """Root of the second moment of ``share`` ``[num_sites]``, which sums to one, about its circular centre of mass."""
    share = share.reshape(shape)
    moment = 0
    for axis, length in enumerate(shape):
        marginal = jnp.sum(share, axis=tuple(other for other in range(len(shape)) if other != axis))
        position = jnp.arange(length, dtype=share.dtype)
        angle = (2 * np.pi / length) * position
        centre = (length / (2 * np.pi)) * jnp.arctan2(marginal @ jnp.sin(angle), marginal @ jnp.cos(angle))
        distance = jnp.mod(position - centre + 0.5 * length, length) - 0.5 * length
        moment += marginal @ distance**2
    return jnp.sqrt(moment)


def locality(fields: Array, shape: tuple[int, ...]) -> Locality:
    r"""Spatial spread of each receptive field on a periodic lattice, and one number for the level.

    With :math:`p_x = r_x^2 / \sum_y r_y^2` and :math:`\bar x` the circular centre of mass of p,

    .. math:: R = \sqrt{\sum_x p_x\, |x - \bar x|^2}, \qquad \mathrm{participation} = 1 / \sum_x p_x^2.

    The participation does not know where sites are and R does: fields of shuffled sites keep the first, and their R
    goes to the uniform one. A small R alone shows nothing until it is compared with such a control. Where a field is
    so evenly spread that it has no centre, R depends on the direction that rounding picks, by less than 1/R.

    Args:
        fields: ``[num_sites, num_fields]`` of one level, from `receptive_fields`; the sites in row-major order.
        shape: side lengths of the lattice.

    Returns:
        `Locality`. Units without weight (dead ones) do not count in the means over the level.

    Raises:
        ValueError: ``fields`` has not one row per site.

    Example:
        >>> spot = jnp.zeros((16, 1)).at[5, 0].set(3.0)
        >>> found = locality(spot, (4, 4))
        >>> round(float(found.radius[0]), 3), float(found.participation[0]), round(float(found.uniform_radius), 3)
        (0.0, 1.0, 1.732)
    """
    shape, fields = as_sides("shape", shape), as_floating("fields", fields)
    num_sites = int(np.prod(shape))
    if fields.ndim != 2 or fields.shape[0] != num_sites or fields.size == 0:
        raise ValueError(f"fields: expected shape ({num_sites}, num_fields), got {tuple(fields.shape)}")
    return _locality(fields, shape)


@functools.partial(jax.jit, static_argnums=1)
def _locality(fields: Array, shape: tuple[int, ...]) -> Locality:
    # Squares of tiny or huge weights leave the range of float32; shares do not depend on the scale.
    peak = jnp.max(jnp.abs(fields), axis=0)
    scaled = fields / jnp.where(peak == 0, 1, peak)[None, :]
    norm = jnp.sum(scaled**2, axis=0)
    share = scaled**2 / norm[None, :]
    radius = jax.vmap(lambda column: _radius(column, shape), in_axes=1)(share)
    participation = 1 / jnp.sum(share**2, axis=0)

    weight = (peak / jnp.max(peak)) ** 2 * norm
    is_live = peak > 0

    def level_mean(values: Array) -> Array:
        return jnp.sum(jnp.where(is_live, weight * values, 0)) / jnp.sum(weight)

    uniform = _uniform_radius(shape)
    return Locality(
        radius, participation, level_mean(radius), level_mean(participation), jnp.asarray(uniform, fields.dtype)
    )


def _uniform_radius(shape: tuple[int, ...]) -> float:
    """Radius of equal weights about a site: ``sqrt(sum (L^2 + 2) / 12)`` for even sides, ``(L^2 - 1) / 12`` for odd."""
    return float(np.sqrt(sum(np.mean((np.arange(length) - length // 2) ** 2) for length in shape)))
