"""Words of chains: layout, neighbours and counting against plain arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice
from jaxrg.lattice import shift
from jaxrg.samplers import packed


def test_counting_and_choosing_agree_with_sums():
    generator = np.random.default_rng(4)
    for size in range(1, 9):
        words = [jnp.asarray(generator.integers(0, 2**32, 40, dtype=np.uint32)) for _ in range(size)]
        outcomes = [jnp.asarray(generator.integers(0, 2**32, 40, dtype=np.uint32)) for _ in range(size + 1)]
        digits, unpaired = packed.count_ones(words, [None] * size)
        chosen = np.asarray(packed.choose(digits, unpaired, [outcomes]))
        for lane in range(32):
            count = sum((np.asarray(word) >> lane) & 1 for word in words)
            assert np.array_equal(sum(((np.asarray(d) >> lane) & 1) << k for k, d in enumerate(digits)), count)
            expected = np.stack(outcomes)[count, np.arange(40)]
            assert np.array_equal((chosen >> lane) & 1, (expected >> lane) & 1)


@pytest.mark.parametrize("shape", [(1, 5), (2, 31), (3, 7, 31)])
def test_lanes_are_counted(shape):
    words = np.random.default_rng(6).integers(0, 2**32, shape, dtype=np.uint32)
    expected = [((words >> lane) & 1).reshape(shape[0], -1).sum(axis=1) for lane in range(32)]
    assert np.array_equal(packed.count_lanes(jnp.asarray(words)), np.transpose(expected))


@pytest.mark.parametrize(
    ("shape", "periodic"), [((4, 6), True), ((2, 2), (True, False)), ((2, 3, 4), (True, False, False)), ((6,), True)]
)
def test_neighbours_are_those_of_the_lattice(shape, periodic):
    grid = lattice.hypercubic(shape, periodic=periodic)
    spins = np.random.default_rng(5).integers(0, 2**32, shape, dtype=np.uint32)
    compact = packed.compact(jnp.asarray(spins)[None])
    assert [words.shape for words in compact] == [(1, *packed.Layout(grid, 32).compact_shape)] * 2
    assert np.array_equal(packed.expand(*compact)[0], spins)
    expected, present = [], []
    for bond in grid.bonds:
        for sign in (1, -1):
            offset = tuple(sign * step for step in bond)
            expected.append(packed.compact(shift(grid, jnp.asarray(spins), offset)[None]))
            present.append(packed.compact(shift(grid, jnp.full(shape, 0xFFFFFFFF, jnp.uint32), offset)[None]))
    sites = packed.compact(jnp.arange(grid.num_sites, dtype=jnp.uint32).reshape(shape)[None])
    for colour in range(2):
        layout = packed.Layout(grid, 32)
        values, missing = jax.jit(packed.neighbours, static_argnums=0)(layout, compact[1 - colour], jnp.uint32(colour))
        ones = [jnp.zeros_like(values[0]) if mask is None else mask for mask in missing]
        found = np.stack([value & ~mask for value, mask in zip(values, ones, strict=True)])
        wanted = np.stack([words[colour] for words in expected])
        assert np.array_equal(np.sort(found, axis=0), np.sort(wanted, axis=0))
        assert np.array_equal(
            np.sort(~np.stack(ones), axis=0), np.sort(np.stack([mask[colour] for mask in present]), axis=0)
        )
        indices, words = packed.site_indices(1, packed.Layout(grid, 32).compact_shape, jnp.uint32(colour))
        assert np.array_equal(indices, sites[colour])
        assert not np.any(words)


@pytest.mark.parametrize(
    ("shape", "periodic", "num_chains"),
    [((4, 6), True, 64), ((2, 3, 4), (True, False, False), 32), ((6,), True, 32), ((128, 4), (False, True), 3)],
)
def test_an_array_that_is_updated_has_the_neighbours_of_one_that_is_joined(shape, periodic, num_chains):
    layout = packed.Layout(lattice.hypercubic(shape, periodic=periodic), num_chains)
    size = (layout.num_words, *layout.compact_shape)
    words = jnp.asarray(np.random.default_rng(7).integers(0, 2**32, size, dtype=np.uint32))
    updated, joined = (jax.jit(make, static_argnums=0)(layout, words) for make in (packed._updated, packed._joined))
    for axis in range(len(shape)):
        for step in (-1, 0, 1):
            assert np.array_equal(packed._moved(updated, axis, step), packed._moved(joined, axis, step))
    assert np.array_equal(packed._moved(joined, 0, 0), words)


def test_missing_neighbours_cancel_in_pairs():
    ones, zero = jnp.full((1,), 0xFFFFFFFF, jnp.uint32), jnp.zeros((1,), jnp.uint32)
    for missing, count, odd in (
        ([1, 0, 0], 2, True),
        ([1, 1, 0], 2, False),
        ([1, 1, 1], 1, True),
        ([0, 0, 0], 3, False),
    ):
        masks = [ones if gone else zero for gone in missing]
        digits, unpaired = packed.count_ones([ones] * 3, masks)
        assert sum((int(digit[0]) & 1) << k for k, digit in enumerate(digits)) == count
        assert bool(unpaired[0]) is odd
