"""What models of real fields on a lattice share: checked configurations, bonds, and what is observed of phases."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_floating, as_floating_alike, check_shape
from jaxrg.lattice import Lattice, inside, shift
from jaxrg.models.construction import as_couplings
from jaxrg.models.sites.angles import wrap_angles

Method = TypeVar("Method", bound=Callable)


class PhaseObservables(NamedTuple):
    """What a model with U(1) symmetry reports of one configuration, per site."""

    energy: Array  # [] in units of J for `XY`, else the action S/N
    magnetization: Array  # [2] mean of the vectors
    helicity_modulus: Array  # [] in units of kT; its mean is 2/pi at the Kosterlitz-Thouless transition
    vortex_density: Array  # [] windings a plaquette, of either sign; 0 where there are no plaquettes


class Reflection(NamedTuple):
    """A mirror image of a configuration, and the Ising model of which sites take it.

    Given everything else, the spins s_x = +1 (stay) and -1 (reflect) have the action
    -sum_b J_b(x) s_x s_{x+b} - sum_x h_x s_x.
    """

    bonds: Array  # [num_directions, *lattice.shape] J of the bond from x to x + b; zero beyond an open boundary
    reflected: Array  # [*shape] the field with every site reflected
    field: Array | float = 0.0  # scalar or [*lattice.shape] h of the spins, which adds -sum_x h_x s_x


def of_field(fn: Method) -> Method:
    """A method whose last argument is one configuration, which is checked; compiled once."""
    compiled = jax.jit(fn, inline=True)

    @functools.wraps(fn)
    def checked(self: Any, *args: Any) -> Any:
        *others, field = args
        array = as_floating("field", field)
        check_shape("field", array, self.shape)
        return compiled(self, *others, array)

    return cast(Method, checked)


def alike(field: Array, *couplings: Any) -> list[Array]:
    """The field and its couplings as floats of one type, the widest of theirs."""
    return as_floating_alike(field=field, **{f"coupling {i}": value for i, value in enumerate(couplings)})


def beyond(lattice: Lattice, values: Array, bond: tuple[int, ...]) -> Array:
    """``[*shape]`` of sites or ``[*shape, n]`` of vectors, the values at ``x + b``."""
    if values.ndim > lattice.ndim:
        return jax.vmap(shift, (None, -1, None), -1)(lattice, values, bond)
    return shift(lattice, values, bond)


def ahead(lattice: Lattice, values: Array) -> Array:
    """``[num_directions, *shape]`` of sites or ``[num_directions, *shape, n]`` of vectors, the values at ``x + b``."""
    there = [beyond(lattice, values, bond) for bond in lattice.bonds]
    return jnp.stack(there) if there else jnp.zeros((0, *values.shape), values.dtype)


def neighbour_sum(lattice: Lattice, vectors: Array) -> Array:
    """``[n, *shape]`` sum of the vectors ``[n, *shape]`` of all neighbours of a site, components first."""
    move: Callable = jax.vmap(shift, (None, 0, None))
    total = jnp.zeros_like(vectors)
    for bond in lattice.bonds:
        total = total + move(lattice, vectors, bond) + move(lattice, vectors, tuple(-step for step in bond))
    return total


def as_vector_field(field: Any, lattice: Lattice, num_components: int) -> Array | None:
    """None, or a finite field of one vector for all sites ``[n]`` or for each of them ``[*shape, n]``."""
    return None if field is None else as_couplings("field", field, (num_components,), (*lattice.shape, num_components))


def by_component(field: Array, lattice: Lattice) -> Array:
    """``[n, 1, ..., 1]`` or ``[n, *shape]``: a field with its components first."""
    return field.reshape(-1, *[1] * lattice.ndim) if field.ndim == 1 else jnp.moveaxis(field, -1, 0)


def coordination(lattice: Lattice) -> np.ndarray:
    """``[*shape]`` int64: how many bonds end at every site, fewer along an open boundary."""
    count = np.zeros(lattice.shape, np.int64)
    for bond in lattice.bonds:
        count += inside(lattice, bond)
        count += inside(lattice, tuple(-step for step in bond))
    return count


def helicity_modulus(lattice: Lattice, strength: Array, vectors: Array) -> Array:
    r"""Second derivative of the free energy by a twist, of one configuration and per site, mean over the axes.

    .. math:: \frac{\Upsilon_\mu}{kT} = \frac1N \Big[ \sum_{b,x} b_\mu^2\, c\, u_x\!\cdot u_{x+b}
        - \Big(\sum_{b,x} b_\mu\, c\, u_x\!\times u_{x+b}\Big)^2 \Big]

    for an action with the bonds :math:`-c\,u_x\!\cdot u_{x+b}`.

    Args:
        lattice: geometry.
        strength: c, scalar.
        vectors: ``[*lattice.shape, 2]``.
    """
    there = ahead(lattice, vectors)
    axes = tuple(range(1, lattice.ndim + 1))
    aligned = jnp.sum(vectors[None] * there, axis=(*axes, lattice.ndim + 1))  # [num_directions]
    crossed = jnp.sum(vectors[None, ..., 0] * there[..., 1] - vectors[None, ..., 1] * there[..., 0], axis=axes)
    steps = jnp.asarray(np.reshape(lattice.bonds, (-1, lattice.ndim)), vectors.dtype)
    stiffness = strength * jnp.dot(aligned, steps * steps) - (strength * jnp.dot(crossed, steps)) ** 2
    return jnp.mean(stiffness) / float(lattice.num_sites)


def plaquette_windings(
    lattice: Lattice, angles: Array, first: tuple[int, ...], second: tuple[int, ...]
) -> tuple[Array, np.ndarray]:
    """Winding of the angles around the plaquette x, x + first, x + first + second, x + second, and which are whole."""

    def turns(step: tuple[int, ...]) -> Array:
        return wrap_angles(shift(lattice, angles, step) - angles)

    across, along = turns(first), turns(second)
    around = across + shift(lattice, along, first) - shift(lattice, across, second) - along
    corner = tuple(a + b for a, b in zip(first, second, strict=True))
    is_whole = inside(lattice, first) & inside(lattice, second) & inside(lattice, corner)
    return jnp.round(around / (2 * math.pi)), is_whole


def vortex_density(lattice: Lattice, angles: Array) -> Array:
    """Absolute winding numbers of the plaquettes of every pair of axes, a plaquette; zero where there are none."""
    unit = [tuple(int(axis == d) for axis in range(lattice.ndim)) for d in range(lattice.ndim)]
    total, count = jnp.zeros((), angles.dtype), 0
    for first, second in itertools.combinations(unit, 2):
        windings, is_whole = plaquette_windings(lattice, angles, first, second)
        total = total + jnp.sum(jnp.where(is_whole, jnp.abs(windings), 0))
        count += int(is_whole.sum())
    return total / float(max(count, 1))
