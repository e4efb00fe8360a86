"""Chapter 2: a machine trained exactly on the 4x4 critical Ising model, and the map to renormalisation tested."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import exact, lattice, models, rbm, rg
from jaxrg.base import Progress

REPORTS = 40  # chunks of training between progress reports
SCALARS = ("kl", "jensen_gap", "free_energy_difference", "log_mean_rho", "log_rho_mean", "log_rho_std", "log_rho_max")
SCALARS += ("visible_free_energy", "hidden_free_energy")  # of `rg.Matching`


class Scale(NamedTuple):
    """Size of the machine and of its training."""

    shape: tuple[int, int]
    num_hidden: int
    num_steps: int
    learning_rate: float


FULL = Scale((4, 4), 10, 1_200, 0.03)
SMOKE = Scale((3, 4), 6, 200, 0.05)


@partial(jax.jit, static_argnames=("scale", "num_steps"))
def _train(machine: rbm.RBM, optimizer_state, model: models.Ising, *, scale: Scale, num_steps: int):
    """Full-gradient steps on KL(P || p), enumerated."""
    optimizer = _optimizer(scale)
    value_and_grad = jax.value_and_grad(lambda m: rg.matching(m, model.hamiltonian, shape=scale.shape).kl)

    def step(carry, _):
        machine, optimizer_state = carry
        kl, gradient = value_and_grad(machine)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, machine)
        return (optax.apply_updates(machine, updates), optimizer_state), kl

    return jax.lax.scan(step, (machine, optimizer_state), length=num_steps)


def _optimizer(scale: Scale) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(scale.learning_rate, scale.num_steps))


def _report(machine: rbm.RBM, model: models.Ising, scale: Scale) -> dict[str, Any]:
    """Every number of the exact map, and the two Hamiltonians compared state by state."""
    match = rg.matching(machine, model.hamiltonian, shape=scale.shape)
    stride = max(1, 2**scale.num_hidden // 512)
    kernels = rg.machine_kernel(machine, model.hamiltonian), rg.normalized_machine_kernel(machine)
    through, normalized = (
        exact.coarse_grain(model.hamiltonian, scale.shape, kernel, (scale.num_hidden,)) for kernel in kernels
    )
    return {
        **{name: float(getattr(match, name)) for name in SCALARS},
        "hamiltonian_difference": float(jnp.max(jnp.abs(through.hamiltonian - match.coarse_hamiltonian))),
        "normalized_kernel_log_rho_max": float(jnp.max(jnp.abs(normalized.log_rho))),
        "normalized_kernel_free_energy_difference": float(normalized.coarse_free_energy - normalized.fine_free_energy),
        "hamiltonian_rg": np.asarray(through.hamiltonian)[::stride],
        "hamiltonian_rbm": np.asarray(match.coarse_hamiltonian)[::stride],
    }


def _fixtures(coupling: jax.Array) -> dict[str, float]:
    """The hand-built machine with one hidden unit for every bond, on a 2x3 torus: zero KL."""
    small = lattice.hypercubic((2, 3))
    machine = rg.bond_machine(small, coupling)
    match = rg.matching(machine, models.Ising(small, coupling).hamiltonian, shape=(2, 3))
    return {"bond_machine_kl": float(match.kl), "bond_machine_log_rho_std": float(match.log_rho_std)}


def chapter(key, *, is_smoke: bool, progress: Progress) -> dict[str, Any]:
    """Train by the exact gradient of KL and report the map before and after, in float64.

    Returns:
        ``before`` and ``after``, the learning curve, a histogram of ln ρ under P, and the fixtures.
    """
    scale = SMOKE if is_smoke else FULL
    with jax.enable_x64(True):
        coupling = jnp.float64(exact.critical_coupling)
        model = models.Ising(lattice.hypercubic(scale.shape), coupling)
        num_visible = model.lattice.num_sites
        machine = rbm.init(key, num_visible, scale.num_hidden, scale=0.1, dtype=jnp.float64)
        before = _report(machine, model, scale)
        optimizer_state = _optimizer(scale).init(machine)
        curve = []
        chunk = scale.num_steps // REPORTS
        for index in range(REPORTS):
            (machine, optimizer_state), kl = _train(machine, optimizer_state, model, scale=scale, num_steps=chunk)
            curve.append(np.asarray(kl))
            progress(index + 1, REPORTS, f"KL {kl[-1]:.3g}")
        after = _report(machine, model, scale)
        match = rg.matching(machine, model.hamiltonian, shape=scale.shape)
        probability = exact.distribution(model.hamiltonian, scale.shape)
        counts, edges = np.histogram(
            np.asarray(match.log_rho - match.log_mean_rho), bins=60, weights=np.asarray(probability)
        )
        kl_curve = np.concatenate(curve)
        return {
            "shape": scale.shape,
            "num_hidden": scale.num_hidden,
            "coupling": float(coupling),
            "before": before,
            "after": after,
            "kl_curve": kl_curve[:: max(1, len(kl_curve) // 400)],
            "kl_curve_stride": max(1, len(kl_curve) // 400),
            "log_rho_histogram": {"counts": counts, "edges": edges},
            "fixtures": _fixtures(coupling),
            "weights": np.asarray(machine.weights),
        }
