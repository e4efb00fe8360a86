# %% [markdown]
# # Twelve ways to make attacks transfer, and the interaction inside the perturbation
# Each published way changes one part of an attack step (`_attack_steps.py`). It is said that all of them work by one
# mechanism: less interaction between the parts of the perturbation. Every way is measured on two residual networks, in
# both directions: the mean pair interaction in the source, and how often the target is fooled. Attacks are compared at
# one budget, and at equal strength, where every perturbation is shrunk until the source is fooled by one and the same
# margin. What is left then may still be a matter of size, so the L2 norm is measured beside the interaction.

# %%
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen
from matplotlib.figure import Figure

from jaxrg import datasets, nets, training
from jaxrg.explain import perturbations
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _attack_comparison import FEWEST, Comparison, compare, correlations, shuffle, spread
from _attack_steps import METHODS, PATCHES, Case, Step, Surrogate, attack
from _study import HEADER, Claim, print_claims, run_main, save, show

EPSILON = 0.25  # of grey levels in [0, 1]
LEVEL = 0.5  # of the plain attack's median margin in the source: the strength at which attacks are compared
TWELVE = tuple(METHODS)
PENALTY = 30.0  # of the interaction, a mean over 15 partners: 2 for each
# If interaction is the mechanism, four times the penalty transfers better than once, and a reward worse than none.
PENALTIES = {"IR x 4": 4 * PENALTY, "IR reversed": -PENALTY}


class Setting(NamedTuple):
    widths: dict[str, int]
    num_seeds: int
    num_images: int
    num_steps: int
    num_epochs: int
    num_train: int


FULL = Setting({"dense": 100, "conv": 8}, 4, 100, num_steps=10, num_epochs=8, num_train=3000)
SMOKE = Setting({"dense": 8, "conv": 2}, 1, 6, num_steps=2, num_epochs=1, num_train=200)


# %%
class Residual(linen.Module):
    """A residual network in two halves, of dense layers or of 3x3 convolutions with a stride between the halves."""

    width: int
    is_convolutional: bool
    branch: Callable[[jax.Array], jax.Array] = lambda branch: branch  # of every block, forwards and backwards
    upper_relu: Callable[[jax.Array], jax.Array] = jax.nn.relu

    def setup(self):
        def layer(widen: int = 1, stride: int = 1):
            spread = linen.initializers.he_uniform()
            if self.is_convolutional:
                return linen.Conv(widen * self.width, (3, 3), strides=stride, kernel_init=spread)
            return linen.Dense(self.width, kernel_init=spread)

        self.stem, self.low_in, self.low_out = layer(stride=2), layer(), layer()
        self.middle, self.high_in, self.high_out = layer(2, 2), layer(2), layer(2)
        self.readout = linen.Dense(10)

    def lower(self, images):
        inputs = images[..., None] if self.is_convolutional else images.reshape(len(images), -1)
        hidden = jax.nn.relu(self.stem(inputs))
        return jax.nn.relu(hidden + self.branch(self.low_out(jax.nn.relu(self.low_in(hidden)))))

    def upper(self, hidden):
        hidden = self.upper_relu(self.middle(hidden))
        hidden = self.upper_relu(hidden + self.branch(self.high_out(self.upper_relu(self.high_in(hidden)))))
        return self.readout(hidden.reshape(len(hidden), -1))

    def __call__(self, images):
        return self.upper(self.lower(images))


def surrogate(module: Residual, params, **backward: Any) -> Surrogate:
    changed = module.clone(**backward)
    return Surrogate(
        lambda images: jnp.asarray(changed.apply(params, images, method="lower")),
        lambda hidden: jnp.asarray(changed.apply(params, hidden, method="upper")),
    )


def train(key, module: Residual, data: datasets.Dataset, num_epochs: int):
    net = nets.from_linen(module)

    def loss_fn(key, params, batch):
        images, labels = batch
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(net.apply(params, images), labels))

    init_key, fit_key = jax.random.split(key)
    params = jax.jit(net.init)(init_key, data.inputs[:1])
    inputs = data.inputs, data.labels
    gradient = training.gradient_of(loss_fn)
    run = training.fit(fit_key, gradient, optax.adam(2e-3), params, inputs, num_epochs=num_epochs, batch_size=50)
    return run.params


