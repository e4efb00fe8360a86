# %% [markdown]
# # Linear probes: what can be read, and what that proves
# A linear classifier of the hidden values of a layer, fitted to its certified optimum, says what can be read there.
# Beside each stand chance, the same probe of the network before training, and a control task of random labels, one for
# each kind of image. Half of the images have a mark in a corner that has nothing to do with their digit: it can be
# read, and a network has no use for it. Whether a layer's values are used is seen by moving them along a probe's
# direction, or by erasing what it reads, and running the rest of the network.
#
# The same readers are then put to physics: along a stack of Boltzmann machines on Ising samples of many temperatures,
# along the levels of a flow of the continuous dual, and along decimated lattices of planar spins. Where do temperature,
# energy, magnetisation and winding become readable? Beside them stand the exact ceiling of any reader of the
# temperature, random machines, and samples turned up: energy and |m| are even in the spins, and no linear function is.

# %%
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jaxrg import nets
from jaxrg.explain import probes
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
import jax
from _probes_networks import (
    NUM_CLASSES,
    Data,
    Trained,
    Used,
    compression,
    data_of,
    interventions,
    read,
    train,
)
from _probes_physics import (
    PLAIN,
    SQUARES,
    TARGETS,
    TURNED,
    Known,
    ceiling,
    ising_samples,
    known_by_flow,
    known_by_machine,
    known_winding,
    known_winding_by_machine,
    stacks,
    winding_samples,
)
from _study import HEADER, Claim, mean_and_error, plus_minus, print_claims, run_main, save, show

MLP, CNN = "MLP", "CNN"


class Scale(NamedTuple):
    """Size of the study."""

    sizes: tuple[int, int, int]  # digits to learn from, to fit probes to, to choose by; twice the last to test
    num_epochs: int
    widths: tuple[int, ...]
    channels: tuple[int, ...]  # none for no convolutions
    num_seeds: int
    layer: int  # of the perceptron that is intervened on
    num_random: int  # directions
    ranks: tuple[int, ...]
    side: int  # of the Ising samples of the stack
    small_side: int  # of those of the flow, and of planar spins
    num_couplings: int
    num_each: int  # samples of a coupling
    num_steps: int  # of Swendsen-Wang before a sample
    layer_sizes: tuple[int, ...]  # of the stack
    stack_epochs: int
    num_features: int  # of the flow
    flow_epochs: int


FULL = Scale((2_000, 1_500, 500), 30, (128, 128, 128, 128, 10), (8, 16, 16), 4, 2, 40, (1, 2, 4, 9), 16, 8, 11, 480, 60,
             (128, 64, 32), 30, 16, 8)  # fmt: skip
SMOKE = Scale((200, 150, 100), 3, (16, 10), (), 1, 1, 4, (1,), 4, 4, 3, 48, 10, (8,), 1, 2, 1)


# %% [markdown]
# ## Layers of networks


# %%
class Layers(NamedTuple):
    """What is read from every layer of networks of one kind, over seeds."""

    trained: np.ndarray  # [seeds, layers, num_test] whether the probe is right
    untrained: np.ndarray
    control: np.ndarray  # the same of the control task, trained networks
    mark: np.ndarray
    bits: np.ndarray  # [seeds, 3, layers] compression by trained and untrained layers and of the control task
    gap: float

    @property
    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Rise of the accuracy from each layer to the next, with an error over seeds and test digits together."""
        rises = np.diff(self.trained.astype(float), axis=1)
        over_digits, over_seeds = mean_and_error(rises.mean(0), axis=1)[1], mean_and_error(rises.mean(2))[1]
        return rises.mean(axis=(0, 2)), np.hypot(over_digits, over_seeds)


def accuracy(rights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and errors ``[layers]`` over seeds and test digits together."""
    values = rights.astype(float)
    over_digits, over_seeds = mean_and_error(values.mean(0), axis=1)[1], mean_and_error(values.mean(2))[1]
    return values.mean(axis=(0, 2)), np.hypot(over_digits, over_seeds)


