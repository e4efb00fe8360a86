"""Monte Carlo renormalisation: ladders of operators, their moments, and what follows from them."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calls import Call
from jaxrg import lattice, models, rg, samplers
from jaxrg.rg import monte_carlo

RING = lattice.hypercubic((9,))
BASIS = lattice.operators(RING, {"near": [(0,), (1,)], "far": [(0,), (2,)]})
NEAR = lattice.operators(RING, {"near": [(0,), (1,)]})
COARSE = lattice.operators(lattice.hypercubic((3,)), {"near": [(0,), (1,)]})
SLOW = "a driver: its chain, what is measured first, and a part of the run are programs of their own"


def blocked(key, spins):
    return rg.majority(None, spins, (3,))


LADDER = monte_carlo.ladder(NEAR, blocked)


def coupling(seed: int, size: int = 1):
    return jax.random.uniform(jax.random.key(seed), (size,))


def model(seed: int) -> models.OperatorModel:
    return models.OperatorModel(NEAR, coupling(seed))


def spins(seed: int, *shape: int):
    return jax.random.rademacher(jax.random.key(seed), shape, jnp.int8)


def random_moments(seed: int) -> monte_carlo.Moments:
    values = np.random.default_rng(seed).normal(size=(4, 50, 6))
    values[..., 3:] += values[..., :3]
    covariances = np.stack([np.cov(part.T, bias=True) for part in values]).reshape(4, 3, 2, 3, 2)
    return monte_carlo.Moments(np.full(4, 50), values.mean(axis=1).reshape(4, 3, 2), covariances)


def random_covariances(seed: int) -> monte_carlo.Covariances:
    axes = np.random.default_rng(seed).normal(size=(4, 3, 3))
    near = np.stack([np.eye(3) + 0.01 * (part + part.T) for part in axes])
    return monte_carlo.Covariances(np.array([1, 2]), np.ones(4), np.zeros((4, 3)), np.stack([near, near / 2], axis=1))


def chain(seed: int) -> dict:
    sampler = samplers.replicas(samplers.heat_bath(models.Ising(RING, coupling(seed)[0])), 4)
    return {"key": jax.random.key(seed), "sampler": sampler, "state": sampler.init(jax.random.key(seed))}


def variational(seed: int) -> dict:
    counts = {"num_chains": 4, "num_iterations": 2, "num_sweeps": 2, "num_steps": 16, "num_bins": 2}
    return {"key": jax.random.key(seed), "model": model(seed), "operators": NEAR} | counts


def jacobian(seed: int) -> monte_carlo.Jacobian:
    return monte_carlo.jacobian(random_moments(seed))


CALLS = [
    Call(
        "rg.monte_carlo.biased_heat_bath",
        lambda s: {
            "model": model(s),
            "bias": models.OperatorModel(COARSE, coupling(s + 1)),
            "block": 3,
            "num_chains": 4,
        },
    ),
    Call("rg.monte_carlo.critical_manifold", lambda s: {"jacobian": jacobian(s)}),
    Call("rg.monte_carlo.jacobian", lambda s: {"moments": random_moments(s), "fine": 0, "coarse": 1}),
    Call("rg.monte_carlo.ladder", lambda s: {"operators": NEAR, "blocking": blocked, "num_levels": 2}),
    Call(
        "rg.monte_carlo.linearise",
        lambda s: {"moments": random_moments(s), "rescaling": 2 + coupling(s)[0], "level": 1},
    ),
    Call("rg.monte_carlo.local_operators", lambda s: {"operators": BASIS, "spins": spins(s, 9)}),
    Call(
        "rg.monte_carlo.match_lattices",
        lambda s: {"large": random_moments(s), "small": random_moments(s + 9), "level": 1, "coupling": 0},
    ),
    Call(
        "rg.monte_carlo.measure",
        lambda s: chain(s) | {"num_steps": 4, "steps": LADDER, "num_bins": 2},
        SLOW,
        (4, 0),
        sealed=("sampler", "state"),
    ),
    Call(
        "rg.monte_carlo.moments",
        lambda s: {"key": jax.random.key(s), "samples": spins(s, 12, 9), "steps": LADDER, "num_bins": 3},
    ),
    Call(
        "rg.monte_carlo.operator_covariances",
        lambda s: (
            chain(s)
            | {
                "num_steps": 4,
                "local_fn": lambda spins: spins.astype(jnp.float32)[None, :, None],
                "distances": (1, 2),
                "num_bins": 2,
            }
        ),
        SLOW,
        (4, 0),
        sealed=("sampler", "state"),
    ),
    Call("rg.monte_carlo.renormalise", variational, SLOW, (10, 0)),
    Call(
        "rg.monte_carlo.scaling_dimensions",
        lambda s: {
            "near": random_covariances(s),
            "far": random_covariances(s),
            "places": (0, 1),
            "rescaling": 2 + coupling(s)[0],
        },
    ),
]
