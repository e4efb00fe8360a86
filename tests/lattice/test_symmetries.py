"""Random symmetries against all of them, made one by one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models

LATTICES = {
    "chain": (lattice.hypercubic((5,)), 2 * 5),
    "open chain": (lattice.hypercubic((5,), periodic=False), 2),
    "square": (lattice.hypercubic((3, 3)), 8 * 9),
    "rectangle": (lattice.hypercubic((3, 4)), 4 * 12),
    "open square": (lattice.hypercubic((3, 3), periodic=False), 8),
    "strip": (lattice.hypercubic((3, 3), periodic=(True, False)), 4 * 3),
    "pairs": (lattice.hypercubic((2, 2)), 8),
    "four dimensions": (lattice.hypercubic((1, 2, 1, 3), periodic=(False, True, False, True)), 12),
    "cube": (lattice.hypercubic((3, 3, 3)), 48 * 27),
    "triangular": (lattice.triangular((4, 4)), 12 * 16),
    "triangular strip": (lattice.triangular((3, 4)), 2 * 12),
}


@pytest.mark.parametrize("name", LATTICES)
def test_every_symmetry_is_one_and_all_are_as_likely(name):
    place, order = LATTICES[name]
    num = 40 * order
    sites = np.arange(place.num_sites, dtype=np.int32).reshape(place.shape)
    found = lattice.random_symmetry(jax.random.key(2), place, jnp.broadcast_to(sites, (num, *place.shape)))
    tables, counts = np.unique(np.asarray(found).reshape(num, -1), axis=0, return_counts=True)
    assert len(tables) == order
    chi_squared = np.sum((counts - 40) ** 2 / 40)
    assert abs(chi_squared - (order - 1)) < 4 * np.sqrt(2 * (order - 1))
    edges = place.edges()
    bonds = sorted(map(sorted, edges.tolist()))
    for table in tables[:: max(1, order // 50)]:
        assert sorted(map(sorted, table[edges].tolist())) == bonds


def test_the_square_has_all_its_shifts_turns_and_mirrors():
    field = np.random.default_rng(0).normal(size=(3, 3)).astype("f")
    images = set()
    for rows, columns, quarters, is_mirrored in itertools.product(range(3), range(3), range(4), range(2)):
        moved = np.rot90(np.roll(field, (rows, columns), (0, 1)), quarters)
        images.add((moved[::-1] if is_mirrored else moved).tobytes())
    found = lattice.random_symmetry(
        jax.random.key(0), lattice.hypercubic((3, 3)), jnp.broadcast_to(field, (40, 50, 3, 3))
    )
    assert {image.tobytes() for image in np.asarray(found).reshape(-1, 3, 3)} == images


def test_energies_stay_and_components_move_together():
    model = models.Ising(lattice.triangular((4, 4)), 0.3)
    spins = jnp.asarray(np.random.default_rng(1).choice([-1.0, 1.0], (20, 4, 4)), "f")
    moved = lattice.random_symmetry(jax.random.key(3), model.lattice, spins)
    assert not np.array_equal(moved, spins)
    energy = jax.vmap(model.hamiltonian)
    np.testing.assert_allclose(energy(moved), energy(spins), rtol=1e-6)
    pair = jnp.stack([spins, 2 * spins], axis=-1)

    def one(part):
        return lattice.random_symmetry(jax.random.key(3), model.lattice, part)

    found = jax.vmap(one, -1, -1)(pair)
    np.testing.assert_array_equal(found, jnp.stack([moved, 2 * moved], axis=-1))


def test_refused():
    square = lattice.hypercubic((3, 3))
    with pytest.raises(ValueError, match=r"values: expected \[..., 3, 3\], got"):
        lattice.random_symmetry(jax.random.key(0), square, jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="key"):
        lattice.random_symmetry(jnp.zeros(2), square, jnp.zeros((3, 3)))
    with pytest.raises(ValueError, match="lattice"):
        lattice.random_symmetry(jax.random.key(0), (3, 3), jnp.zeros((3, 3)))