def layers_of(models: list[Trained], data: Data) -> Layers:
    found: dict[str, list] = {"trained": [], "untrained": [], "control": [], "mark": []}
    bits, gap = [], 0.0
    for seed, model in enumerate(models):
        types = np.asarray(probes.control_labels(jax.random.key(seed), data.labels, data.types))
        after, before = (model.layers(params, data.images) for params in (model.last, model.first))
        tasks = (("trained", after, data.labels), ("untrained", before, data.labels), ("control", after, types),
                 ("mark", after, data.tags))  # fmt: skip
        for name, hidden, labels in tasks:
            each = [read(values, labels, data) for values in hidden]
            found[name].append([one.is_right for one in each])
            gap = max(gap, *(one.gap for one in each))
        pairs = (after, data.labels), (before, data.labels), (after, types)
        bits.append([[compression(values, labels, data) for values in hidden] for hidden, labels in pairs])
    return Layers(**{name: np.array(each) for name, each in found.items()}, bits=np.array(bits), gap=gap)


def ranked(model: Trained, data: Data, layer: int, ranks: tuple[int, ...]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Whether digits and the control task are read right ``[num_test]``, by the rank of the probe."""
    hidden = model.layers(model.last, data.images)[layer]
    control = np.asarray(probes.control_labels(jax.random.key(0), data.labels, data.types))

    def is_right(labels: np.ndarray, rank: int) -> np.ndarray:
        return read(hidden, labels, data, rank).is_right.astype(float)

    return {rank: (is_right(data.labels, rank), is_right(control, rank)) for rank in ranks}


def chance(data: Data) -> float:
    """Share of the test that is of the class most frequent among what probes are fitted to."""
    return float(np.mean(data.labels[data.test] == np.bincount(data.labels[data.fit]).argmax()))


def list_of(pair: tuple[np.ndarray, np.ndarray], digits: int = 3) -> str:
    return " ".join(show(mean, error, digits) for mean, error in zip(*pair, strict=True))


def network_claims(
    found: dict[str, Layers], data: Data, ranks: dict[int, tuple[np.ndarray, np.ndarray]]
) -> list[Claim]:
    rows = []
    for name, each in found.items():
        rise, error = each.steps
        falls = int((rise < -2 * error).sum())
        steps = " ".join(show(*pair, 3, "+") for pair in zip(rise, error, strict=True))
        rows += [
            Claim(f"{name}: accuracy by layer, input to logits", "-", list_of(accuracy(each.trained)),
                  f"untrained {list_of(accuracy(each.untrained))}; chance {chance(data):.3f}"),
            Claim(f"{name}: accuracy rises at every layer", "yes",
                  f"rises {steps}: {int((rise > 2 * error).sum())} rise and {falls} fall by two errors",
                  "untrained, last less first layer "
                  + plus_minus((each.untrained[:, -2].astype(float) - each.untrained[:, 0]).mean(0), 3, "+")),
            Claim(f"{name}: probes are selective", "popular ones are not",
                  f"accuracy less control task {list_of(accuracy(each.trained.astype(float) - each.control))}",
                  f"control task {list_of(accuracy(each.control))}"),
            Claim(f"{name}: labels compressed, times", "trained above random",
                  list_of(mean_and_error(each.bits[:, 0]), 2),
                  f"untrained {list_of(mean_and_error(each.bits[:, 1]), 2)}; control task "
                  f"{list_of(mean_and_error(each.bits[:, 2]), 2)}"),
            Claim(f"{name}: mark in the corner can be read", "-", list_of(accuracy(each.mark)), "chance 0.5"),
        ]  # fmt: skip
    limits = "; ".join(
        f"rank {rank}: {true.mean():.3f} - {false.mean():.3f} = {plus_minus(true - false, 3)}"
        for rank, (true, false) in ranks.items()
    )
    return [*rows, Claim("MLP: low ranks are selective", "rank limits help", limits, "digits - control task")]


def use_claims(used: Used, layer: int) -> list[Claim]:
    flips, rises, erased = used.flips, used.rises, used.erased
    at = f"MLP layer {layer}:"
    return [
        Claim(f"{at} decodable is not used", "need not be",
              f"mark read {used.is_read['mark']:.3f}; moved along it {plus_minus(flips['mark'], 3)} of answers change",
              f"digit read {used.is_read['digit']:.3f}, moved along it {plus_minus(flips['digit'], 3)}; random "
              f"directions {plus_minus(flips['random'], 3)}"),
        Claim(f"{at} probe's direction moves the output", "yes", f"P(digit) {plus_minus(rises['digit'], 3, '+')}",
              f"random directions {plus_minus(rises['random'], 3, '+')}"),
        Claim(f"{at} accuracy, digit erased", "falls",
              f"{plus_minus(erased['digit'], 3)} (new probe {used.left['digit']:.3f})",
              f"nothing erased {plus_minus(erased['nothing'], 3)}, random labels erased "
              f"{plus_minus(erased['random labels'], 3)}"),
        Claim(f"{at} accuracy, mark erased", "stays",
              f"{plus_minus(erased['mark'], 3)} (new probe {used.left['mark']:.3f})",
              f"nothing erased {plus_minus(erased['nothing'], 3)}"),
    ]  # fmt: skip


# %% [markdown]
# ## Levels of physics


# %%
def r_squared(levels: list[dict[str, Known]], form: str, target: int = 0) -> str:
    return " ".join(show(each[form].r_squared[target], each[form].error[target], 2) for each in levels)


def winding_claims(levels: list, stack: dict[str, list]) -> list[Claim]:
    sines, turns, components = (r_squared(levels, form) for form in ("sines", "turns", "components"))
    trained, random = (
        "; ".join(f"{form} {r_squared(stack[name], form)}" for form in (PLAIN, SQUARES))
        for name in ("trained", "random weights")
    )
    return [
        Claim("XY: R^2 of winding by decimation", "-", f"sines of turns {sines}",
              f"turns, whose sum it is {turns}; components {components}"),
        Claim("XY: R^2 of winding by layer of a stack", "-", trained, f"random weights: {random}"),
    ]  # fmt: skip


def physics_claims(stack: dict[str, list], flow: dict[str, list], best: tuple[float, float]) -> list[Claim]:
    rows = []
    for number, target in enumerate(TARGETS):
        for name, levels, other, limit in (
            ("stack", stack["trained"], ("random weights", stack["random weights"]), best[0]),
            ("flow", flow["trained"], ("untrained", flow["untrained"]), best[1]),
        ):
            texts = [f"{form} {r_squared(levels, form, number)}" for form in (PLAIN, SQUARES, TURNED)]
            beside = [f"{form} {r_squared(other[1], form, number)}" for form in (PLAIN, SQUARES, TURNED)]
            end = f"; exact ceiling of any reader {limit:.3f}" if target == "K" else ""
            rows.append(Claim(f"{name}: R^2 of {target} by level", "-", "; ".join(texts),
                              f"{other[0]}: {'; '.join(beside)}{end}"))  # fmt: skip
    return rows


# %%
def draw_networks(found: dict[str, Layers], used: Used, data: Data) -> Figure:
    """Accuracy by layer of each network with its controls, and what interventions do."""
    figure, grid = style.new_figure(1, len(found) + 1, size=(4.7 * len(found) + 4.7, 4.2))
    for axes, (name, each) in zip(grid[0], found.items(), strict=False):
        lines = (
            ("digit, trained", each.trained, style.RED),
            ("digit, untrained", each.untrained, style.BLUE),
            ("control task, trained", each.control, style.ORANGE),
            ("mark, trained", each.mark, style.GREEN),
        )
        for label, rights, colour in lines:
            mean, error = accuracy(rights)
            axes.errorbar(range(len(mean)), mean, error, fmt="o-", color=colour, label=label, markersize=4, capsize=2)
        axes.axhline(chance(data), color="grey", linestyle=":", label="chance, digit")
        count = each.trained.shape[1]
        axes.set_xticks(range(count), ["image", *map(str, range(1, count - 1)), "logits"])
        axes.set(xlabel=f"layer of the {name}", ylabel="held-out accuracy of the probe", ylim=(0, 1.03))
    grid[0][0].legend(fontsize=8)
    axes = grid[0][-1]
    names = list(used.erased)
    for place, name in enumerate(names):
        mean, error = mean_and_error(used.erased[name])
        colour = style.GREY if name in ("nothing", "random labels") else style.RED if name == "digit" else style.GREEN
        axes.bar(place, float(mean), yerr=float(error), color=colour, capsize=3)
    axes.axhline(chance(data), color="grey", linestyle=":")
    axes.set_xticks(range(len(names)), names)
    axes.set(xlabel="erased from a layer of the MLP", ylabel="accuracy of the network", ylim=(0, 1.03))
    return figure


def draw_physics(stack: dict[str, list], flow: dict[str, list], best: tuple[float, float]) -> Figure:
    """R^2 of each even target by level: values, squares, values turned up; dashed without training."""
    figure, grid = style.new_figure(2, 3, size=(13, 7), sharey=True)
    rows = (
        (grid[0], "stack", stack, ("spins", "layer"), best[0]),
        (grid[1], "flow", flow, ("field", "latents"), best[1]),
    )
    colours = dict(zip((PLAIN, SQUARES, TURNED), (style.BLUE, style.ORANGE, style.RED), strict=True))
    for line, name, both, (first, rest), limit in rows:
        for number, axes in enumerate(line):
            for levels, dashes in zip(both.values(), ("-", "--"), strict=True):
                for form, colour in colours.items():
                    mean, error = ([getattr(each[form], part)[number] for each in levels] for part in Known._fields)
                    label = form if dashes == "-" else None
                    axes.errorbar(range(len(mean)), mean, error, fmt=f"o{dashes}", color=colour, label=label,
                                  markersize=4, capsize=2)  # fmt: skip
            if number == 0:
                axes.axhline(limit, color="black", linestyle=":", label="exact ceiling of any reader")
            ticks = [first, *(f"{rest} {level + (name == 'stack')}" for level in range(len(mean) - 1))]
            axes.set_xticks(range(len(mean)), ticks)
            axes.set_title(f"{name}: ${TARGETS[number]}$")
            axes.set_ylim(-0.1, 1.05)
        line[0].set_ylabel("held-out $R^2$, linear")
    grid[1][0].legend(fontsize=8, ncols=2, loc="upper right")  # the one panel with room above its lines
    figure.suptitle("solid: trained; dashed: random machines, untrained flow")
    return figure


def main(smoke: bool = False, out: str = "out/probes") -> None:
    scale = SMOKE if smoke else FULL

    def done(what: str) -> None:
        print(f"{time.process_time():5.0f} s of processor time: {what}", flush=True)

    data = data_of(scale.sizes)
    kinds: dict[str, Any] = {MLP: (nets.mlp(scale.widths), "relu")}
    if scale.channels:
        kinds[CNN] = nets.cnn(scale.channels, NUM_CLASSES), "div"  # of its pools
    models = {
        name: [train(net, kind, data, scale.num_epochs, seed) for seed in range(scale.num_seeds)]
        for name, (net, kind) in kinds.items()
    }
    done("networks trained")
    found = {name: layers_of(each, data) for name, each in models.items()}
    done(f"layers read, gaps certified up to {max(each.gap for each in found.values()):.1e} nats")
    used = interventions(models[MLP][0], data, scale.layer, scale.num_random)
    ranks = ranked(models[MLP][0], data, len(scale.widths) - 1, scale.ranks)
    done("interventions")
    couplings = np.linspace(0.3, 0.55, scale.num_couplings)
    samples = ising_samples(scale.side, couplings, scale.num_each, scale.num_steps)
    trained = stacks(samples, scale.layer_sizes, scale.stack_epochs)
    stack = {name: known_by_machine(samples, machines) for name, machines in trained.items()}
    done("stack of Boltzmann machines")
    small = ising_samples(scale.small_side, couplings, scale.num_each, scale.num_steps)
    flow = known_by_flow(small, scale.num_features, scale.flow_epochs)
    done("flow")
    angles, winding = winding_samples(scale.small_side, 2 * couplings, scale.num_each, scale.num_steps)
    planar = known_winding(angles, winding)
    planar_stack = known_winding_by_machine(angles, winding, scale.layer_sizes, scale.stack_epochs)
    done("planar spins")
    best = ceiling(samples), ceiling(small)
    print_claims([HEADER, *network_claims(found, data, ranks), *use_claims(used, scale.layer),
                  *physics_claims(stack, flow, best), *winding_claims(planar, planar_stack)])  # fmt: skip
    save({"probes_networks": draw_networks(found, used, data), "probes_physics": draw_physics(stack, flow, best)}, out)


# %%
if __name__ == "__main__":
    run_main(main, "Linear probes: what can be read, and what that proves.")
