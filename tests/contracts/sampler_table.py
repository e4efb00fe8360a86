"""The table of samplers and of the small models they are held to; adding a sampler or a model is adding a row."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxrg import exact, lattice, models, random, samplers
from tests.contracts.skeleton_model import TripletRing
from tests.contracts.skeleton_sampler import independence
from tests.samplers import transition_matrices as matrices


class Row(NamedTuple):
    """All that is known of a sampler."""

    make: Callable  # sampler = make(model)
    matrix: Callable  # [2^N, 2^N] transition probabilities of one step, matrix(model)
    takes: str = "spins"  # or "models" of any sites, "pairs", "checkerboards": the family of models it runs
    is_reversible: bool = False  # detailed balance, beyond balance
    is_irreducible: bool = True  # on every lattice at every temperature
    num_chains: int = 1


class Case(NamedTuple):
    """A model whose every state can be enumerated, and the families it belongs to."""

    model: object
    families: tuple[str, ...] = ("models", "spins")


def _mixture_matrix(model) -> np.ndarray:
    return 0.3 * matrices.heat_bath(model) + 0.7 * matrices.wolff(model)


def _packed(make: Callable) -> Callable:
    return lambda model: make(model, num_chains=32)


SAMPLERS = {
    "heat_bath": Row(samplers.heat_bath, matrices.heat_bath, "models"),
    "metropolis": Row(samplers.metropolis, matrices.metropolis, "models", is_irreducible=False),
    "random_scan_metropolis": Row(
        samplers.random_scan_metropolis, matrices.random_scan_metropolis, "models", is_reversible=True
    ),
    "swendsen_wang": Row(samplers.swendsen_wang, matrices.swendsen_wang, "pairs", is_reversible=True),
    "wolff": Row(samplers.wolff, matrices.wolff, "pairs", is_reversible=True),
    "multispin_heat_bath": Row(
        _packed(samplers.multispin_heat_bath),
        functools.partial(matrices.multispin, "heat_bath"),
        "checkerboards",
        num_chains=32,
    ),
    "multispin_metropolis": Row(
        _packed(samplers.multispin_metropolis),
        functools.partial(matrices.multispin, "metropolis"),
        "checkerboards",
        is_irreducible=False,
        num_chains=32,
    ),
    "multispin_light": Row(
        lambda model: samplers.multispin_heat_bath(model, num_chains=32, generator=random.light_bits),
        functools.partial(matrices.multispin, "heat_bath"),
        "checkerboards",
        num_chains=32,
    ),
    "mixture": Row(
        lambda model: samplers.mixture([samplers.heat_bath(model), samplers.wolff(model)], [0.3, 0.7]),
        _mixture_matrix,
        "pairs",
    ),
    "replicas": Row(
        lambda model: samplers.replicas(samplers.heat_bath(model), 3), matrices.heat_bath, "models", num_chains=3
    ),
    "skeleton": Row(independence, matrices.independence, is_reversible=True),
}

OPEN = lattice.hypercubic((3, 2), periodic=False)
OPEN_3X3 = lattice.hypercubic((3, 3), periodic=False)
TRIANGLES = np.array([[0, 1], [1, 2], [2, 0], [2, 3], [3, 4], [4, 2]])
DENSE = np.array([[0, 0.4, -0.3, 0.1], [0.4, 0, 0.5, -0.2], [-0.3, 0.5, 0, 0.6], [0.1, -0.2, 0.6, 0]], np.float32)
PAIRS, PACKABLE = ("models", "spins", "pairs"), ("models", "spins", "pairs", "checkerboards")
POTTS, CLOCK = ("models", "pairs"), ("models",)
RING, RECTANGLE = lattice.hypercubic((4,)), lattice.hypercubic((2, 2), periodic=(True, False))
MODELS = {
    "ising_3x2_open_field": Case(models.Ising(OPEN, 0.4, 0.2), PACKABLE),
    "double_bonds": Case(models.Ising(lattice.hypercubic((2, 2)), 0.3), PACKABLE),
    "glass_3x2": Case(models.plus_minus_glass(jax.random.key(5), OPEN, 0.6), PAIRS),
    "antiferromagnetic_ring": Case(models.Ising(lattice.hypercubic((5,)), -0.5, [0.3, 0.0, -0.2, 0.1, 0.4]), PAIRS),
    "triangles": Case(models.sparse_pairs(TRIANGLES, [0.5, -0.3, 0.2, 0.7, 0.4, -0.6], 0.1, num_sites=5), PAIRS),
    "dense": Case(models.dense_pairs(DENSE, [0.1, -0.3, 0.2, 0.0]), PAIRS),
    "skeleton": Case(TripletRing(6, 0.4)),
    "potts_ring": Case(models.Potts(RING, 3, 0.8), POTTS),
    "potts_field": Case(models.Potts(RECTANGLE, 3, 0.6, [0.3, -0.2, 0.0]), POTTS),
    "clock_triangle": Case(models.Clock(lattice.hypercubic((3,)), 4, 0.7, [0.2, 0.3]), CLOCK),
}
LARGER = {
    "ising_3x3_open": Case(models.Ising(OPEN_3X3, exact.critical_coupling), PAIRS),
    "glass_3x3": Case(models.gaussian_glass(jax.random.key(6), OPEN_3X3, 0.5), PAIRS),
}
FREE = Case(models.Ising(lattice.hypercubic((2, 2)), 0.0), PACKABLE)


def pairs_of(cases: dict[str, Case]) -> list[tuple[str, str]]:
    """Names of every sampler with every model that it takes."""
    return [(name, case) for name, row in SAMPLERS.items() for case in cases if row.takes in cases[case].families]
