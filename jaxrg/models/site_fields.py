"""What one configuration is at each of its sites: walls, energies, the largest cluster, vortices; all of them exact."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PairModel
from jaxrg.checks import as_floating, as_spins, check_shape, is_traced, kind_of
from jaxrg.lattice import Lattice, lattice_cluster_labels, shift
from jaxrg.lattice.geometry import check_lattice
from jaxrg.models.fields import plaquette_windings


def unlike_neighbours(lattice: Lattice, spins: Any) -> Array:
    r"""Neighbours of each site with the other spin: above zero at domain walls.

    .. math:: u_x = \sum_{y \sim x} \tfrac12 (1 - s_x s_y)

    With z neighbours, the energy of a site with half of each of its bonds is :math:`u_x - z/2` in units of J.

    Args:
        lattice: geometry; bonds beyond an open boundary do not count.
        spins: ``[*shape]`` ±1.

    Returns:
        int32 ``[*shape]``.

    Raises:
        ValueError: no lattice, another shape, or no spins.

    Example:
        >>> from jaxrg import lattice
        >>> unlike_neighbours(lattice.hypercubic((4,), periodic=False), jnp.array([1, 1, -1, -1])).tolist()
        [0, 1, 1, 0]
    """
    geometry = check_lattice("lattice", lattice)
    return _unlike_neighbours(geometry, as_spins("spins", spins, geometry.shape))


@functools.partial(jax.jit, static_argnames="lattice", inline=True)
def _unlike_neighbours(lattice: Lattice, spins: Array) -> Array:
    signs = spins.astype(jnp.int32)
    total = jnp.zeros(lattice.shape, jnp.int32)
    for bond in lattice.bonds:
        for step in (bond, tuple(-part for part in bond)):
            # A neighbour beyond an open boundary is the zero that `shift` puts there.
            total += (signs * shift(lattice, signs, step) < 0).astype(jnp.int32)
    return total


def site_energies(model: PairModel, spins: Any) -> Array:
    r"""Energy of every site with half of each of its bonds; they add up to the Hamiltonian.

    .. math:: e_x = -\tfrac12 s_x (f_x + h_x), \qquad \sum_x e_x = H(s)

    Args:
        model: pairs of spins in a field, whose local field is :math:`f_x = \sum_y J_{xy} s_y + h_x`.
        spins: ``[*shape]`` ±1.

    Returns:
        ``[*shape]``, reduced as H is.

    Raises:
        ValueError: no such model, another shape, or no spins.

    Example:
        >>> from jaxrg import lattice, models
        >>> chain = models.Ising(lattice.hypercubic((3,), periodic=False), 0.5)
        >>> site_energies(chain, jnp.array([1, -1, 1])).tolist()
        [0.25, 0.5, 0.25]
    """
    if not (hasattr(model, "local_field") and hasattr(model, "field_array")):
        raise ValueError(f"model: expected pairs of spins, such as models.Ising, got {kind_of(model)}")
    return _site_energies(model, as_spins("spins", spins, model.shape))


@jax.jit
def _site_energies(model: PairModel, spins: Array) -> Array:
    field = model.local_field(spins)
    return -0.5 * spins.astype(field.dtype) * (field + model.field_array().astype(field.dtype))


def largest_cluster(lattice: Lattice, spins: Any) -> Array:
    """Whether each site belongs to the largest geometric cluster, of neighbours with like spins.

    Of several that are the largest it is the one with the smallest site.

    Args:
        lattice: geometry.
        spins: ``[*shape]`` ±1.

    Returns:
        bool ``[*shape]``.

    Raises:
        ValueError: no lattice, another shape, or no spins.

    Example:
        >>> from jaxrg import lattice
        >>> largest_cluster(lattice.hypercubic((5,)), jnp.array([1, -1, -1, 1, 1])).tolist()
        [True, False, False, True, True]
    """
    geometry = check_lattice("lattice", lattice)
    return _largest_cluster(geometry, as_spins("spins", spins, geometry.shape))


@functools.partial(jax.jit, static_argnames="lattice", inline=True)
def _largest_cluster(lattice: Lattice, spins: Array) -> Array:
    active = jnp.stack([shift(lattice, spins, bond) == spins for bond in lattice.bonds])
    labels = lattice_cluster_labels(lattice, active & lattice.bonds_inside())
    sizes = jnp.zeros(lattice.num_sites, jnp.int32).at[labels.reshape(-1)].add(1)
    return labels == jnp.argmax(sizes).astype(labels.dtype)


def vortices(lattice: Lattice, angles: Any) -> Array:
    r"""Winding number of the plaquette whose first corner is each site of a plane of angles: +1 at vortices.

    .. math:: n_x = \frac1{2\pi} \oint_{x,\, x+e_1,\, x+e_1+e_2,\, x+e_2} [\Delta\theta]_{-\pi}^{\pi}

    The mean of its absolute value is the vortex density of `XY.observables`; on a torus the sum is zero.

    Args:
        lattice: geometry of two axes.
        angles: ``[*shape]``, any real numbers.

    Returns:
        int32 ``[*shape]``, zero where an open boundary cuts the plaquette and where an angle is NaN or infinite.

    Raises:
        ValueError: no lattice of two axes, another shape, or angles that can be seen to be NaN or infinite.

    Example:
        >>> from jaxrg import lattice
        >>> quarter_turns = jnp.array([[0.0, 3.0], [1.0, 2.0]])
        >>> vortices(lattice.hypercubic((2, 2), periodic=False), jnp.pi / 2 * quarter_turns).tolist()
        [[1, 0], [0, 0]]
    """
    geometry = check_lattice("lattice", lattice)
    if geometry.ndim != 2:
        raise ValueError(f"lattice: expected two axes, got {geometry.ndim}")
    field = as_floating("angles", angles)
    check_shape("angles", field, geometry.shape)
    if not is_traced(field) and not np.all(np.isfinite(field)):
        raise ValueError("angles: expected finite numbers, got NaN or infinite entries")
    return _vortices(geometry, field)


@functools.partial(jax.jit, static_argnames="lattice", inline=True)
def _vortices(lattice: Lattice, angles: Array) -> Array:
    windings, is_whole = plaquette_windings(lattice, angles, (1, 0), (0, 1))
    return jnp.where(is_whole & jnp.isfinite(windings), windings, 0).astype(jnp.int32)
