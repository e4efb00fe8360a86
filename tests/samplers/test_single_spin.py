"""A sweep of a dense model, site by site, against plain NumPy; sublattices; models that break what they promise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, random, samplers
from jaxrg.samplers.sublattices import sublattice
from tests.contracts.skeleton_model import TripletRing

COUPLINGS = np.array([[0, 0.4, -0.3, 0.1], [0.4, 0, 0.5, -0.2], [-0.3, 0.5, 0, 0.6], [0.1, -0.2, 0.6, 0]], np.float32)
FIELD = np.array([0.1, -0.3, 0.2, 0.0], np.float32)


@pytest.mark.parametrize("name", ["heat_bath", "metropolis"])
def test_every_site_of_a_dense_model_sees_the_new_spins_before_it(name):
    sampler = getattr(samplers, name)(models.dense_pairs(COUPLINGS, FIELD))
    state = sampler.init(jax.random.key(0))
    spins = np.asarray(state.spins, np.float32)
    step = jax.jit(sampler.step)
    for number in range(10):
        key = jax.random.fold_in(jax.random.key(3), number)
        for site in range(4):
            field = COUPLINGS[site] @ spins + FIELD[site]
            here = jnp.uint32(site)
            if name == "heat_bath":
                spins[site] = 1 if random.bernoulli_logit(key, here, 2 * field) else -1
            elif random.bernoulli(key, here, np.exp(-max(2 * spins[site] * field, np.float32(0)))):
                spins[site] = -spins[site]
        state, _ = step(jax.random.key(3), state)
        np.testing.assert_array_equal(state.spins, spins)


WRONG = {
    "local_field": (
        lambda self, spins: jnp.zeros(3),
        r"model.local_field: expected floats of shape \(6,\), got float32 of",
    ),
    "hamiltonian": (lambda self, spins: jnp.sum(spins), r"model.hamiltonian: expected floats of shape \(\), got int"),
    "colours": (property(lambda self: np.zeros(3, int)), r"model.colours: expected shape \(6,\), got \(3,\)"),
}


@pytest.mark.parametrize("member", WRONG)
def test_members_of_a_model_that_do_not_fit_its_shape_are_refused(member):
    found, message = WRONG[member]
    with pytest.raises(ValueError, match=message):
        samplers.heat_bath(changed_ring(member, found))


def changed_ring(member, found):
    kind = dataclasses.dataclass(frozen=True)(type("Wrong", (TripletRing,), {member: found}))
    jax.tree_util.register_dataclass(kind, data_fields=["coupling"], meta_fields=["num_sites"])
    return kind(6, 0.4)


def test_classes_that_old_jax_takes_for_one_are_checked_each_by_itself():
    for size in range(7, 87):
        with pytest.raises(ValueError, match=rf"local_field: expected .* float32 of shape \({size},\)"):
            samplers.heat_bath(changed_ring("local_field", lambda self, spins, size=size: jnp.zeros(size)))


LATTICES = {
    "square": (lattice.hypercubic((4, 6)), True),
    "open_strip": (lattice.hypercubic((3, 4), periodic=(False, True)), True),
    "ring": (lattice.hypercubic((6,)), True),
    "cube": (lattice.hypercubic((2, 4, 4)), True),
    "triangular": (lattice.triangular((3, 6)), True),
    "odd_ring": (lattice.hypercubic((5,)), False),
    "odd_torus": (lattice.hypercubic((3, 5)), False),
}


@pytest.mark.parametrize("name", LATTICES)
def test_a_sublattice_is_packed_where_it_can_be_and_its_sites_alone_change(name):
    grid, is_packed = LATTICES[name]
    colours, num_colours = lattice.sublattice_colouring(grid), int(lattice.sublattice_colouring(grid).max()) + 1
    values = jnp.arange(2 * grid.num_sites, dtype=jnp.int32).reshape(2, *grid.shape)
    for colour in range(num_colours):
        here = sublattice(colours, num_colours, jnp.int32(colour))
        packed = here.pack(values)
        found = np.asarray(here.unpack(-packed, values))
        np.testing.assert_array_equal(found, np.where(colours == colour, -values, values))
        if is_packed:
            np.testing.assert_array_equal(np.ravel(packed), np.ravel(values[:, colours == colour]))
        else:
            assert packed.shape == values.shape