# %%
@functools.cache
def attacker(module: Residual, name: str):
    """Compiled: the perturbations of a batch."""
    step = {"plain": Step(), **METHODS}[name]

    @jax.jit
    def run(params, images, labels, num_steps, penalty):
        source = surrogate(module, params, **step.backward)

        def one(key, image, label):
            start_key, attack_key = jax.random.split(key)
            start = 0.1 * EPSILON * jax.random.uniform(start_key, image.shape, minval=-1, maxval=1)
            case = Case(source, image, label, start, jnp.float32(EPSILON), num_steps, penalty)
            return attack(attack_key, case, step)

        keys = jax.random.split(jax.random.key(0), len(labels))
        return jax.vmap(one)(keys, images, labels)

    return run


@functools.cache
def measurer(source: Residual, target: Residual):
    """Compiled: what is measured of perturbations, as they are and shrunk to equal strength."""

    @jax.jit
    def run(source_params, target_params, images, labels, delta, level):
        from_source, from_target = surrogate(source, source_params), surrogate(target, target_params)

        def margins(net, delta):
            return jax.vmap(perturbations.adversarial_margin)(net(images + delta), labels)

        def halve(_, bounds):
            low, high = bounds
            middle = 0.5 * (low + high)
            is_enough = margins(from_source, middle.reshape(-1, 1, 1) * delta) >= level
            return jnp.where(is_enough, low, middle), jnp.where(is_enough, middle, high)

        def interaction(image, part, label):
            return perturbations.perturbation_interaction(from_source, image, part, label, PATCHES)

        def columns(delta, is_compared):
            return {
                "compared": is_compared,
                "strength": margins(from_source, delta),
                "source": margins(from_source, delta) > 0,
                "target": margins(from_target, delta) > 0,
                "gain": margins(from_target, delta),
                "interaction": jax.vmap(interaction)(images, delta, labels),
                "size": jnp.sqrt(jnp.sum(delta**2, axis=(1, 2))),
            }

        ends = jnp.zeros(len(labels)), jnp.ones(len(labels))
        _, scale = jax.lax.fori_loop(0, 12, halve, ends)
        reaches = margins(from_source, delta) >= level
        shrunk = scale.reshape(-1, 1, 1) * delta
        return {"budget": columns(delta, jnp.ones_like(reaches)), "strength": columns(shrunk, reaches)}

    return run


def attack_pair(modules, params, direction: str, images, labels, setting: Setting) -> dict:
    """By attack and comparison, what is measured of every image."""
    source, target = direction.split(" to ")

    def run(name: str, num_steps: int, penalty: float = PENALTY):
        numbers = jnp.int32(num_steps), jnp.float32(penalty)
        return attacker(modules[source], name)(params[source], images, labels, *numbers)

    deltas = {name: run(name, setting.num_steps) for name in ("plain", *TWELVE)}
    deltas |= {name: run("IR", setting.num_steps, penalty) for name, penalty in PENALTIES.items()}
    deltas["one step"] = run("plain", 1)
    noise = EPSILON * jnp.sign(jax.random.normal(jax.random.key(7), images.shape))
    for name, part in (("noise", noise), ("plain + noise", deltas["plain"] + 0.5 * noise)):
        deltas[name] = jnp.clip(images + jnp.clip(part, -EPSILON, EPSILON), 0.0, 1.0) - images
    measure = measurer(modules[source], modules[target])
    given = params[source], params[target], images, labels
    plain = measure(*given, deltas["plain"], jnp.float32(0.0))
    level = LEVEL * jnp.median(plain["budget"]["strength"])
    return {name: jax.tree.map(np.asarray, measure(*given, delta, level)) for name, delta in deltas.items()}


# %%
def count(found: Comparison, key: str) -> tuple[int, int, int]:
    """Of the published ways: how many are compared, and lower or raise it by more than two errors."""
    chosen = found.twelve()
    estimates, errors = found.changes[key][0, chosen], spread(found.changes[key][:, chosen])
    return len(chosen), int((estimates < -2 * errors).sum()), int((estimates > 2 * errors).sum())


