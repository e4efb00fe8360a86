"""Levels of machines, flows and lattices for the study of probes, and what a linear reader knows from each."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import exact, flows, lattice, models, rbm, samplers, training
from jaxrg.explain import probes

PENALTIES = tuple(10.0 ** np.arange(0, -7, -1))
TARGETS = ("K", "E", "|m|", "m")
PLAIN, SQUARES, TURNED = "values", "squares", "values, turned up"


class Samples(NamedTuple):
    """Independent configurations at many couplings, in random order."""

    spins: np.ndarray  # [n, L, L] int8
    targets: np.ndarray  # [n, 4] coupling, energy per site in units of J, magnetisations without and with sign
    couplings: np.ndarray  # the grid
    num_fit: int

    @property
    def signs(self) -> np.ndarray:
        """[n] sign of the magnetisation, up where it is zero."""
        return np.where(self.targets[:, 3] < 0, -1, 1).astype(np.int8)


def ising_samples(side: int, couplings: np.ndarray, num_each: int, num_steps: int) -> Samples:
    """The last configuration of as many Swendsen-Wang chains as there are samples."""
    square, found = lattice.hypercubic((side, side)), []
    for number, coupling in enumerate(couplings):
        chains = samplers.replicas(samplers.swendsen_wang(models.Ising(square, jnp.float32(coupling))), num_each)
        start_key, run_key = jax.random.split(jax.random.fold_in(jax.random.key(7), number))
        state = samplers.warm_up(run_key, chains, chains.init(start_key), num_steps)
        found.append(np.asarray(state.spins))
    spins = np.concatenate(found)
    bonds = spins * (np.roll(spins, 1, axis=1) + np.roll(spins, 1, axis=2))
    magnetization = spins.mean(axis=(1, 2), dtype=float)
    repeated = np.repeat(couplings, num_each)
    targets = np.stack([repeated, -bonds.mean(axis=(1, 2), dtype=float), np.abs(magnetization), magnetization], axis=1)
    order = np.random.default_rng(0).permutation(len(spins))
    return Samples(spins[order], targets[order].astype(np.float32), couplings, len(spins) * 2 // 3)


def ceiling(samples: Samples) -> float:
    """R^2 of the best reader of the coupling, to which the energy tells all that there is, exact."""
    shape, couplings = samples.spins.shape[1:], jnp.asarray(samples.couplings, jnp.float32)
    table = jax.vmap(lambda coupling: exact.torus_energy_distribution(coupling, shape))(couplings)
    best = exact.optimal_predictor(table, couplings)
    return 1 - float(best.mean_square_error / jnp.var(couplings))


class Known(NamedTuple):
    """Held-out R^2 of each target with its error; chance is zero."""

    r_squared: np.ndarray  # [num_targets]
    error: np.ndarray


def known(features: Any, targets: np.ndarray, num_fit: int) -> Known:
    """By ridge probes whose penalty, target by target, is the one with the least left-out error."""
    flat = np.asarray(features, np.float32).reshape(len(features), -1)
    targets = targets.reshape(len(targets), -1)
    fitted = probes.ridge_probes(flat[:num_fit], targets[:num_fit], PENALTIES)
    scores = probes.regression_scores(fitted, flat[num_fit:], targets[num_fit:])
    best = np.argmin(fitted.left_out_error, axis=0), np.arange(targets.shape[1])
    return Known(np.asarray(scores.r_squared)[best], np.asarray(scores.r_squared_error)[best])


def all_known(plain: Any, turned: Any, samples: Samples) -> dict[str, Known]:
    """What is known from values, from their squares, and from values of samples whose magnetisation is turned up."""
    forms = {PLAIN: plain, SQUARES: np.square(np.asarray(plain, np.float32)), TURNED: turned}
    return {name: known(values, samples.targets, samples.num_fit) for name, values in forms.items()}


# A stack of Boltzmann machines


def machine_levels(stack: tuple[rbm.RBM, ...], spins: np.ndarray) -> list[np.ndarray]:
    """Spins, and the means of every hidden layer given a sample of the one below."""
    data = jnp.asarray(spins.reshape(len(spins), -1))
    levels = [np.asarray(data)]
    for level, machine in enumerate(stack):
        levels.append(np.asarray(jax.vmap(rbm.hidden_mean, (None, 0))(machine, data)))
        data = rbm.lift(jax.random.fold_in(jax.random.key(9), level), machine, data)
    return levels


def stacks(samples: Samples, layer_sizes: tuple[int, ...], num_epochs: int) -> dict[str, tuple[rbm.RBM, ...]]:
    """A trained stack, and machines of random weights as large as its own."""
    data = jnp.asarray(samples.spins[: samples.num_fit].reshape(samples.num_fit, -1))
    optimizer = optax.sgd(0.01, momentum=0.9)
    trained, _ = rbm.train_stack(
        jax.random.key(11), data, layer_sizes, num_epochs=num_epochs, batch_size=64, optimizer=optimizer
    )
    random = []
    for level, machine in enumerate(trained):
        key = jax.random.fold_in(jax.random.key(12), level)
        random.append(rbm.init(key, *machine.weights.shape, scale=float(jnp.std(machine.weights))))
    return {"trained": trained, "random weights": tuple(random)}


def known_by_machine(samples: Samples, stack: tuple[rbm.RBM, ...]) -> list[dict[str, Known]]:
    up = samples.spins * samples.signs[:, None, None]
    levels = zip(machine_levels(stack, samples.spins), machine_levels(stack, up), strict=True)
    return [all_known(plain, turned, samples) for plain, turned in levels]


# A flow of the continuous dual


def dual_fields(samples: Samples) -> np.ndarray:
    """A field of the dual for each configuration, all at the critical coupling: of their own they know by the spins."""
    dual = models.IsingDual(lattice.hypercubic(samples.spins.shape[1:]), exact.critical_coupling)
    keys = jax.random.split(jax.random.key(13), len(samples.spins))
    return np.asarray(jax.jit(jax.vmap(dual.field_given_spins))(keys, jnp.asarray(samples.spins)))


def known_by_flow(samples: Samples, num_features: int, num_epochs: int) -> dict[str, list[dict[str, Known]]]:
    """Fields first, then the latents of each level from the finest on, of a flow before and after training."""
    side, fields = samples.spins.shape[1], dual_fields(samples)
    up = fields * np.where(fields.mean(axis=(1, 2)) < 0, -1, 1)[:, None, None]
    density = flows.decimation_density((side, side), scale=3.0, num_features=num_features)
    flow = flows.decimation_flow((side, side), scale=3.0, num_features=num_features)
    first = density.init(jax.random.key(14))
    optimizer = optax.chain(optax.clip_by_global_norm(20.0), optax.adam(3e-3))
    data = jnp.asarray(fields[: samples.num_fit])
    run = training.fit(
        jax.random.key(15), flows.forward_kl(density), optimizer, first, data, num_epochs=num_epochs, batch_size=64
    )
    found = {}
    for name, params in (("trained", run.params), ("untrained", first)):
        plain, turned = (flows.encode(flow, params, jnp.asarray(values))[0] for values in (fields, up))
        levels = [all_known(fields, up, samples)]
        found[name] = levels + [all_known(plain[level], turned[level], samples) for level in sorted(plain)]
    return found


# Winding of planar spins


def winding_samples(side: int, couplings: np.ndarray, num_each: int, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Angles ``[n, L, L]`` of XY spins in random order, and the mean turns of a row, whole numbers without vortices."""
    square, found = lattice.hypercubic((side, side)), []
    for number, coupling in enumerate(couplings):
        model = models.XY(square, jnp.float32(coupling))
        chains = samplers.replicas(samplers.swendsen_wang_embedding(model), num_each)
        start_key, run_key = jax.random.split(jax.random.fold_in(jax.random.key(17), number))
        state = samplers.warm_up(run_key, chains, chains.init(start_key), num_steps)
        found.append(np.asarray(state.field))
    angles = np.concatenate(found)
    angles = angles[np.random.default_rng(1).permutation(len(angles))]
    return angles, turns(angles)


