"""Cluster labels against a union-find, on any graph and on square lattices of awkward shapes."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.lattice import (
    Lattice,
    cluster_labels,
    hypercubic,
    lattice_cluster_labels,
    square_cluster_labels,
    tiles,
    triangular,
)
from tests.rows import some_now

DENSITIES = (0.0, 0.05, 0.2, 0.35, 0.45, 0.5, 0.55, 0.65, 0.8, 0.95, 1.0)

label_open = jax.jit(partial(square_cluster_labels, periodic=(False, False)))  # compiled once for all the walks


def union_find(active, edges, num_sites):
    """Smallest site of every cluster, one bond after the other."""
    parent = list(range(num_sites))

    def root(site):
        while parent[site] != site:
            parent[site] = site = parent[parent[site]]
        return site

    for first, second in np.asarray(edges)[np.asarray(active)]:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return np.array([root(site) for site in range(num_sites)])


def square_edges(shape, periodic=(True, True)):
    """``[2, L_1, L_2, 2]`` ends of the right and the down bonds, and ``[2, L_1, L_2]`` whether they exist."""
    site = np.arange(np.prod(shape)).reshape(shape)
    edges = np.stack([np.stack([site, np.roll(site, -1, axis)], axis=-1) for axis in (1, 0)])
    x, y = np.indices(shape)
    return edges, np.stack([periodic[1] | (y < shape[1] - 1), periodic[0] | (x < shape[0] - 1)])


def square_union_find(right, down, periodic=(True, True)):
    edges, exists = square_edges(right.shape, periodic)
    active = np.stack([right, down]) & exists
    return union_find(active.reshape(-1), edges.reshape(-1, 2), right.size).reshape(right.shape)


def random_bonds(shape, seed, densities=DENSITIES):
    """``[2, num_densities, L_1, L_2]`` right and down bonds, the two axes of different densities."""
    rng = np.random.default_rng(seed)
    right = np.stack([rng.random(shape) < density for density in densities])
    down = np.stack([rng.random(shape) < min(1.0, 1.1 * density) for density in densities])
    return right, down


def path_bonds(path, shape):
    """Right and down bonds of a walk over neighbouring sites of an open lattice."""
    right, down = np.zeros(shape, bool), np.zeros(shape, bool)
    for (x, y), (to_x, to_y) in pairwise(path):
        assert abs(to_x - x) + abs(to_y - y) == 1
        (right if x == to_x else down)[min(x, to_x), min(y, to_y)] = True
    return right, down


def spiral(side):
    """All sites of a square, from a corner inwards."""
    turns, x, y, seen, path = [(0, 1), (1, 0), (0, -1), (-1, 0)], 0, 0, {(0, 0)}, [(0, 0)]
    turn = 0
    while len(path) < side * side:
        step_x, step_y = turns[turn % 4]
        ahead = (x + step_x, y + step_y)
        if ahead in seen or not (0 <= ahead[0] < side and 0 <= ahead[1] < side):
            turn += 1
            continue
        x, y = ahead
        seen.add(ahead)
        path.append(ahead)
    return path


def comb(side):
    """All sites of a square, up and down one column after the other: a path crosses every tile border many times."""
    return [(x if y % 2 == 0 else side - 1 - x, y) for y in range(side) for x in range(side)]


@pytest.mark.parametrize(("num_sites", "num_edges"), [(1, 2), (40, 60), (300, 500)])
def test_labels_of_random_graphs_are_those_of_union_find(num_sites, num_edges):
    rng = np.random.default_rng(num_sites)
    edges = rng.integers(0, num_sites, (num_edges, 2))  # loops and repeated edges included
    active = np.stack([rng.random(num_edges) < density for density in DENSITIES])
    labels = jax.jit(jax.vmap(lambda active: cluster_labels(active, edges, num_sites)))(active)
    assert labels.dtype == jnp.int32
    for row, found in zip(active, labels, strict=True):
        np.testing.assert_array_equal(found, union_find(row, edges, num_sites))


def test_labels_of_long_paths_in_any_order_of_sites():
    num_sites = 3000
    rng = np.random.default_rng(0)
    label = jax.jit(lambda active, edges: cluster_labels(active, edges, num_sites))
    forward = np.arange(num_sites)
    zigzag = np.stack([forward[: num_sites // 2], forward[::-1][: num_sites // 2]], axis=1).reshape(-1)
    for order in (forward, forward[::-1], zigzag, rng.permutation(num_sites), rng.permutation(num_sites)):
        edges = np.stack([order[:-1], order[1:]], axis=1)
        edges = edges[rng.permutation(len(edges))]
        whole, cut = np.ones(len(edges), bool), np.ones(len(edges), bool)
        cut[::700] = False
        assert not np.any(label(whole, edges))
        np.testing.assert_array_equal(label(cut, edges), union_find(cut, edges, num_sites))


def test_labels_of_stars_and_of_graphs_without_edges():
    centre_last = np.stack([np.arange(99), np.full(99, 99)], axis=1)
    assert not np.any(cluster_labels(jnp.ones(99, bool), centre_last, 100))
    none = cluster_labels(jnp.zeros(0, bool), np.zeros((0, 2), np.int32), 5)
    np.testing.assert_array_equal(none, np.arange(5))


SHAPES = [
    ((1, 1), (True, True)),
    ((1, 40), (True, True)),
    ((33, 1), (False, True)),
    ((2, 3), (True, True)),
    ((5, 16), (True, False)),
    ((20, 37), (True, True)),
    ((20, 37), (False, True)),
    ((17, 50), (False, False)),
    ((32, 48), (True, True)),
]


@pytest.mark.parametrize(("shape", "periodic"), some_now(SHAPES, SHAPES[0], SHAPES[4], SHAPES[6]))
def test_labels_of_square_lattices_are_those_of_union_find(shape, periodic):
    right, down = random_bonds(shape, seed=shape[1])
    labels = jax.jit(jax.vmap(partial(square_cluster_labels, periodic=periodic)))(right, down)
    assert labels.dtype == jnp.int32
    for index in range(len(DENSITIES)):
        np.testing.assert_array_equal(labels[index], square_union_find(right[index], down[index], periodic))


def test_tiles_with_every_pattern_of_bonds_inside_two_by_two_blocks():
    patterns = (np.arange(256)[:, None] >> np.arange(8)) & 1 != 0
    right, down = patterns[:, :4].reshape(-1, 2, 2), patterns[:, 4:].reshape(-1, 2, 2)
    labels = jax.jit(jax.vmap(square_cluster_labels))(right, down)
    for index in range(256):
        np.testing.assert_array_equal(labels[index], square_union_find(right[index], down[index]))


@pytest.mark.parametrize("walk", [spiral, comb], ids=["spiral", "comb"])
def test_labels_of_paths_that_wind_through_all_tiles(walk):
    side = 67
    path = walk(side)
    label = label_open
    right, down = path_bonds(path, (side, side))
    assert right.sum() + down.sum() == side * side - 1
    assert not np.any(label(right, down))
    # Numbered from the other end, the smallest site is reached last.
    flipped_right, flipped_down = np.roll(right[::-1, ::-1], -1, 1), np.roll(down[::-1, ::-1], -1, 0)
    assert not np.any(label(flipped_right, flipped_down))
    rng = np.random.default_rng(1)
    right, down = right & (rng.random(right.shape) < 0.998), down & (rng.random(down.shape) < 0.998)
    np.testing.assert_array_equal(label(right, down), square_union_find(right, down, (False, False)))


def test_long_chains_of_tiles_lose_no_link():
    """Three jumps shorten a chain of eight links to one, but leave nine at two: what then lags behind must catch up.

    Both clusters follow a row of tiles, each hooked onto the one before, to a last tile that is hooked through its
    first border site. Other border sites of that tile are one link further from the root.
    """
    shape, periodic = (32, 144), (True, False)
    right, down = np.zeros((2, 2, *shape), bool)
    right[0, 0, :127] = True  # eight tiles, and round the lattice to the ninth
    down[0, 31, 112] = True
    right[0, 31, 112:115] = True  # sites that only their own tile ties to the chain

    right[1, 1, 16:143] = True  # the same from the second tile on
    down[1, 0, [47, 128]] = True  # at 47 a site stands for its tile that no bond crosses the border from
    down[1, 31, 128] = True
    down[1, 20:31, 128] = True
    right[1, 20, :128] = True  # and a chain from the first tile that meets the last through a site that lags
    down[1, :20, 0] = True
    label = jax.jit(partial(square_cluster_labels, periodic=periodic))  # a batch would share its rounds
    first, second = (label(right[index], down[index]) for index in range(2))
    assert not np.any(first[31, 112:116])
    assert second[1, 16] == second[31, 128] == second[20, 127] == 0
    np.testing.assert_array_equal(first, square_union_find(right[0], down[0], periodic))
    np.testing.assert_array_equal(second, square_union_find(right[1], down[1], periodic))


def test_both_algorithms_agree_on_critical_bonds():
    shape = (150, 97)
    edges, _ = square_edges(shape)
    rng = np.random.default_rng(5)
    right, down = rng.random((2, *shape)) < 0.5
    active = jnp.stack([right, down]).reshape(-1)
    plain = cluster_labels(active, edges.reshape(-1, 2), right.size).reshape(shape)
    assert 100 < len(np.unique(plain)) < right.size / 2
    np.testing.assert_array_equal(jax.jit(square_cluster_labels)(right, down), plain)


GRIDS = {
    "square": hypercubic((3, 4), periodic=(True, False)),
    "triangular": triangular((3, 4)),
    "open triangular": triangular((19, 33), periodic=(False, True)),
    "chain": hypercubic((9,)),
    "cubic": hypercubic((5, 17, 6), periodic=(True, False, True)),
    "four axes": hypercubic((3, 2, 4, 3)),
    "other bonds": Lattice((6, 7), (True, False), ((0, 1), (2, 1))),
    "bonds in another order": Lattice((6, 7), (True, False), ((0, 1), (-1, 2), (1, 0))),
}


@pytest.mark.parametrize("name", some_now(GRIDS, *sorted(set(GRIDS) - {"cubic", "open triangular"})))
def test_bonds_of_a_lattice_label_as_its_edges_do(name):
    grid = GRIDS[name]
    active = np.random.default_rng(6).random((2, len(grid.bonds), *grid.shape)) < 0.25
    labels = jax.vmap(partial(lattice_cluster_labels, grid))(jnp.asarray(active))
    for bonds, found in zip(active, labels, strict=True):
        expected = union_find(bonds[grid.bonds_inside()], grid.edges(), grid.num_sites)
        np.testing.assert_array_equal(found, expected.reshape(grid.shape))
    with pytest.raises(ValueError, match="active: expected shape"):
        lattice_cluster_labels(grid, jnp.asarray(active[0, :0]))


def test_groups_of_tiles_that_do_not_divide_evenly(monkeypatch):
    monkeypatch.setattr(tiles, "_TILES_PER_GROUP", 4)  # five rows of three tiles, two lattices: the last group is short
    right, down = random_bonds((70, 45), seed=3, densities=(0.45, 0.55))
    labels = jax.jit(jax.vmap(lambda right, down: square_cluster_labels(right, down)))(right, down)
    for index in range(2):
        np.testing.assert_array_equal(labels[index], square_union_find(right[index], down[index]))


def test_vmap_folds_any_nesting_and_shared_bonds():
    right, down = random_bonds((6, 20), seed=8, densities=(0.4, 0.5, 0.6))
    grid = jax.jit(jax.vmap(jax.vmap(square_cluster_labels, (None, 0)), (0, None)))(right, down)
    assert grid.shape == (3, 3, 6, 20)
    for i in range(3):
        for j in range(3):
            np.testing.assert_array_equal(grid[i, j], square_union_find(right[i], down[j]))


def test_differentiation_and_scan_pass_through():
    weights = jnp.arange(24, dtype=jnp.float32).reshape(4, 6)
    right, down = random_bonds((4, 6), seed=2, densities=(0.5,))

    def largest_share(coupling):
        active = jnp.asarray(right[0]) & (coupling > 0)
        labels, _ = jax.lax.scan(
            lambda labels, _: (square_cluster_labels(active, down[0]), None), jnp.zeros((4, 6), jnp.int32), length=2
        )
        return jnp.sum(coupling * jnp.where(labels == 0, weights, jnp.zeros_like(weights)))

    expected = weights[square_union_find(right[0], down[0]) == 0].sum()
    assert float(jax.grad(largest_share)(jnp.ones((4, 6)))[0, 0]) == 0  # site 0 has weight 0
    assert float(jnp.sum(jax.grad(largest_share)(jnp.ones((4, 6))))) == float(expected)


@pytest.mark.parametrize("batch", [(), (3,)], ids=["one", "batch"])
def test_square_labels_lower_for_every_platform(batch):
    fn = square_cluster_labels if not batch else jax.vmap(square_cluster_labels)
    bonds = jax.ShapeDtypeStruct((*batch, 40, 33), jnp.bool_)
    exported = jax.export.export(jax.jit(fn), platforms=["cpu", "cuda", "tpu"])(bonds, bonds)
    assert exported.out_avals[0].shape == bonds.shape
    assert "custom_call" not in exported.mlir_module()


def test_graph_labels_lower_for_every_platform():
    edges = np.array([[0, 1], [1, 2], [2, 3]])
    export = jax.export.export(
        jax.jit(lambda active: cluster_labels(active, edges, 4)), platforms=["cpu", "cuda", "tpu"]
    )
    exported = export(jax.ShapeDtypeStruct((3,), jnp.bool_))
    assert exported.out_avals[0].shape == (4,)
    assert "custom_call" not in exported.mlir_module()


def test_graph_labels_refuse_what_does_not_fit():
    edges, active = np.array([[0, 1], [1, 2]]), jnp.ones(2, bool)
    with pytest.raises(ValueError, match=r"active: expected shape \(2,\), got \(3,\)"):
        cluster_labels(jnp.ones(3, bool), edges, 3)
    with pytest.raises(ValueError, match="active: expected bool, got int32"):
        cluster_labels(jnp.ones(2, jnp.int32), edges, 3)
    with pytest.raises(ValueError, match=r"edges: expected integers, got an array of shape \(2, 2\) and dtype float32"):
        cluster_labels(active, edges.astype(np.float32), 3)
    with pytest.raises(ValueError, match=r"edges: expected integers of shape \[num_edges, 2\], got int32 of \(2, 1\)"):
        cluster_labels(active, edges[:, :1], 3)
    with pytest.raises(ValueError, match="edges: expected sites 0 to 1, got 0 to 2"):
        cluster_labels(active, edges, 2)
    with pytest.raises(ValueError, match="edges: expected sites 0 to 2, got -1 to 1"):
        cluster_labels(active, edges - 1, 3)
    with pytest.raises(ValueError, match="num_sites: expected an integer >= 1, got 0"):
        cluster_labels(active, edges, 0)
    with pytest.raises(ValueError, match="num_sites: expected at most 2147483647"):
        cluster_labels(active, edges, 2**31)


def test_square_labels_refuse_what_does_not_fit():
    bonds = jnp.ones((3, 4), bool)
    with pytest.raises(ValueError, match=r"right: expected bonds \[L_1, L_2\], got shape \(12,\)"):
        square_cluster_labels(bonds.reshape(-1), bonds)
    with pytest.raises(ValueError, match=r"right: expected bonds \[L_1, L_2\], got shape \(0, 4\)"):
        square_cluster_labels(bonds[:0], bonds[:0])
    with pytest.raises(ValueError, match=r"down: expected shape \(3, 4\), got \(4, 3\)"):
        square_cluster_labels(bonds, bonds.T)
    with pytest.raises(ValueError, match="right: expected bool, got int8"):
        square_cluster_labels(bonds.astype(jnp.int8), bonds)
    with pytest.raises(ValueError, match=r"periodic: expected one flag or 2, one for each side, got 1"):
        square_cluster_labels(bonds, bonds, (True,))
    huge = jax.ShapeDtypeStruct((1 << 16, 1 << 15), jnp.bool_)
    with pytest.raises(ValueError, match="right: expected at most 2147483647 sites in all"):
        jax.eval_shape(square_cluster_labels, huge, huge)
