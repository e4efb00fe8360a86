"""The flow v -> h -> v -> ... of machines that learned Ising configurations: where it ends, and what it is.

A step samples p(h|v) and p(v|h), so that the flow is block Gibbs sampling: it ends in the distribution of the machine,
which is the one of its data as far as it was learned. Data of many temperatures are a mixture of them, no ensemble of
one temperature, and thermometers of it disagree. Three are read here, each the inverse of a mean that is known along
equilibrium: the energy by the exact curve of the torus, m² and a trained classifier by held-out samples. On twelve
sites the end of the flow is exact, for machines that learned by the exact gradient and by contrastive divergence.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg import exact, lattice, models, nets, rbm, samplers, stats, tables, training
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _study import HEADER, Claim, print_claims, run_main, save, show

CRITICAL = 1 / exact.critical_coupling
HOTTEST, STEP = 6.0, 0.25  # temperatures of the data of Iso, Shiba and Yokoo
LAST_BELOW, FIRST_ABOVE = 3.0, 4.0  # of data of part of them
BEYOND = (7.0, 8.0, 10.0, 14.0, 20.0)  # more of them to read thermometers by
THERMOMETERS = ("energy", "m²", "classifier")
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
        """``[3, ...]`` energy per site, m² with a minus sign, expected temperature of the classifier; of ``[..., N]``."""
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
    temperatures = dict(zip(THERMOMETERS, (fine, data.temperatures, data.temperatures), strict=True))
    curves = dict(zip(THERMOMETERS, (np.array(energies), squares, expected), strict=True))
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
            state = samplers.run(jax.random.key(300 + number), chains, state, mark - done).state
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
    def by_gradient(machine: rbm.RBM) -> rbm.RBM:
        optimizer = optax.adam(optax.cosine_decay_schedule(0.03, scale.exact_steps))

        def step(carry: Any, _: None) -> Any:
            machine, state = carry
            gradient = jax.grad(rbm.negative_log_likelihood)(machine, states, target)
            updates, state = optimizer.update(gradient, state)
            return (jax.tree.map(jnp.add, machine, updates), state), None

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


def study(scale: Scale) -> Study:
    data = ising_data(scale)
    reader = thermometers(data, scale)
    count, total = int(HOTTEST / STEP) + 1, (int(HOTTEST / STEP) + 1) * scale.num_each
    single = int(round(CRITICAL / STEP))
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
    return Study(scale, data.temperatures[:count], reader, flows, exact_ends(scale))


# What is told


def over_machines(statistic: Any, *samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A statistic of machines with its bootstrap error over them."""
    groups = [jnp.asarray(each, jnp.float32) for each in samples]
    found = stats.bootstrap(jax.random.key(5), statistic, *groups, num_resamples=400)
    return np.asarray(found.value), np.asarray(found.error)


def _mean(values: Array) -> Array:
    return jnp.mean(values, axis=0)


def readings(found: Study, flow: Flow) -> tuple[np.ndarray, np.ndarray]:
    """Temperature ``[3]`` of the end of a flow with its bootstrap error over machines."""
    return over_machines(_mean, found.reader.read(flow.ends.T).T)


def crossing(found: Study, flow: Flow, mark: int) -> tuple[np.ndarray, np.ndarray]:
    """Temperature at which the energy stands still from the start up to a mark, with its error over machines."""
    temperatures = found.temperatures

    def of(drift: np.ndarray) -> float:
        place = np.flatnonzero((drift[:-1] > 0) & (drift[1:] <= 0))
        if not len(place):
            return float("nan")
        left = place[0]
        share = drift[left] / (drift[left] - drift[left + 1])
        return float(temperatures[left] + share * (temperatures[left + 1] - temperatures[left]))

    drifts = flow.values[:, mark, 0] - flow.values[:, 0, 0]
    crossings = np.array([of(drift) for drift in drifts])
    return np.array(crossings.mean()), over_machines(_mean, crossings)[1]


def texts(values: np.ndarray, errors: np.ndarray | None = None) -> str:
    shown = [f"{value:.2f}" for value in values] if errors is None else map(show, values, errors)
    return ", ".join(f"{name} {text}" for name, text in zip(THERMOMETERS, shown, strict=True))


