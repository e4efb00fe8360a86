"""Connected clusters: of any graph, by hooking and pointer jumping; of a lattice, much faster, plane by plane."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_batching import custom_vmap

from jaxrg.checks import as_array, as_count, check_shape
from jaxrg.lattice.geometry import Lattice, as_flags, shift
from jaxrg.lattice.graphs import MAX_SITES, as_edges
from jaxrg.lattice.tiles import (
    Tiling,
    across_borders,
    border_bonds,
    border_labels,
    label_tiles,
    pack_bonds,
    sites_of_tiles,
    tile_cluster_of_sites,
)

# Each jump halves the depth of every tree. Three in a row cost less than testing after each whether another is needed,
# and leave so little depth that the next round of hooking finds nearly all its roots.
_JUMPS_PER_ROUND = 3


def cluster_labels(active: Array, edges: np.ndarray | Array, num_sites: int) -> Array:
    r"""Label the connected clusters of a graph by their smallest site.

    .. math:: \ell_i = \min \{ j : j \text{ is joined to } i \text{ by a path of active edges} \}

    Args:
        active: ``[num_edges]`` bool, whether each edge is a bond.
        edges: ``[num_edges, 2]`` integers, the two sites of each edge; loops and repeated edges are allowed.
        num_sites: number of sites.

    Returns:
        ``[num_sites]`` int32, the smallest site of the cluster each site belongs to.

    Raises:
        ValueError: arrays of another shape or type, an edge that leaves the graph, or too many sites for int32.

    Example:
        >>> cluster_labels(jnp.array([True, False, True]), np.array([[0, 1], [1, 2], [3, 2]]), 4).tolist()
        [0, 0, 2, 2]

    Reference:
        Shiloach & Vishkin, J. Algorithms 3, 57 (1982).
    """
    size = as_count("num_sites", num_sites)
    if size > MAX_SITES:
        raise ValueError(f"num_sites: expected at most {MAX_SITES} for labels of 32 bits, got {size}")
    pairs = as_edges("edges", edges, size, has_loops=True)
    return _label_graph(as_bonds("active", active, (pairs.shape[0],)), pairs, size)


@functools.partial(jax.jit, static_argnames="num_sites", inline=True)
def _label_graph(active: Array, edges: Array, num_sites: int) -> Array:
    first, second = edges[:, 0].astype(jnp.int32), edges[:, 1].astype(jnp.int32)

    def across(label: Array) -> tuple[Array, Array]:
        here, there = _at(label, first), _at(label, second)
        return here, jnp.where(active, there, here)

    return _join_trees(jnp.arange(num_sites, dtype=jnp.int32), across)


def lattice_cluster_labels(lattice: Lattice, active: Array) -> Array:
    """`cluster_labels` of the active bonds of a lattice, several times faster where it has two axes or more.

    Square planes are labelled as `square_cluster_labels` does it, then joined by the bonds that are left.

    Args:
        lattice: geometry.
        active: ``[num_directions, *shape]`` bool; entries beyond an open boundary are ignored.

    Returns:
        ``[*shape]`` int32, the smallest flat site index of the cluster each site belongs to.

    Raises:
        ValueError: bonds of another shape or type.
    """
    return _label_lattice(as_bonds("active", active, (len(lattice.bonds), *lattice.shape)), lattice)


@functools.partial(jax.jit, static_argnames="lattice", inline=True)
def _label_lattice(active: Array, lattice: Lattice) -> Array:
    ndim = lattice.ndim
    unit = [tuple(int(axis == d) for axis in range(ndim)) for d in range(ndim)]
    in_plane = [lattice.bonds.index(bond) for bond in unit[-2:] if bond in lattice.bonds]
    if ndim < 2 or len(in_plane) < 2:
        kept = np.flatnonzero(lattice.bonds_inside())
        return cluster_labels(active.reshape(-1)[kept], lattice.edges(), lattice.num_sites).reshape(lattice.shape)

    # Planes of the last two axes first: their sites are numbered in the same order as those of the lattice.
    down, right = (active[direction].reshape(-1, *lattice.shape[-2:]) for direction in in_plane)
    labels = _label_planes(right, down, (lattice.periodic[-2], lattice.periodic[-1]))
    plane_size = lattice.shape[-2] * lattice.shape[-1]
    labels = labels + plane_size * lax.broadcasted_iota(jnp.int32, labels.shape, 0)
    others = [direction for direction in range(len(lattice.bonds)) if direction not in in_plane]
    if not others:
        return labels.reshape(lattice.shape)
    is_bond = jnp.stack([active[direction] for direction in others])
    if not all(lattice.periodic):
        is_bond &= lattice.bonds_inside()[np.array(others)]

    def across(label: Array) -> tuple[Array, Array]:
        here = label.reshape(lattice.shape)
        there = jnp.stack([shift(lattice, here, lattice.bonds[direction]) for direction in others])
        here = jnp.broadcast_to(here, there.shape)
        return here.reshape(-1), jnp.where(is_bond, there, here).reshape(-1)

    return _join_trees(labels.reshape(-1), across).reshape(lattice.shape)


def square_cluster_labels(right: Array, down: Array, periodic: bool | Sequence[bool] = True) -> Array:
    r"""Label the connected clusters of a square lattice by their smallest site.

    .. math:: \ell_i = \min \{ j : j \text{ is joined to } i \text{ by a path of active bonds} \}, \qquad i = x L_2 + y

    Equal to :func:`cluster_labels` on the same bonds, and several times faster. The lattice is cut into tiles of
    16 × 16 sites. Inside a tile, blocks are merged pairwise from 1×1 to 1×2 to 2×2 and so on, one bond of the seam
    after the other: a bond between labels a < b turns b into a in both blocks. That is a fixed number of elementwise
    operations on bytes whatever the bonds are. Then trees are joined across the borders of tiles, and there only.
    A batch under ``vmap`` is more tiles.

    Args:
        right: ``[L_1, L_2]`` bool, bond between (x, y) and (x, y+1).
        down: ``[L_1, L_2]`` bool, bond between (x, y) and (x+1, y).
        periodic: one flag for both axes or one for each; along an open one the bonds of the last sites are ignored.

    Returns:
        ``[L_1, L_2]`` int32, the smallest flat site index of the cluster each site belongs to.

    Raises:
        ValueError: bonds that are not boolean matrices of one shape, or more sites in all than an int32 can number.

    Example:
        >>> bonds = jnp.array([[True, False, True], [False, False, False]])
        >>> square_cluster_labels(bonds, ~bonds, (False, False)).tolist()
        [[0, 0, 2], [3, 0, 5]]

    Reference:
        Flanigan & Tamayo, Physica A 215, 461 (1995), label parts of a lattice first and join their borders afterwards.
    """
    shape = as_array("right", right).shape
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"right: expected bonds [L_1, L_2], got shape {shape}")
    wraps = as_flags("periodic", periodic, 2)
    return _label_square(as_bonds("right", right, shape), as_bonds("down", down, shape), (wraps[0], wraps[1]))


@functools.partial(jax.jit, static_argnames="periodic", inline=True)
def _label_square(right: Array, down: Array, periodic: tuple[bool, bool]) -> Array:
    return _label_planes(right[None], down[None], periodic)[0]


def _label_planes(right: Array, down: Array, periodic: tuple[bool, bool]) -> Array:
    """Labels ``[num_planes, L_1, L_2]`` of square lattices that share no bonds; ``vmap`` adds to them."""

    @custom_vmap
    def label_stack(right: Array, down: Array) -> Array:
        return _label_stack(right, down, periodic)

    @label_stack.def_vmap
    def _(axis_size: int, in_batched: list[bool], *bonds: Array) -> tuple[Array, bool]:
        full = [
            bond if is_batched else jnp.broadcast_to(bond[None], (axis_size, *bond.shape))
            for bond, is_batched in zip(bonds, in_batched, strict=True)
        ]
        return label_stack(*(bond.reshape(-1, *bond.shape[2:]) for bond in full)).reshape(full[0].shape), True

    return label_stack(right, down)


def _label_stack(right: Array, down: Array, periodic: tuple[bool, bool]) -> Array:
    """Labels ``[num_lattices, L_1, L_2]`` of a stack of square lattices that share no bonds."""
    num_lattices, *sides = right.shape
    tiling = Tiling(num_lattices, (sides[0], sides[1]))
    if tiling.num_tiles * tiling.tile_size > MAX_SITES:
        raise ValueError(f"right: expected at most {MAX_SITES} sites in all, got bonds of shape {tuple(right.shape)}")
    bits = pack_bonds(right, down, periodic, tiling)
    local = label_tiles(bits, tiling)
    border = border_labels(local, tiling)
    is_bond = border_bonds(bits, tiling)
    tile = lax.broadcasted_iota(jnp.int32, (tiling.num_tiles, border.shape[-1]), 0).reshape(-1)
    cluster = tile * tiling.tile_size + border.reshape(-1).astype(jnp.int32)

    # All border sites of one cluster of a tile are one node: the first of them stands for it.
    slot = lax.broadcasted_iota(jnp.uint8, border.shape, 3).reshape(-1)
    first = jnp.full(tiling.num_tiles * tiling.tile_size, border.shape[-1], jnp.uint8)
    first = first.at[cluster].min(slot, mode="promise_in_bounds", wrap_negative_indices=False)
    node = tile * border.shape[-1] + _at(first, cluster).astype(jnp.int32)

    def across(label: Array) -> tuple[Array, Array]:
        here, there = across_borders(label.reshape(border.shape), tiling)
        return here.reshape(-1), jnp.where(is_bond, there, here).reshape(-1)

    root = _join_trees(node, across)

    # In a tile the smallest label is also the smallest site, and a cluster that reaches no border is final.
    sites = sites_of_tiles(tiling).reshape(-1)
    smallest = jnp.full(root.shape, MAX_SITES, jnp.int32)
    smallest = smallest.at[root].min(_at(sites, cluster), mode="promise_in_bounds", wrap_negative_indices=False)
    labels = sites.at[cluster].set(_at(smallest, root), mode="promise_in_bounds", wrap_negative_indices=False)
    return _at(labels, tile_cluster_of_sites(local, tiling))


def _join_trees(parent: Array, across: Callable[[Array], tuple[Array, Array]]) -> Array:
    """Join trees until both ends of every edge have one root, and point every node at its root.

    A round hooks every root onto the smallest label across its edges, then jumps pointers. Only roots are hooked, so no
    link is lost, and only onto smaller labels, so there are no cycles. While two ends differ, either a root is hooked
    or a path gets shorter, so the loop ends. The root of a tree is its smallest node.

    Args:
        parent: ``[num_nodes]`` int32 forest with ``parent[i] <= i``.
        across: ``here, there = across(label)``, the labels at the ends of every edge, equal where the edge is no bond.

    Returns:
        ``[num_nodes]`` int32, the root of every node.
    """

    def ends(parent: Array) -> tuple[Array, Array, Array]:
        here, there = across(parent)
        return parent, jnp.minimum(here, there), jnp.maximum(here, there)

    def join(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        parent, low, high = state
        target = jnp.where(_at(parent, high) == high, high, low)  # to write low into parent[low] changes nothing
        parent = parent.at[target].min(low, mode="promise_in_bounds", wrap_negative_indices=False)
        return ends(lax.fori_loop(0, _JUMPS_PER_ROUND, lambda _, parent: _at(parent, parent), parent))

    def jump(state: tuple[Array, Array]) -> tuple[Array, Array]:
        _, parent = state
        return parent, _at(parent, parent)

    parent = lax.while_loop(lambda state: jnp.any(state[1] != state[2]), join, ends(parent))[0]
    # The ends of all edges agree, yet some may still be more than one jump away from the root.
    return lax.while_loop(lambda state: jnp.any(state[0] != state[1]), jump, (parent, _at(parent, parent)))[1]


def _at(array: Array, index: Array) -> Array:
    """Elements at indices known to be in bounds, which saves clamping them."""
    return array.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def as_bonds(name: str, bonds: Any, shape: tuple[int, ...]) -> Array:
    """Booleans of this shape, whether each edge is a bond; or ValueError."""
    array = as_array(name, bonds)
    check_shape(name, array, shape)
    if array.dtype != jnp.bool_:
        raise ValueError(f"{name}: expected bool, got {array.dtype}")
    return array
