import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice

LATTICES = {
    "chain": lattice.hypercubic((5,)),
    "open_chain": lattice.hypercubic((5,), periodic=False),
    "square": lattice.hypercubic((4, 6)),
    "cylinder": lattice.hypercubic((3, 4), periodic=(False, True)),
    "cubic": lattice.hypercubic((3, 4, 2), periodic=(True, False, True)),
    "hypercubic": lattice.hypercubic((2, 3, 2, 3)),
    "triangular": lattice.triangular((4, 5)),
    "open_triangular": lattice.triangular((3, 4), periodic=False),
}


def neighbours_by_hand(geometry):
    """Every bond as a pair of sites, by a loop over sites and directions."""
    pairs = []
    for bond in geometry.bonds:
        for site in itertools.product(*map(range, geometry.shape)):
            other = [a + b for a, b in zip(site, bond, strict=True)]
            wrapped = [c % s if p else c for c, s, p in zip(other, geometry.shape, geometry.periodic, strict=True)]
            if all(0 <= c < s for c, s in zip(wrapped, geometry.shape, strict=True)):
                pairs.append(
                    (np.ravel_multi_index(site, geometry.shape), np.ravel_multi_index(wrapped, geometry.shape))
                )
    return np.array(pairs)


@pytest.mark.parametrize("name", LATTICES)
def test_edges_are_the_bonds_in_order(name):
    geometry = LATTICES[name]
    np.testing.assert_array_equal(geometry.edges(), neighbours_by_hand(geometry))
    assert geometry.num_bonds == len(geometry.edges())


@pytest.mark.parametrize("name", LATTICES)
def test_shift_brings_the_neighbour_and_zero_beyond_an_edge(name):
    geometry = LATTICES[name]
    values = np.arange(1, geometry.num_sites + 1).reshape(geometry.shape)
    for bond in geometry.bonds:
        shifted = np.asarray(lattice.shift(geometry, jnp.asarray(values), bond)).ravel()
        expected = np.zeros(geometry.num_sites, int)
        one = lattice.Lattice(geometry.shape, geometry.periodic, (bond,))
        for site, other in neighbours_by_hand(one):
            expected[site] = other + 1
        np.testing.assert_array_equal(shifted, expected)


def test_coordination_numbers():
    assert [
        LATTICES[name].coordination_number for name in ("chain", "square", "cubic", "hypercubic", "triangular")
    ] == [
        2,
        4,
        6,
        8,
        6,
    ]
    triangular = LATTICES["triangular"]
    counts = np.bincount(triangular.edges().ravel(), minlength=triangular.num_sites)
    assert set(counts) == {6}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: lattice.hypercubic((2, 2, 2, 2, 2)), r"shape: expected 1 to 4 sides, got 5"),
        (lambda: lattice.hypercubic(()), r"shape: expected 1 to 4 sides, got 0"),
        (lambda: lattice.hypercubic((0, 4)), r"shape: expected an integer >= 2, got 0"),
        (lambda: lattice.hypercubic((4, 1)), r"shape: expected an integer >= 2, got 1"),
        (lambda: lattice.hypercubic((4.0, 4)), r"shape: expected an integer >= 2, got 4.0"),
        (lambda: lattice.hypercubic((4, 4), periodic=(True,)), r"periodic: expected one flag or 2"),
        (lambda: lattice.triangular((4,)), r"shape: expected 2 sides, got 1"),
    ],
)
def test_bad_sides_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("block", [1, 2])
def test_blocks_round_trip(block):
    for shape in [(4,), (4, 6), (2, 4, 2), (2, 2, 4, 2)]:
        values = jnp.arange(np.prod(shape)).reshape(shape)
        blocks = lattice.to_blocks(values, block)
        assert blocks.shape == (*(side // block for side in shape), block ** len(shape))
        np.testing.assert_array_equal(lattice.from_blocks(blocks, block), values)


def test_a_block_holds_its_cell():
    values = jnp.arange(24).reshape(4, 6)
    assert lattice.to_blocks(values, 2)[1, 2].tolist() == [16, 17, 22, 23]


def test_blocks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"block: expected a divisor of every side of \(4, 6\), got 4"):
        lattice.to_blocks(jnp.zeros((4, 6)), 4)
    with pytest.raises(ValueError, match=r"blocks: expected a last axis of 2\*\*2 = 4 sites, got 3"):
        lattice.from_blocks(jnp.zeros((2, 2, 3)), 2)


@pytest.mark.parametrize(
    "geometry", [lattice.hypercubic((4, 3)), lattice.triangular((4, 5)), lattice.hypercubic((2, 2, 3))]
)
def test_plane_waves_have_the_eigenvalues_of_the_laplacian(geometry):
    laplacian = np.zeros((geometry.num_sites, geometry.num_sites))
    for first, second in geometry.edges():
        for a, b in ((first, second), (second, first)):
            laplacian[a, a] += 1
            laplacian[a, b] -= 1
    wave = np.zeros(geometry.shape, complex)
    wave[(1,) * geometry.ndim] = 1
    wave = np.fft.ifftn(wave).ravel()
    eigenvalues = lattice.laplacian_eigenvalues(geometry)
    np.testing.assert_allclose(laplacian @ wave, eigenvalues[(1,) * geometry.ndim] * wave, atol=1e-14)
    np.testing.assert_allclose(np.sort(eigenvalues, axis=None), np.linalg.eigvalsh(laplacian), atol=1e-12)
    with pytest.raises(ValueError, match="lattice: expected periodic sides"):
        lattice.laplacian_eigenvalues(lattice.hypercubic((4, 4), periodic=(True, False)))