def torus_peak(side: int) -> float:
    """Temperature of the largest specific heat of the torus."""
    grid = np.linspace(2.1, 2.8, 141)
    heats = [float(exact.torus_specific_heat(jnp.float32(1 / each), (side, side))) for each in grid]
    return float(grid[int(np.argmax(heats))])


def canonical_spread(temperature: float, side: int) -> float:
    """Standard deviation of the energy per site in equilibrium; the specific heat is K² of its variance times N."""
    heat = float(exact.torus_specific_heat(jnp.float32(1 / temperature), (side, side)))
    return float(np.sqrt(heat) * temperature / side)


def claims(found: Study) -> list[Claim]:
    side, rows = found.scale.side, []
    critical = f"Tc {CRITICAL:.3f}; largest specific heat of the {side} x {side} torus at {torus_peak(side):.2f}"
    for name, flow in found.flows.items():
        values, errors = readings(found, flow)
        published = "2.27" if name.startswith(ALL) else "high T" if name.startswith(HOT) else "-"
        rows.append(Claim(f"flow ends at T: {name}", published, texts(values, errors),
                          f"its data read {texts(found.reader.read(flow.target))}"))  # fmt: skip
    for name, flow in found.flows.items():
        energy, square = (over_machines(_mean, flow.ends[:, part] - flow.target[part]) for part in (0, 1))
        rows.append(Claim(f"end less its data: {name}", "-",
                          f"energy per site {show(*energy, 3, '+')}, m² {show(-square[0], square[1], 3, '+')}",
                          f"data {flow.target[0]:.3f}, {-flow.target[1]:.3f}"))  # fmt: skip
    main = found.flows[f"{ALL}, {found.scale.size} hidden"]
    warmer = (main.values[:, -1, 0] > main.values[:, 0, 0]).mean(axis=0) > 0.5
    turn = found.temperatures[np.argmin(warmer)]
    hot = found.flows[f"{HOT}, {found.scale.size} hidden"]
    last = main.values[:, -1, 0][:, [0, -1]]
    spread = over_machines(_mean, main.spread)
    at = float(found.reader.read(main.ends.T)[0].mean())
    for name, ends_of in (("exact gradient", found.small.by_gradient), ("CD-1", found.small.by_divergence)):
        energy, square, divergence = (over_machines(_mean, ends_of[:, part]) for part in range(3))
        rows.append(Claim(f"exact end less its data, 12 sites: {name}", "-",
                          f"energy per site {show(*energy, 3, '+')}, m² {show(*square, 3, '+')}",
                          f"data {found.small.data[0]:.3f}, {found.small.data[1]:.3f}; KL {show(*divergence, 4)} nats"))  # fmt: skip
    peaks = ", ".join(f"{value:g}" for value in sorted(main.peak))
    return [
        *rows,
        Claim("direction of the flow", "toward 2.27, opposite to RG",
              f"starts below T = {turn:g} warm, all others cool: {bool(np.all(np.diff(warmer.astype(int)) <= 0))}",
              "trained on T = 4 ... 6: warming "
              f"{int(((hot.values[:, -1, 0] > hot.values[:, 0, 0]).mean(axis=0) > 0.5).sum())} of {len(warmer)} starts"),
        Claim("energy stands still at T", "2.27", f"one step {show(*crossing(found, main, 1))}, all "
              f"{show(*crossing(found, main, -1))}", critical),
        Claim("most likely T of the classifier", "2.27", f"{peaks} by machine", "the mean over chances, as published"),
        Claim("the start is forgotten", "yes", f"energy per site of the ends from T = 6 less from T = 0 "
              f"{show(*over_machines(_mean, last[:, 1] - last[:, 0]), 3, '+')}", f"{found.scale.marks[-1]} steps"),
        Claim("the end has one temperature", "yes", f"energy per site scatters by {show(*spread, 3)}",
              f"in equilibrium at T = {at:.2f} by {canonical_spread(at, side):.3f}"),
    ]  # fmt: skip


