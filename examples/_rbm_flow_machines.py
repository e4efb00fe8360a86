"""Machines that learned Ising configurations, the flow v -> h -> v of them, and thermometers of it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg import exact, lattice, models, nets, rbm, samplers, tables, training

CRITICAL = 1 / exact.critical_coupling
HOTTEST, STEP = 6.0, 0.25  # temperatures of the data of Iso, Shiba and Yokoo
LAST_BELOW, FIRST_ABOVE = 3.0, 4.0  # of data of part of them
BEYOND = (7.0, 8.0, 10.0, 14.0, 20.0)  # more of them to read thermometers by
THERMOMETERS = ENERGY, SQUARE, CLASSIFIER = "energy", "m²", "classifier"
ALL, LOW, HOT, COLD = "T = 0 ... 6", "T = 0 ... 3", "T = 4 ... 6", "T = 0"
SHUFFLED, BRIEF = "T = 0 ... 6, sites shuffled", "T = 0 ... 6, a tenth of the training"
SMALL = (3, 4)  # sites of the exact flow


class Scale(NamedTuple):
    """Size of the study."""

    side: int = 10
    num_each: int = 1000  # samples of a temperature to learn from, and as many to read thermometers by
    num_steps: int = 60  # of Swendsen and Wang before a sample
    num_hidden: tuple[int, ...] = (16, 64, 100)
    size: int = 64  # of the controls
    num_machines: int = 4
    num_epochs: int = 50
    marks: tuple[int, ...] = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200)
    num_chains: int = 60  # of every starting temperature
    classifier_epochs: int = 20
    exact_steps: int = 3000  # of the exact gradient on twelve sites
    exact_hidden: int = 12


SMOKE = Scale(6, 40, 4, (8,), 8, 2, 2, (0, 1, 2, 4), 10, 2, 50, 4)


class Data(NamedTuple):
    """Independent configurations of a grid of temperatures."""

    temperatures: np.ndarray  # [num_temperatures]
    learned: np.ndarray  # [num_temperatures, num_each, sites] int8
    held_out: np.ndarray


def ising_data(scale: Scale) -> Data:
    temperatures = np.concatenate([np.arange(0, HOTTEST + STEP / 2, STEP), BEYOND])
    square, found = lattice.hypercubic((scale.side, scale.side)), []
    for number, temperature in enumerate(temperatures):
        key = jax.random.fold_in(jax.random.key(21), number)
        if temperature == 0:
            signs = np.asarray(jax.random.rademacher(key, (2 * scale.num_each, 1), jnp.int8))
            found.append(np.repeat(signs, scale.side**2, axis=1))
            continue
        model = models.Ising(square, jnp.float32(1 / temperature))
        chains = samplers.replicas(samplers.swendsen_wang(model), 2 * scale.num_each)
        start_key, run_key = jax.random.split(key)
        spins = samplers.run(run_key, chains, chains.init(start_key), scale.num_steps).state.spins
        found.append(np.asarray(spins).reshape(2 * scale.num_each, -1))
    both = np.stack(found)
    return Data(temperatures, both[:, : scale.num_each], both[:, scale.num_each :])


# Thermometers


class Thermometers(NamedTuple):
    """What is averaged over configurations, and its means along equilibrium, which grow with the temperature."""

    side: int
    classifier: Any  # parameters
    temperatures: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]

    def values(self, spins: Any) -> np.ndarray:
        """``[3, ...]`` of ``[..., N]``: energy per site, -m², expected temperature of the classifier."""
        return np.asarray(_values(self.classifier, jnp.asarray(spins), self.side))

    def read(self, means: np.ndarray) -> np.ndarray:
        """Temperatures ``[3, ...]`` of means ``[3, ...]``; those beyond the ends of a curve are its ends."""
        curves = (np.maximum.accumulate(self.curves[name]) for name in THERMOMETERS)
        temperatures = (self.temperatures[name] for name in THERMOMETERS)
        return np.stack([np.interp(*each) for each in zip(means, curves, temperatures, strict=True)])


NET = nets.mlp((64, int(HOTTEST / STEP) + 1))  # one output for each temperature that machines learn from


@jax.jit
def _chances(params: Any, spins: Array) -> Array:
    flat = spins.reshape(-1, spins.shape[-1]).astype(jnp.float32)
    return jax.nn.softmax(NET.apply(params, flat)).reshape(*spins.shape[:-1], -1)


@jax.jit(static_argnums=2)
def _values(params: Any, spins: Array, side: int) -> Array:
    square = spins.astype(jnp.float32).reshape(*spins.shape[:-1], side, side)
    bonds = square * (jnp.roll(square, 1, axis=-1) + jnp.roll(square, 1, axis=-2))
    expected = _chances(params, spins) @ (STEP * jnp.arange(int(HOTTEST / STEP) + 1, dtype=jnp.float32))
    return jnp.stack([-bonds.mean((-1, -2)), -(square.mean((-1, -2)) ** 2), expected])


def thermometers(data: Data, scale: Scale) -> Thermometers:
    count = int(HOTTEST / STEP) + 1
    inputs = jnp.asarray(data.learned[:count].reshape(-1, scale.side**2), jnp.float32)
    labels = jnp.repeat(jnp.arange(count), scale.num_each)

    def loss_fn(key: Array, params: Any, batch: Any) -> Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(NET.apply(params, batch[0]), batch[1]))

    params = training.fit(
        jax.random.key(23), training.gradient_of(loss_fn), optax.adam(1e-3), NET.init(jax.random.key(22), inputs[:1]),
        (inputs, labels), num_epochs=scale.classifier_epochs, batch_size=100
    ).params  # fmt: skip
    shape = (scale.side, scale.side)
    fine = np.concatenate([[0.0], np.geomspace(0.2, BEYOND[-1], 600)])
    energies = [-2.0, *(float(exact.torus_energy(jnp.float32(1 / each), shape)) for each in fine[1:])]
    _, squares, expected = np.asarray(_values(params, jnp.asarray(data.held_out), scale.side)).mean(axis=2)
    temperatures: dict[str, np.ndarray] = dict.fromkeys(THERMOMETERS, data.temperatures)
    temperatures[ENERGY] = fine
    curves: dict[str, np.ndarray] = {ENERGY: np.array(energies), SQUARE: squares, CLASSIFIER: expected}
    return Thermometers(scale.side, params, temperatures, curves)


# Machines and their flow


class Flow(NamedTuple):
    """The flow of some machines that learned one set of data."""

    values: np.ndarray  # [machines, marks, 3, starts] what thermometers average, means over chains
    spread: np.ndarray  # [machines] standard deviation of the energy per site at the end
    peak: np.ndarray  # [machines] most likely temperature of the mean chances of the classifier, at the end
    target: np.ndarray  # [3] means of the data that were learned

    @property
    def ends(self) -> np.ndarray:
        """``[machines, 3]`` at the last mark, over all starts."""
        return self.values[:, -1].mean(axis=-1)


OPTIMIZER = optax.sgd(0.01, momentum=0.9)


def machines_of(spins: np.ndarray, num_hidden: int, scale: Scale, num_epochs: int) -> list[rbm.RBM]:
    """Trained by CD-1, each from a start of its own."""
    return [
        rbm.train_stack(
            jax.random.key(100 + number), jnp.asarray(spins), (num_hidden,), num_epochs=num_epochs, optimizer=OPTIMIZER
        )[0][0] for number in range(scale.num_machines)
    ]  # fmt: skip


def flow_of(machines: list[rbm.RBM], target: np.ndarray, data: Data, reader: Thermometers, scale: Scale) -> Flow:
    """The flow from held-out samples of every temperature up to `HOTTEST`."""
    starts = data.held_out[: int(HOTTEST / STEP) + 1, : scale.num_chains]
    values, spread, peak = [], [], []
    for number, machine in enumerate(machines):
        chains = samplers.replicas(rbm.gibbs_sampler(machine), starts.shape[0] * starts.shape[1])
        state = chains.init(jax.random.key(200 + number), jnp.asarray(starts.reshape(-1, starts.shape[-1])))
        found = [reader.values(starts).mean(axis=2)]
        for done, mark in zip(scale.marks, scale.marks[1:], strict=False):
            state = samplers.warm_up(jax.random.key(300 + number), chains, state, mark - done)
            spins = state.visible.reshape(starts.shape)
            found.append(reader.values(spins).mean(axis=2))
        values.append(np.stack(found))
        spread.append(reader.values(spins)[0].std())
        peak.append(STEP * int(np.argmax(_chances(reader.classifier, spins).mean(axis=(0, 1)))))
    return Flow(np.stack(values), np.array(spread), np.array(peak), reader.values(target).mean(axis=1))


# Twelve sites, where the distribution of a machine is a table


class ExactEnds(NamedTuple):
    """Energy per site and m² of the distributions of machines, less those of their data, and KL in nats."""

    data: np.ndarray  # [2]
    by_gradient: np.ndarray  # [machines, 3]
    by_divergence: np.ndarray


def exact_ends(scale: Scale) -> ExactEnds:
    square, num_sites = lattice.hypercubic(SMALL), int(np.prod(SMALL))
    unit = models.Ising(square, jnp.float32(1.0))
    energies = exact.energies(unit.hamiltonian, SMALL) / num_sites
    states = tables.all_spins(num_sites)
    squares = jnp.mean(states.astype(jnp.float32), axis=1) ** 2
    couplings = jnp.asarray(1 / np.arange(STEP, HOTTEST + STEP / 2, STEP), jnp.float32)
    chances = jax.nn.softmax(-couplings[:, None] * (energies * num_sites)[None], axis=1).sum(axis=0)
    ground = (squares == 1) / 2  # T = 0
    target = (chances + ground) / (len(couplings) + 1)
    means = jnp.stack([energies, squares])

    def end_of(machine: rbm.RBM) -> np.ndarray:
        law = rbm.visible_distribution(machine)
        divergence = jnp.sum(jax.scipy.special.rel_entr(target, law))
        return np.asarray(jnp.append(means @ (law - target), divergence))

    @jax.jit
    def by_gradient(machine: Any) -> rbm.RBM:
        optimizer = optax.adam(optax.cosine_decay_schedule(0.03, scale.exact_steps))

        def step(carry: Any, _: None) -> Any:
            machine, state = carry
            gradient = jax.grad(rbm.negative_log_likelihood)(machine, states, target)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(machine, updates), state), None

        return jax.lax.scan(step, (machine, optimizer.init(machine)), length=scale.exact_steps)[0][0]

    count = (int(HOTTEST / STEP) + 1) * scale.num_each
    spins = np.asarray(states)[np.random.default_rng(41).choice(len(states), count, p=_normed(target))]
    keys = jax.random.split(jax.random.key(42), scale.num_machines)
    starts = [rbm.init(key, num_sites, scale.exact_hidden, scale=0.1) for key in keys]
    learned = machines_of(spins, scale.exact_hidden, scale, scale.num_epochs)
    return ExactEnds(
        np.asarray(means @ target),
        np.stack([end_of(by_gradient(start)) for start in starts]),
        np.stack([end_of(machine) for machine in learned]),
    )


def _normed(values: Any) -> np.ndarray:
    """Chances that sum to one in double precision."""
    doubles = np.asarray(values, np.float64)
    return doubles / doubles.sum()


class Study(NamedTuple):
    """Everything that is drawn and told."""

    scale: Scale
    temperatures: np.ndarray  # of the starts
    reader: Thermometers
    flows: dict[str, Flow]
    small: ExactEnds
    data_spread: float  # standard deviation of the energy per site of the data of all temperatures


def study(scale: Scale) -> Study:
    data = ising_data(scale)
    reader = thermometers(data, scale)
    count, total = int(HOTTEST / STEP) + 1, (int(HOTTEST / STEP) + 1) * scale.num_each
    single = round(CRITICAL / STEP)
    sets = {
        ALL: data.learned[:count],
        LOW: data.learned[: int(LAST_BELOW / STEP) + 1],
        HOT: data.learned[int(FIRST_ABOVE / STEP) : count],
        COLD: data.learned[:1],
        f"T = {data.temperatures[single]:g}": data.learned[single : single + 1],
    }
    flows = {}
    order = np.asarray(jax.random.permutation(jax.random.key(31), scale.side**2))
    for name, each in sets.items():
        spins = np.resize(each.reshape(-1, scale.side**2), (total, scale.side**2))  # as many steps for each
        for num_hidden in scale.num_hidden if name == ALL else (scale.size,):
            machines = machines_of(spins, num_hidden, scale, scale.num_epochs)
            flows[f"{name}, {num_hidden} hidden"] = flow_of(machines, spins, data, reader, scale)
    spins = data.learned[:count].reshape(total, -1)
    back = np.argsort(order)  # sites of a machine back in their places, so that its flow can be read on the lattice
    shuffled = [
        machine._replace(weights=machine.weights[back], visible_bias=machine.visible_bias[back])
        for machine in machines_of(spins[:, order], scale.size, scale, scale.num_epochs)
    ]
    flows[SHUFFLED] = flow_of(shuffled, spins, data, reader, scale)
    machines = machines_of(spins, scale.size, scale, max(1, scale.num_epochs // 10))
    flows[BRIEF] = flow_of(machines, spins, data, reader, scale)
    return Study(
        scale, data.temperatures[:count], reader, flows, exact_ends(scale), float(reader.values(spins)[0].std())
    )
