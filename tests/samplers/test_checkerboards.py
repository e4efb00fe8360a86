"""Sweeps of a colour at a time against those of all sites, whose local field is asked of the model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers
from jaxrg.base import Status
from jaxrg.models.sites import Circle
from jaxrg.samplers import checkerboards

DATA = {"data_fields": ("coupling", "field"), "meta_fields": ("lattice",)}


@models.pytree(**DATA)
@dataclasses.dataclass(frozen=True)
class OtherXY(models.XY):
    """A local field of its own, which happens to be the same."""

    def local_field(self, field):
        return super().local_field(field)


@models.pytree(**DATA)
@dataclasses.dataclass(frozen=True)
class OtherHeisenberg(models.Heisenberg):
    def local_field(self, field):
        return super().local_field(field)


class Half(Circle):
    """Angles that are never negative."""


@models.pytree(**DATA)
@dataclasses.dataclass(frozen=True)
class HalfXY(models.XY):
    sites = Half()


@models.pytree(**DATA)
@dataclasses.dataclass(frozen=True)
class OtherVectors(models.Heisenberg):
    def _vectors(self, field):
        return -super()._vectors(field)


LATTICES = [
    lattice.hypercubic((40, 64)),  # enough sites of a colour for lanes
    lattice.hypercubic((4, 6)),
    lattice.hypercubic((3, 4), periodic=False),
    lattice.hypercubic((2, 2)),
    lattice.hypercubic((2, 4, 4), periodic=(True, False, True)),
    lattice.hypercubic((6,)),
]
sweep = jax.jit(lambda sampler, key, state: sampler.step(key, state))


@pytest.mark.parametrize("grid", LATTICES, ids=lambda grid: str(grid.shape))
@pytest.mark.parametrize("make", [samplers.heat_bath, samplers.over_relaxation])
@pytest.mark.parametrize(("kind", "other", "size"), [(models.XY, OtherXY, 2), (models.Heisenberg, OtherHeisenberg, 3)])
def test_a_colour_at_a_time_is_what_all_sites_give(kind, other, size, make, grid):
    field = np.random.default_rng(0).normal(scale=0.3, size=(*grid.shape, size)).astype(np.float32)
    field = None if grid.ndim == 1 else field[(0,) * grid.ndim] if grid.ndim == 3 else field
    packed, plain = make(kind(grid, 0.7, field)), make(other(grid, 0.7, field))
    start = packed.init(jax.random.key(1))
    found, info = sweep(packed, jax.random.key(2), start)
    expected, wanted = sweep(plain, jax.random.key(2), start)
    difference = found.field - expected.field
    np.testing.assert_allclose(jnp.sin(difference / 2) if size == 2 else difference, 0, atol=2e-5)
    assert float(info.acceptance[0]) == float(wanted.acceptance[0]) == 1


def test_what_goes_a_colour_at_a_time():
    def is_one(model):
        return checkerboards.is_checkerboard_of_vectors(model)

    assert is_one(models.XY(LATTICES[0], 0.5))
    assert is_one(models.Heisenberg(LATTICES[0], 0.5))
    assert not is_one(OtherXY(LATTICES[0], 0.5))
    assert not is_one(HalfXY(LATTICES[0], 0.5))
    assert not is_one(OtherVectors(LATTICES[0], 0.5))
    assert not is_one(models.XY(lattice.Lattice((4, 4), (True, True), ((1, 0), (1, 0), (0, 1))), 0.5))
    assert not is_one(OtherHeisenberg(LATTICES[0], 0.5))
    assert not is_one(models.Heisenberg(lattice.triangular((4, 4)), 0.5))
    assert not is_one(models.Heisenberg(lattice.hypercubic((3, 4)), 0.5))


@pytest.mark.parametrize("make", [samplers.heat_bath, samplers.over_relaxation])
def test_a_coupling_that_is_not_finite_is_reported(make):
    model = models.XY(LATTICES[1], 0.5)
    object.__setattr__(model, "coupling", jnp.float32(jnp.inf))
    sampler = make(model)
    for step in (sampler.step, lambda key, state: sweep(sampler, key, state)):
        _, info = step(jax.random.key(1), sampler.init(jax.random.key(0)))
        assert info.status.tolist() == [Status.NOT_FINITE]


@pytest.mark.parametrize("kind", [models.XY, models.Heisenberg])
def test_strong_couplings_do_not_overflow(kind):
    model = kind(LATTICES[1], 1e25)
    sampler = samplers.over_relaxation(model)
    state = sampler.init(jax.random.key(0))
    after, info = sweep(sampler, jax.random.key(1), state)
    assert info.status.tolist() == [0]
    np.testing.assert_allclose(model.observables(after.field).energy, model.observables(state.field).energy, atol=1e-5)


def test_in_double_precision(x64):
    model = models.XY(LATTICES[1], jnp.float64(0.7))
    sampler = samplers.over_relaxation(model)
    state = sampler.init(jax.random.key(0))
    after, _ = sampler.step(jax.random.key(1), state)
    assert after.field.dtype == jnp.float64
    np.testing.assert_allclose(model.action(after.field), model.action(state.field), rtol=1e-12)