def turns(angles: np.ndarray) -> np.ndarray:
    return steps(angles).sum(axis=2).mean(axis=1, keepdims=True) / (2 * np.pi)


def steps(angles: np.ndarray) -> np.ndarray:
    """Turn from each spin to the next along its row, less than half a turn."""
    return (np.roll(angles, -1, axis=2) - angles + np.pi) % (2 * np.pi) - np.pi


def known_winding_by_machine(
    angles: np.ndarray, winding: np.ndarray, layer_sizes: tuple[int, ...], num_epochs: int
) -> dict[str, list[dict[str, Known]]]:
    """From machines that learned the quarter of the turn each spin points to, as signs of its cosine and sine."""
    signs = np.concatenate([np.cos(angles), np.sin(angles)], axis=2)
    spins = np.where(signs < 0, -1, 1).astype(np.int8)
    samples = Samples(spins, winding.astype(np.float32), np.empty(0), len(angles) * 2 // 3)
    found = {}
    for name, stack in stacks(samples, layer_sizes, num_epochs).items():
        levels = [np.asarray(values, np.float32) for values in machine_levels(stack, spins)]
        forms = [{PLAIN: values, SQUARES: np.square(values)} for values in levels]
        found[name] = [
            {form: known(values, samples.targets, samples.num_fit) for form, values in each.items()} for each in forms
        ]
    return found


def known_winding(angles: np.ndarray, winding: np.ndarray) -> list[dict[str, Known]]:
    """From the spins that decimation keeps, which are the levels of an exact flow run backwards.

    Components of the spins, and between neighbours turns and sines of turns.
    """
    num_fit, levels = len(angles) * 2 // 3, []
    for level in range(int(np.log2(angles.shape[1]))):
        kept = angles[:, :: 2**level, :: 2**level]
        components = np.stack([np.cos(kept), np.sin(kept)], axis=-1)
        forms = {"components": components, "turns": steps(kept), "sines": np.sin(steps(kept))}
        levels.append({name: known(values, winding.astype(np.float32), num_fit) for name, values in forms.items()})
    return levels
