"""The table of samplers of fields and of the models they are held to; adding one is adding a row."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg import lattice, models, samplers

SQUARE, TRIANGULAR = lattice.hypercubic((4, 4)), lattice.triangular((3, 4), periodic=(True, False))
HEISENBERG_FIELD = np.random.default_rng(8).normal(size=(3, 4, 3)).astype(np.float32)


class Row(NamedTuple):
    """All that is known of a sampler."""

    make: Callable  # sampler = make(model)
    takes: str = "fields"  # or "reflections", "sites": the family of models it runs
    num_chains: int = 1


class Case(NamedTuple):
    """A model of one coupling, so that the table can change it."""

    make: Callable  # model = make(coupling)
    coupling: float
    sneak: str  # its leaf, for values that the constructor would refuse
    families: tuple[str, ...]


def _hmc(model):
    return samplers.hmc(model, 0.15, 4)


def _accelerated(model):
    geometry = lattice.hypercubic(model.shape[:2])
    return samplers.hmc(model, 0.2, 4, mass=lattice.laplacian_eigenvalues(geometry) + 1.5)


def _bare(model):
    return samplers.hmc(model.action, 0.15, 4, start=jnp.full(model.shape, 0.1))


def _mixed(model):
    return samplers.mixture([samplers.wolff_embedding(model), _hmc(model)], [0.5, 0.5])


def _sites_mixed(model):
    moves = [samplers.over_relaxation(model), samplers.heat_bath(model), samplers.wolff_embedding(model)]
    return samplers.replicas(samplers.mixture(moves, [0.4, 0.3, 0.3]), 2)


FREE = ("fields", "reflections", "free reflections")
FIELD_SAMPLERS = {
    "hmc": Row(_hmc),
    "hmc_accelerated": Row(_accelerated),
    "hmc_of_an_action": Row(_bare),
    "wolff_embedding": Row(samplers.wolff_embedding, "reflections"),
    "swendsen_wang_embedding": Row(samplers.swendsen_wang_embedding, "reflections"),
    "mixture": Row(_mixed, "free reflections"),
    "replicas": Row(lambda model: samplers.replicas(_hmc(model), 3), num_chains=3),
    "thin": Row(lambda model: samplers.thin(_hmc(model), 2)),
    "heat_bath": Row(samplers.heat_bath, "sites"),
    "metropolis": Row(samplers.metropolis, "sites"),
    "random_scan_metropolis": Row(samplers.random_scan_metropolis, "sites"),
    "over_relaxation": Row(samplers.over_relaxation, "sites"),
    "sites_mixture": Row(_sites_mixed, "sites", num_chains=2),
}
FIELD_MODELS = {
    "phi4": Case(lambda coupling: models.kappa_phi4(SQUARE, coupling, 0.5), 0.25, "kinetic", FREE),
    "complex_phi4": Case(lambda coupling: models.kappa_complex_phi4(SQUARE, coupling, 0.5), 0.3, "kinetic", FREE),
    "xy": Case(lambda coupling: models.XY(SQUARE, coupling), 0.8, "coupling", (*FREE, "sites")),
    "xy_field": Case(lambda coupling: models.XY(SQUARE, coupling, [0.2, 0.1]), 0.8, "coupling", (*FREE, "sites")),
    "heisenberg": Case(lambda coupling: models.Heisenberg(SQUARE, coupling), 0.8, "coupling", ("reflections", "sites")),
    "heisenberg_field": Case(
        lambda coupling: models.Heisenberg(TRIANGULAR, coupling, HEISENBERG_FIELD), 0.4, "coupling", ("sites",)
    ),
    "ising_dual": Case(lambda coupling: models.IsingDual(SQUARE, coupling), 0.3, "coupling", ("fields",)),
}


def model_of(name: str, shift: float = 0.0):
    """The model of a row, its coupling changed a little."""
    case = FIELD_MODELS[name]
    return case.make(jnp.float32(case.coupling + shift))


def with_leaf(name: str, value: float):
    """A model with a coupling that its constructor would refuse."""
    model = model_of(name)
    object.__setattr__(model, FIELD_MODELS[name].sneak, jnp.float32(value))
    return model


def pairs_of(names: tuple[str, ...] = tuple(FIELD_MODELS)) -> list[tuple[str, str]]:
    """Names of every sampler with every model that it takes."""
    return [
        (sampler, name)
        for sampler, row in FIELD_SAMPLERS.items()
        for name in names
        if row.takes in FIELD_MODELS[name].families
    ]


def configuration(field: jax.Array) -> jax.Array:
    return field