def claims_of(found: Comparison, label: str) -> tuple[list[Claim], str]:
    """The lines of one comparison, and the verdict on them."""
    chosen = found.twelve()
    num, lower, higher = count(found, "interaction")
    _, worse, better = count(found, "target")
    interaction, target, gain, size = (
        found.changes[key][:, chosen] for key in ("interaction", "target", "gain", "size")
    )
    r, by_margin, by_size, sizes = (
        correlations(*pair)
        for pair in ((interaction, target), (interaction, gain), (size, target), (interaction, size))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        at_one_size = (r - sizes * by_size) / np.sqrt((1 - sizes**2) * (1 - by_size**2))
    null, null_by_margin = shuffle(interaction[0], target[0]), shuffle(interaction[0], gain[0])
    change = lambda key, name, digits: show(*found.of("changes", key, name), digits, "+")  # noqa: E731
    more = np.subtract(*(found.changes["target"][:, found.names.index(name)] for name in ("IR x 4", "IR")))
    claims = [
        Claim(
            f"{label}: each lowers the interaction",
            "12 of 12",
            f"lower {lower}, higher {higher}, of {num}",
            f"plain + noise: {change('interaction', 'plain + noise', 4)}",
        ),
        Claim(
            f"{label}: each raises transfer",
            "12 of 12",
            f"higher {better}, lower {worse}, of {num}",
            f"plain + noise: {change('target', 'plain + noise', 3)}",
        ),
        Claim(
            f"{label}: correlation of the changes",
            "negative",
            show(r[0], spread(r)),
            f"shuffled: 0 ± {null.width:.2f}, p = {null.share_as_far:.3f}; "
            f"L2 size for interaction: {show(by_size[0], spread(by_size))}, "
            f"held constant: {show(at_one_size[0], spread(at_one_size))}",
        ),
        Claim(
            f"{label}: the same with the target's margin",
            "negative",
            show(by_margin[0], spread(by_margin)),
            f"shuffled: 0 ± {null_by_margin.width:.2f}, p = {null_by_margin.share_as_far:.3f}",
        ),
        Claim(
            f"{label}: a penalty four times as large transfers better",
            "higher",
            show(more[0], spread(more), 3, "+"),
            f"reversed against none: {change('target', 'IR reversed', 3)}",
        ),
    ]
    is_negative = r[0] < 0 and null.share_as_far < 0.05
    if lower == better == num and is_negative:
        verdict = "reproduced"
    elif 2 * min(lower, better) > num and is_negative:
        verdict = "in tendency: most of the ways, not all"
    else:
        failed = [
            text
            for text, holds in (
                (f"that most lower the interaction ({lower} of {num})", 2 * lower > num),
                (f"that most raise transfer ({better} of {num})", 2 * better > num),
                (f"a negative correlation beyond chance ({r[0]:.2f}, p = {null.share_as_far:.2f})", is_negative),
            )
            if not holds
        ]
        verdict = f"not shown: {', '.join(failed)}"
    return claims, f"{label}: {verdict}"


def report(found: Comparison, label: str) -> None:
    """Every attack."""
    print(f"\n{label}; changes are against plain, of the same images")
    columns = (
        *("attack", "compared", "source margin", "fools source", "fools target", "change"),
        *("interaction", "change", "change of L2"),
    )
    widths = 14, 8, 14, 14, 14, 15, 17, 18, 13
    print(" ".join(f"{text:>{width}}" for text, width in zip(columns, widths, strict=True)))
    for i, name in enumerate(found.names):
        cells = [
            show(*found.of(which, key, name), digits, "+" if which == "changes" else "")
            for which, key, digits in (
                ("means", "strength", 2),
                ("means", "source", 3),
                ("means", "target", 3),
                ("changes", "target", 3),
                ("means", "interaction", 4),
                ("changes", "interaction", 4),
                ("changes", "size", 2),
            )
        ]
        row = name, f"{found.means['compared'][0, i]:.2f}", *cells
        print(" ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True)))


# %%
def draw(compared: dict[str, Comparison]) -> Figure:
    """At equal strength, transfer against interaction and against size, both as changes; a row a direction."""
    figure, grid = style.new_figure(len(compared), 2, size=(12, 4.6 * len(compared)))
    for row, (direction, found) in zip(grid, compared.items(), strict=True):
        chosen = found.twelve()
        controls = [found.names.index(name) for name in ("plain", "one step", "plain + noise", *PENALTIES)]
        controls = [i for i in controls if found.means["compared"][0, i] >= FEWEST]
        for axes, key in zip(row, ("interaction", "size"), strict=True):
            for columns, colour, label in (
                (chosen, style.BLUE, "published ways"),
                (controls, style.ORANGE, "plain and controls"),
            ):
                x, y = found.changes[key][:, columns], found.changes["target"][:, columns]
                errors = {"xerr": spread(x), "yerr": spread(y)}
                options = {"fmt": "o", "markersize": 4, "elinewidth": 0.7, "color": colour, "label": label}
                axes.errorbar(x[0], y[0], **errors, **options)
                for i, column in enumerate(columns):
                    height = 3 if columns is chosen else -10  # labels of the two kinds on either side
                    place = {"xytext": (4, height), "textcoords": "offset points", "fontsize": 8, "color": colour}
                    axes.annotate(found.names[column], (x[0, i], y[0, i]), **place)
            r = correlations(found.changes[key][:, chosen], found.changes["target"][:, chosen])
            axes.set_title(f"{direction}: r = {show(r[0], spread(r))} over {len(chosen)} published ways", fontsize=9)
            axes.margins(x=0.12)
            axes.axhline(0, color=style.GREY, linewidth=0.8)
            axes.axvline(0, color=style.GREY, linewidth=0.8)
        row[0].set_xlabel("change of the mean pair interaction in the source (logits)")
        row[1].set_xlabel("change of the L2 size (grey levels)")
        row[0].set_ylabel("change of the fraction that fools the target")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def main(smoke: bool = False, out: str = "out/twelve_attacks") -> None:
    setting = SMOKE if smoke else FULL
    jax.config.update("jax_disable_most_optimizations", smoke)  # compiling takes longer than running there
    digits = datasets.mnist_5k()
    modules = {name: Residual(width, name == "conv") for name, width in setting.widths.items()}
    directions = ("dense to conv",) if smoke else ("dense to conv", "conv to dense")
    runs: dict[str, list] = {direction: [] for direction in directions}
    for seed in range(setting.num_seeds):
        split_key, *keys = jax.random.split(jax.random.key(seed), 3)
        train_set, test_set = datasets.split(split_key, digits, setting.num_train, 500)
        params = {
            name: train(key, modules[name], train_set, setting.num_epochs)
            for key, name in zip(keys, modules, strict=True)
        }
        is_right = np.ones(len(test_set.labels), bool)
        for name, module in modules.items():
            outputs = jax.jit(module.apply)(params[name], test_set.inputs)
            is_right &= np.asarray(jnp.argmax(jnp.asarray(outputs), axis=1) == test_set.labels)
        print(f"seed {seed}: both networks are right on {is_right.mean():.3f} of the test images", flush=True)
        rows = np.argsort(~is_right, kind="stable")[: setting.num_images]  # those both are right on come first
        for direction, found in runs.items():
            inputs = test_set.inputs[rows], test_set.labels[rows]
            found.append(attack_pair(modules, params, direction, *inputs, setting))
    claims, verdicts, at_strength = [HEADER], [], {}
    for direction, found in runs.items():
        titles = {
            "budget": f"every |entry| <= {EPSILON}",
            "strength": f"every image at {LEVEL} of the plain median source margin",
        }
        for kind, title in titles.items():
            compared = compare(
                {
                    n: {k: np.stack([run[n][kind][k] for run in found]) for k in columns[kind]}
                    for n, columns in found[0].items()
                }
            )
            report(compared, f"{direction}, {title}")
            lines, verdict = claims_of(compared, f"{direction}, equal {kind}")
            claims += lines
            verdicts.append(verdict)
            if kind == "strength":
                at_strength[direction] = compared
    print()
    print_claims(claims)
    print("\nOne mechanism, less interaction?")
    print("\n".join(verdicts))
    save({"twelve_attacks": draw(at_strength)}, out)


# %%
if __name__ == "__main__":
    run_main(main, "Twelve ways to make attacks transfer, and the interaction inside the perturbation.")
