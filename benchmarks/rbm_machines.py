"""How well machines learn the Ising model: a 4x4 torus by its exact likelihood, an 8x8 torus from Wolff's samples."""

import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.timing import record
from jaxrg import exact, lattice, models, rbm, samplers, stats, training
from jaxrg.tables import all_spins

Record = dict[str, Any]
SIDE, NUM_FILTERS = 8, 2
NUM_CHAINS = 128  # of a run that is measured


def _symmetric(weights: jax.Array) -> rbm.RBM:
    """A machine with the ±1 symmetry: no biases."""
    return rbm.RBM(weights, jnp.zeros(len(weights), weights.dtype), jnp.zeros(weights.shape[1], weights.dtype))


def exact_fit(num_hidden: int, num_steps: int, seed: int = 0) -> tuple[float, float]:
    """KL in nats of a machine at a maximum of the exact likelihood of the critical 4x4 torus, and seconds."""
    with jax.enable_x64(True):
        model = models.Ising(lattice.hypercubic((4, 4)), jnp.float64(exact.critical_coupling))
        log_p = jax.nn.log_softmax(-exact.energies(model.hamiltonian, (4, 4)))
        weights = jnp.exp(log_p)

        def loss(key, parameters, batch):
            states, shares = batch
            return rbm.negative_log_likelihood(_symmetric(parameters), states, shares)

        started = time.perf_counter()
        with jax.numpy_dtype_promotion("standard"):  # optax mixes int32 counts with floats
            run = training.fit(
                jax.random.key(seed),
                training.gradient_of(loss),
                optax.lbfgs(memory_size=30),
                0.3 * jax.random.normal(jax.random.key(seed), (16, num_hidden)),
                all_spins(16),
                weights=weights,
                num_epochs=num_steps,
                batch_size=2**16,
            )
        kl = rbm.negative_log_likelihood(_symmetric(run.params), all_spins(16), weights) + jnp.sum(weights * log_p)
        return float(kl), time.perf_counter() - started


def _wolff(key: jax.Array, num_samples: int, num_steps: int = 10) -> jax.Array:
    """``[chains, samples, side, side]`` of the critical model."""
    ising = models.Ising(lattice.hypercubic((SIDE, SIDE)), exact.critical_coupling)
    sampler = samplers.thin(samplers.replicas(samplers.wolff(ising), NUM_CHAINS), num_steps)
    start = samplers.run(key, sampler, sampler.init(key), 50).state
    count = -(-num_samples // NUM_CHAINS)
    return samplers.run(jax.random.fold_in(key, 1), sampler, start, count, observe=lambda spins: spins).trace


def _observables(spins: jax.Array) -> dict[str, jax.Array]:
    """m² and energy per site of ``[..., side, side]``, without the coupling."""
    values = spins.astype(jnp.float32)
    bonds = values * (jnp.roll(values, 1, -1) + jnp.roll(values, 1, -2))
    return {"m2": jnp.mean(values, (-2, -1)) ** 2, "energy": -jnp.mean(bonds, (-2, -1))}


def _invariant(filters: jax.Array) -> rbm.RBM:
    """A translation-invariant machine without biases."""
    shared = rbm.Filters(filters, jnp.zeros((), filters.dtype), jnp.zeros(len(filters), filters.dtype))
    return rbm.convolutional(shared, (SIDE, SIDE))


def trained_on_wolff(num_samples: int, num_epochs: int) -> rbm.RBM:
    """A machine of two filters of 2x2 weights, by persistent chains with a falling rate, averaged at the end."""
    data = _wolff(jax.random.key(10), num_samples).reshape(-1, SIDE * SIDE)
    start = 0.1 * jax.random.normal(jax.random.key(11), (NUM_FILTERS, 2, 2))
    batch_size = 256
    num_steps = num_epochs * (len(data) // batch_size)
    rate = optax.warmup_cosine_decay_schedule(0.0, 0.03, num_steps // 20, num_steps)
    run = training.fit(
        jax.random.key(12),
        rbm.through(rbm.persistent_contrastive_divergence_gradient(num_steps=5), _invariant),
        optax.chain(optax.adam(rate), training.moving_average(0.9998)),
        start,
        data,
        aux=rbm.persistent_chains(jax.random.key(13), _invariant(start), 512),
        num_epochs=num_epochs,
        batch_size=batch_size,
    )
    return _invariant(training.averaged_params(run.optimizer_state))


def sampled(machine: rbm.RBM, num_steps: int) -> tuple[dict[str, stats.Summary], float]:
    """Summaries of m² and energy of Gibbs chains of a machine, and sign changes of m per step."""
    sampler = samplers.replicas(rbm.gibbs_sampler(machine), NUM_CHAINS)

    def observe(visible: jax.Array) -> dict[str, jax.Array]:
        spins = visible.reshape(SIDE, SIDE)
        return _observables(spins) | {"m": jnp.mean(spins.astype(jnp.float32))}

    start = samplers.run(jax.random.key(20), sampler, sampler.init(jax.random.key(21)), num_steps // 10).state
    trace = samplers.run(jax.random.key(22), sampler, start, num_steps, observe=observe).trace
    signs = np.sign(np.asarray(trace["m"]))
    flips = float(np.mean(signs[:, 1:] * signs[:, :-1] < 0))
    return {name: stats.summary(trace[name]) for name in ("m2", "energy")}, flips


def _samples(quick: bool) -> list[Record]:
    num_samples, num_epochs, num_steps = (1_024, 2, 200) if quick else (131_072, 160, 40_000)
    machine = trained_on_wolff(num_samples, num_epochs)
    found, flips = sampled(machine, num_steps)
    wolff = {
        name: stats.summary(values) for name, values in _observables(_wolff(jax.random.key(30), num_samples)).items()
    }
    records = []
    for name in ("m2", "energy"):
        ours, theirs = found[name], wolff[name]
        deviation = abs(float(ours.mean) - float(theirs.mean)) / math.hypot(float(ours.error), float(theirs.error))
        records.append(
            record(
                f"rbm_8x8_{name}",
                float(ours.mean),
                f"error {float(ours.error):.1e}",
                peer="Wolff",
                peer_value=float(theirs.mean),
            )
        )
        records.append(record(f"rbm_8x8_{name}_deviation", deviation, "standard errors"))
        records.append(
            record(
                f"rbm_8x8_{name}_tau",
                float(ours.tau_int),
                "Gibbs steps",
                peer="Wolff, ten clusters a step",
                peer_value=float(theirs.tau_int),
            )
        )
    return [*records, record("rbm_8x8_tunnelling", flips, "sign changes a step")]


def _exact_fits(quick: bool) -> list[Record]:
    sizes, num_steps = ((8,), 20) if quick else ((16, 8), 400)
    records = []
    for num_hidden in sizes:
        kl, seconds = exact_fit(num_hidden, num_steps)
        name = "rbm_4x4_kl_nats" if num_hidden == 16 else f"rbm_4x4_kl_nats_{num_hidden}_hidden"
        records.append(record(name, kl, f"nats, {num_steps} steps of L-BFGS in {seconds:.0f} s"))
    return records


def run(*, quick: bool) -> list[Record]:
    """Records of exact fits and of samples."""
    return [*_exact_fits(quick), *_samples(quick)]