def draw_flow(axes: Any, found: Study) -> None:
    """Three axes: the flow by its energy, the ends by three thermometers, and the plane of energy and m²."""
    reader, marks = found.reader, np.array(found.scale.marks)
    main = found.flows[f"{ALL}, {found.scale.size} hidden"]
    way = reader.read(np.moveaxis(main.values.mean(axis=0), 1, 0))  # [3, marks, starts]
    colours = style.series_colours(20)
    places = np.linspace(0, way.shape[2] - 1, 13).astype(int)
    for place, colour in zip(places, colours[3:], strict=False):
        axes[0].plot(marks, way[0, :, place], "o-", color=colour, markersize=3, linewidth=1)
    axes[0].axhline(CRITICAL, color="black", linestyle=":", label="$T_c$")
    axes[0].axhline(reader.read(main.target)[0], color=style.GREY, linestyle="--", label="energy of the data")
    axes[0].set_xscale("symlog", linthresh=1)
    axes[0].set_xlim(-0.1, 1.2 * marks[-1])
    axes[0].set(xlabel="steps v → h → v", ylabel="temperature by the energy / J", ylim=(-0.1, HOTTEST + 0.2))
    axes[0].set_title(f"flow of a machine of {ALL}, {found.scale.size} hidden", fontsize=9)
    axes[0].legend(fontsize=8)
    names = list(found.flows)
    for part, (label, marker) in enumerate(zip(THERMOMETERS, ("o", "s", "^"), strict=True)):
        pairs = [readings(found, flow) for flow in found.flows.values()]
        heights = np.arange(len(names)) + 0.2 * (part - 1)
        axes[1].errorbar([value[part] for value, _ in pairs], heights, xerr=[error[part] for _, error in pairs],
                         fmt=marker, color=style.SERIES[part], markersize=4, capsize=2, label=label)  # fmt: skip
        targets = [reader.read(flow.target)[part] for flow in found.flows.values()]
        axes[1].scatter(targets, heights, marker="|", s=90, color=style.SERIES[part])
    axes[1].axvline(CRITICAL, color="black", linestyle=":")
    axes[1].set_yticks(range(len(names)), names, fontsize=8)
    axes[1].invert_yaxis()
    axes[1].set(xlabel="temperature at the end of the flow / J", xlim=(-0.2, HOTTEST + 0.2))
    axes[1].set_title("by thermometer; bars: their data", fontsize=9)
    axes[1].legend(fontsize=8)
    fine = np.interp(reader.temperatures["m²"], reader.temperatures["energy"], reader.curves["energy"])
    axes[2].plot(fine, -reader.curves["m²"], "-", color="black", label="equilibrium")
    mean = main.values.mean(axis=0)
    for place, colour in zip(places, colours[3:], strict=False):
        axes[2].plot(mean[:, 0, place], -mean[:, 1, place], ".-", color=colour, markersize=3, linewidth=0.8)
    for name, marker in ((f"{ALL}, {found.scale.size} hidden", "*"), (BRIEF, "P")):
        end = found.flows[name].ends.mean(axis=0)
        axes[2].scatter(end[0], -end[1], marker=marker, s=90, color=style.RED, zorder=3, label=f"end: {name}")
    axes[2].scatter(main.target[0], -main.target[1], marker="X", s=70, color="black", zorder=3, label="data")
    axes[2].set(xlabel="energy per site / J", ylabel="$m^2$")
    axes[2].set_title("the flow leaves equilibrium", fontsize=9)
    axes[2].legend(fontsize=8)


def flow(smoke: bool) -> tuple[list[Claim], Study]:
    """Claims, and what `draw_flow` draws."""
    found = study(SMOKE if smoke else Scale())
    return claims(found), found


def main(smoke: bool = False, out: str = "out/rbm_flow") -> None:
    rows, found = flow(smoke)
    print_claims([HEADER, *rows])
    figure, grid = style.new_figure(1, 3, size=(15, 4.6))
    draw_flow(grid[0], found)
    save({"rbm_flow": figure}, out)


if __name__ == "__main__":
    run_main(main, "The flow of a Boltzmann machine that learned Ising configurations.")
