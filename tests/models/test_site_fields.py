"""Fields of sites against loops over sites, and sums against what models report of whole configurations."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models

LATTICES = {
    "torus": lattice.hypercubic((4, 5)),
    "mixed": lattice.hypercubic((3, 4), periodic=(True, False)),
    "open triangular": lattice.triangular((4, 4), periodic=False),
    "cube": lattice.hypercubic((2, 3, 3), periodic=False),
}
FEW = [name if name == "mixed" else pytest.param(name, marks=pytest.mark.slow) for name in LATTICES]


def spins_of(shape, seed=0):
    return np.random.default_rng(seed).choice([-1, 1], shape).astype(np.int8)


@pytest.mark.parametrize("name", FEW)
def test_walls_and_clusters_equal_those_of_the_edges(name):
    geometry = LATTICES[name]
    spins = spins_of(geometry.shape)
    flat, edges = spins.ravel(), geometry.edges()
    unlike = np.zeros(flat.size, int)
    for i, j in edges:
        unlike[[i, j]] += flat[i] != flat[j]
    np.testing.assert_array_equal(np.ravel(models.unlike_neighbours(geometry, spins)), unlike)
    cluster = np.arange(flat.size)
    for _ in range(flat.size):
        for i, j in edges:
            if flat[i] == flat[j]:
                cluster[[i, j]] = cluster[[i, j]].min()
    sizes = np.bincount(cluster, minlength=flat.size)
    np.testing.assert_array_equal(np.ravel(models.largest_cluster(geometry, spins)), cluster == sizes.argmax())


@pytest.mark.parametrize("name", FEW)
def test_energies_add_up_to_the_hamiltonian(name):
    geometry = LATTICES[name]
    field = jnp.asarray(np.random.default_rng(1).normal(size=geometry.shape), jnp.float32)
    spins = spins_of(geometry.shape)
    model = models.Ising(geometry, 0.4, field)
    total = np.asarray(models.site_energies(model, spins), np.float64).sum()
    np.testing.assert_allclose(total, model.hamiltonian(spins), rtol=1e-5)


def test_energy_without_a_field_is_that_of_unlike_neighbours():
    geometry = LATTICES["torus"]
    spins = spins_of(geometry.shape)
    energies = models.site_energies(models.Ising(geometry, 1.0), spins)
    np.testing.assert_array_equal(energies, models.unlike_neighbours(geometry, spins).astype(jnp.float32) - 2)


@pytest.mark.parametrize("name", ["torus", "mixed"])
def test_vortices_are_windings_of_plaquettes(name):
    geometry = LATTICES[name]
    angles = np.random.default_rng(2).uniform(-9, 9, geometry.shape)
    found = np.asarray(models.vortices(geometry, angles))
    for i, j in itertools.product(*map(range, geometry.shape)):
        corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1), (i, j)]
        if any(not wrap and c >= side for corner in corners
               for c, side, wrap in zip(corner, geometry.shape, geometry.periodic, strict=True)):  # fmt: skip
            assert found[i, j] == 0
            continue
        values = [angles[tuple(np.mod(corner, geometry.shape))] for corner in corners]
        steps = [math.remainder(b - a, 2 * math.pi) for a, b in itertools.pairwise(values)]
        assert found[i, j] == round(sum(steps) / (2 * math.pi))
    assert set(np.unique(found)) == {-1, 0, 1}
    density = models.XY(geometry, 1.0).observables(jnp.asarray(angles, jnp.float32)).vortex_density
    num_plaquettes = lattice.inside(geometry, (1, 1)).sum()
    assert np.abs(found).sum() / num_plaquettes == pytest.approx(float(density))
    assert name != "torus" or found.sum() == 0


@pytest.mark.slow
def test_fields_of_a_batch_are_those_of_each():
    geometry = LATTICES["torus"]
    batch = np.stack([spins_of(geometry.shape, seed) for seed in range(3)])
    for fn in (models.unlike_neighbours, models.largest_cluster):
        found = jax.vmap(lambda spins, fn=fn: fn(geometry, spins))(jnp.asarray(batch))
        np.testing.assert_array_equal(found, np.stack([fn(geometry, spins) for spins in batch]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.unlike_neighbours((4, 5), spins_of((4, 5))), "lattice: expected a Lattice"),
        (lambda: models.largest_cluster(LATTICES["torus"], np.zeros((4, 5))), "spins: expected spins"),
        (lambda: models.site_energies(models.Phi4, spins_of((4, 5))), "model: expected pairs of spins"),
        (lambda: models.vortices(LATTICES["cube"], np.zeros((2, 3, 3))), "lattice: expected two axes, got 3"),
        (lambda: models.vortices(LATTICES["torus"], np.zeros((4, 4))), "angles: expected shape"),
        (lambda: models.vortices(LATTICES["torus"], np.full((4, 5), np.nan)), "angles: expected finite numbers"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
