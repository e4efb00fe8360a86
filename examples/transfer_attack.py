# %% [markdown]
# # Attacks that transfer, and the orders a network does not learn
# An adversarial perturbation is cut into patches, the players of a game. Attacks made on one network are tried on
# another, with and without a penalty on the mean pair interaction of the patches, which costs 2n + 2 passes.
# A penalised attack is weaker on its source, so it is also compared with a plain one shrunk to equal strength there,
# which is smaller: mind the L2 sizes. A second part measures which orders of interaction trained networks hold, over
# all contexts, and three losses that are to change it.

# %%
import functools
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from jaxrg import datasets, explain, interactions, nets, training
from jaxrg.explain import perturbations
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _study import HEADER, Claim, mean_and_error, plus_minus, print_claims, run_main, save, show

EPSILON = 0.15  # of grey levels in [0, 1]
PATCHES = interactions.patches((28, 28), (4, 3))
NUM_PLAYERS = 12
NUM_ORDERS = NUM_PLAYERS - 1
# name: (interaction weight, momentum)
ATTACKS = {
    "PGD": (0.0, 0.0),
    "MI-FGSM": (0.0, 1.0),
    "weight 1": (1.0, 1.0),
    "weight 30": (30.0, 1.0),
    "weight 300": (300.0, 1.0),
    "weight -300": (-300.0, 1.0),
}
OPTIMIZER = optax.adam(2e-3)
# name: (sign of the loss, players in the smaller and the larger context)
ORDER_LOSSES = {"encourage 2-4": (1, 2, 4), "encourage 5-9": (1, 5, 9), "penalise 5-9": (-1, 5, 9)}


class Setting(NamedTuple):
    networks: dict[str, nets.Net]
    num_seeds: int
    num_images: int
    num_steps: int
    num_epochs: int
    num_train: int
    num_explained: int


NETS = {"MLP": nets.mlp((128, 10)), "CNN": nets.cnn((8, 16), 10)}
FULL = Setting(NETS, num_seeds=3, num_images=60, num_steps=10, num_epochs=6, num_train=3000, num_explained=20)
TINY = {"MLP": nets.mlp((10,)), "CNN": nets.cnn((2,), 10)}
SMOKE = Setting(TINY, num_seeds=1, num_images=4, num_steps=1, num_epochs=1, num_train=200, num_explained=2)


# %%
@functools.cache
def gradient_fn(net: nets.Net, orders=None):
    """Of the cross entropy, with a loss on a range of orders added where one is asked for."""

    def masked(mask, image):
        return interactions.apply_masks(mask, image, jnp.zeros_like(image), PATCHES)

    def loss_fn(key, params, batch):
        images, labels = batch
        outputs = net.apply(params, images)
        loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, labels))
        if orders is not None:
            sign, lower, upper = orders
            draw = lambda k: explain.bottleneck.nested_masks(k, NUM_PLAYERS, lower=lower, upper=upper)  # noqa: E731
            smaller, larger = jax.vmap(draw)(jax.random.split(key, images.shape[0]))
            small, large = (net.apply(params, jax.vmap(masked)(mask, images)) for mask in (smaller, larger))
            contrast = explain.bottleneck.order_contrast(small, large, lower=lower, upper=upper)
            if sign > 0:
                loss = loss + jnp.mean(optax.softmax_cross_entropy_with_integer_labels(contrast, labels))
            else:
                loss = loss + jnp.mean(explain.bottleneck.penalize_orders(contrast))
        return loss

    return training.gradient_of(loss_fn)


def train(key, net: nets.Net, data: datasets.Dataset, num_epochs: int, orders=None):
    """Parameters of a classifier before and after training."""
    init_key, fit_key = jax.random.split(key)
    params = net.init(init_key, data.inputs[:1])
    run = training.fit(
        fit_key,
        gradient_fn(net, orders),
        OPTIMIZER,
        params,
        (data.inputs, data.labels),
        num_epochs=num_epochs,
        batch_size=50,
    )
    return params, run.params


@functools.partial(jax.jit, static_argnums=0)
def accuracy(net: nets.Net, params, inputs, labels):
    return jnp.mean(jnp.argmax(net.apply(params, inputs), axis=1) == labels)


# %%
@functools.cache
def attacker(source: nets.Net, num_steps: int):
    """Compiled: perturbations of a batch, and the mean pair interaction in each."""

    @jax.jit
    def attack(params, images, labels, weight, momentum):
        model = lambda inputs: source.apply(params, inputs)  # noqa: E731

        def one(inputs):
            image, label = inputs
            objective = perturbations.interaction_reduced_objective(model, image, label, PATCHES, weight=weight)
            found = perturbations.momentum_attack(
                jax.random.key(0), objective, image, epsilon=EPSILON, num_steps=num_steps, momentum=momentum
            )
            delta = found.perturbation
            return delta, perturbations.perturbation_interaction(model, image, delta, label, PATCHES)

        return jax.lax.map(one, (images, labels), batch_size=20)

    return attack


@functools.partial(jax.jit, static_argnums=0)
def margins(net: nets.Net, params, images, labels) -> jax.Array:
    return jax.vmap(perturbations.adversarial_margin)(net.apply(params, images), labels)


def scaled_to(margin: float, source: nets.Net, params, images, labels, delta):
    """The same perturbations, all shrunk by one factor until their mean margin in the source is no larger."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = 0.5 * (low + high)
        is_weaker = margins(source, params, images + middle * delta, labels).mean() < margin
        low, high = (middle, high) if is_weaker else (low, middle)
    return low * delta


def attack_pair(source, target, source_params, target_params, images, labels, setting: Setting) -> dict:
    """Per image and attack: fooled source, fooled target, gain of the target's margin, interaction, size."""
    found = {}
    clean = np.asarray(margins(target, target_params, images, labels))
    noise = EPSILON * jnp.sign(jax.random.normal(jax.random.key(7), images.shape))
    candidates = {"noise": (jnp.clip(images + noise, 0.0, 1.0) - images, jnp.full(len(labels), jnp.nan))}
    for name, (weight, momentum) in ATTACKS.items():
        run = attacker(source, setting.num_steps)
        candidates[name] = run(source_params, images, labels, jnp.float32(weight), jnp.float32(momentum))
    run = attacker(source, 1)
    candidates["one step"] = run(source_params, images, labels, jnp.float32(0.0), jnp.float32(0.0))
    strength = margins(source, source_params, images + candidates["weight 300"][0], labels).mean()
    shrunk = scaled_to(strength, source, source_params, images, labels, candidates["MI-FGSM"][0])
    candidates["MI-FGSM, shrunk"] = shrunk, jnp.full(len(labels), jnp.nan)
    for name, (delta, interaction) in candidates.items():
        after = np.asarray(margins(target, target_params, images + delta, labels))
        found[name] = {
            "source": np.asarray(margins(source, source_params, images + delta, labels)) > 0,
            "target": after > 0,
            "gain": after - clean,
            "interaction": np.asarray(interaction),
            "size": np.asarray(jnp.sqrt(jnp.sum(delta**2, axis=(1, 2)))),
        }
    return found


def join(runs: list[dict]) -> dict:
    """The images of all seeds behind one another."""
    return {a: {k: np.concatenate([run[a][k] for run in runs]) for k in runs[0][a]} for a in runs[0]}


def with_error(statistic, *columns: np.ndarray) -> tuple[float, float]:
    """A statistic over images and its bootstrap error."""
    random = np.random.default_rng(0)
    size = len(columns[0])
    draws = [statistic(*(c[rows] for c in columns)) for rows in random.integers(0, size, (300, size))]
    # A draw of one image alone has no correlation.
    spread = np.std(draws) if np.isnan(draws).all() else np.nanstd(draws)
    return float(statistic(*columns)), float(spread)


correlation = jax.jit(lambda first, second: jnp.corrcoef(first, second)[0, 1])


# %%
def game_of(net: nets.Net, params, image, label) -> interactions.Game:
    """Log odds of the label where patches of one image are black."""
    return interactions.masked_game(
        functools.partial(net.apply, params),
        image,
        baseline=jnp.zeros_like(image),
        assignment=PATCHES,
        score=lambda outputs: interactions.log_odds(outputs, label),
    )


@functools.partial(jax.jit, static_argnums=0)
def exact_curve(net: nets.Net, params, images, labels) -> jax.Array:
    """J by order, over all pairs and all contexts."""

    def one(inputs):
        values = interactions.evaluate(game_of(net, params, *inputs))
        return interactions.multi_order_interactions(values)

    return explain.bottleneck.bottleneck_curve(jax.lax.map(one, (images, labels)))


@functools.partial(jax.jit, static_argnums=0)
def sampled_curve(net: nets.Net, params, images, labels) -> jax.Array:
    """J by order, over 20 pairs and 60 contexts of each: what is left when there are too many players to tabulate."""

    def one(inputs):
        key, image, label = inputs
        game, orders = game_of(net, params, image, label), tuple(range(NUM_ORDERS))
        return explain.bottleneck.sample_orders(key, game, orders=orders, num_pairs=20, num_contexts=60).interactions

    keys = jax.random.split(jax.random.key(1), len(labels))
    return explain.bottleneck.bottleneck_curve(jax.lax.map(one, (keys, images, labels)))


def curve(net: nets.Net, params, data: datasets.Dataset, setting: Setting, estimate=exact_curve) -> np.ndarray:
    """J by order of one network."""
    chosen = slice(setting.num_explained)
    return np.asarray(estimate(net, params, data.inputs[chosen], data.labels[chosen]))


def middle_over_ends(shares: np.ndarray) -> float:
    """The three middle orders against the first and last two."""
    return float(shares[4:7].mean() / shares[[0, 1, -2, -1]].mean())


# %%
def draw(attacks: dict, curves: dict) -> Figure:
    """Success by attack; interaction against transfer; J by order."""
    figure, grid = style.new_figure(1, 3, size=(14.5, 4.4))
    bars, scatter, orders = grid[0]
    names = ["noise", "one step", *ATTACKS, "MI-FGSM, shrunk"]
    for shift, (direction, colour) in enumerate(zip(attacks, (style.BLUE, style.ORANGE), strict=False)):
        rates = [with_error(np.mean, attacks[direction][name]["target"]) for name in names]
        places = np.arange(len(names)) + 0.4 * shift - 0.2
        bars.barh(places, [r[0] for r in rates], 0.38, xerr=[r[1] for r in rates], color=colour, label=direction)
        plain = attacks[direction]["MI-FGSM"]
        scatter.plot(plain["interaction"], plain["gain"], ".", color=colour, label=direction, alpha=0.6)
    bars.set_yticks(range(len(names)), names)
    bars.invert_yaxis()
    bars.set_xlabel("fraction of images that fool the target")
    bars.legend(fontsize=8, loc="upper right")
    scatter.set_xlabel("mean pair interaction in the source (logits)")
    scatter.set_ylabel("gain of the target's margin (logits)")
    scatter.set_title("MI-FGSM, one point an image", fontsize=9)
    scatter.legend(fontsize=8)
    for (name, values), colour in zip(curves.items(), (*style.SERIES, style.GREY), strict=False):
        mean, error = mean_and_error(values)
        options = {"color": colour, "linestyle": ":" if "untrained" in name else "-", "capsize": 2, "label": name}
        orders.errorbar(range(NUM_ORDERS), mean, yerr=error, **options)
    orders.axhline(1, color=style.GREY, linewidth=0.8)
    orders.set_xlabel("order m: players in the context, of 10")
    orders.set_ylabel("$J^{(m)}$, share relative to the mean")
    orders.legend(fontsize=8)
    return figure


def main(smoke: bool = False, out: str = "out/transfer_attack") -> None:
    setting = SMOKE if smoke else FULL
    digits, networks = datasets.mnist_5k(), setting.networks
    directions = ("MLP to CNN",) if smoke else ("MLP to CNN", "CNN to MLP")
    runs: dict[str, list[dict]] = {direction: [] for direction in directions}
    curves: dict[str, list[np.ndarray]] = {}
    scores: dict[str, list[float]] = {}
    for seed in range(setting.num_seeds):
        split_key, *keys = jax.random.split(jax.random.key(seed), 3)
        net_keys = dict(zip(networks, keys, strict=True))
        train_set, test_set = datasets.split(split_key, digits, setting.num_train, 500)
        trained: dict = {}
        for name, net in networks.items():
            start, trained[name] = train(net_keys[name], net, train_set, setting.num_epochs)
            for label, params in ((f"{name} untrained", start), (f"{name} plain", trained[name])):
                if smoke and name == "CNN":
                    continue
                curves.setdefault(label, []).append(curve(net, params, test_set, setting))
                scores.setdefault(label, []).append(float(accuracy(net, params, test_set.inputs, test_set.labels)))
        for label, orders in ORDER_LOSSES.items():
            if smoke and label != "encourage 5-9":
                continue
            # From the same start and on the same batches as without the loss.
            _, params = train(net_keys["MLP"], networks["MLP"], train_set, setting.num_epochs, orders)
            curves.setdefault(f"MLP {label}", []).append(curve(networks["MLP"], params, test_set, setting))
            score = float(accuracy(networks["MLP"], params, test_set.inputs, test_set.labels))
            scores.setdefault(f"MLP {label}", []).append(score)
        is_right = np.ones(len(test_set.labels), bool)
        for name, params in trained.items():
            is_right &= np.asarray(margins(networks[name], params, test_set.inputs, test_set.labels)) < 0
        rows = np.flatnonzero(is_right)[: setting.num_images]
        images, labels = test_set.inputs[rows], test_set.labels[rows]
        for direction in runs:
            source, target = direction.split(" to ")
            pair = networks[source], networks[target], trained[source], trained[target]
            runs[direction].append(attack_pair(*pair, images, labels, setting))
    attacks = {direction: join(found) for direction, found in runs.items()}
    sampled = curve(networks["MLP"], trained["MLP"], test_set, setting, sampled_curve)
    print(
        f"J of the MLP, sampled against exact: largest difference {np.abs(sampled - curves['MLP plain'][-1]).max():.3f}"
    )
    report(attacks, curves, scores)
    print()
    print_claims([HEADER, *attack_claims(attacks), *order_claims(curves)])
    save({"transfer_attack": draw(attacks, curves)}, out)


def report(attacks: dict, curves: dict, scores: dict) -> None:
    """Every attack and every network."""
    for direction, found in attacks.items():
        print(f"\n{direction}: {len(found['PGD']['target'])} images, |entry| <= {EPSILON}")
        print(f"{'attack':<20} {'fools source':>16} {'fools target':>16} {'interaction':>19} {'L2 size':>16}")
        for name, columns in found.items():
            cells = [
                show(*with_error(np.mean, columns[key].astype(float)), digits)
                for key, digits in (("source", 3), ("target", 3), ("interaction", 4), ("size", 3))
            ]
            print(f"{name:<20} {cells[0]:>16} {cells[1]:>16} {cells[2]:>19} {cells[3]:>16}")
    print(f"\n{'network':<20} {'test accuracy':>16} {'J middle / ends':>18} {'mean order':>14}")
    for name, values in curves.items():
        centre = [np.arange(NUM_ORDERS) @ shares / shares.sum() for shares in values]
        cells = plus_minus(scores[name], 3), plus_minus([middle_over_ends(one) for one in values]), plus_minus(centre)
        print(f"{name:<20} {cells[0]:>16} {cells[1]:>18} {cells[2]:>14}")


def attack_claims(attacks: dict) -> list[Claim]:
    """Does the penalty make attacks transfer, and is interaction what keeps them from it?"""
    claims = []
    for direction, found in attacks.items():
        for text, name, reference, control in (
            ("penalty of weight 1 raises transfer", "weight 1", "MI-FGSM", "noise"),
            ("penalty of weight 30 raises transfer", "weight 30", "MI-FGSM", "noise"),
            ("penalty of weight 300 raises transfer", "weight 300", "MI-FGSM", "weight -300"),
            ("weight 300 against equal strength in the source", "weight 300", "MI-FGSM, shrunk", "noise"),
        ):
            gain, other = (
                with_error(lambda a, b: np.mean(a) - np.mean(b), found[n]["target"], found[reference]["target"])
                for n in (name, control)
            )
            claims.append(Claim(f"{direction}: {text}", "higher", show(*gain, 3), f"{control}: {show(*other, 3)}"))
        plain, random = found["MI-FGSM"], np.random.default_rng(0)
        nulls = [correlation(plain["interaction"], random.permutation(plain["gain"])) for _ in range(300)]
        found_r = show(*with_error(correlation, plain["interaction"], plain["gain"]), 3)
        null = f"shuffled: {show(np.mean(nulls), np.std(nulls), 3)}"
        claims.append(Claim(f"{direction}: correlation of interaction and transfer", "negative", found_r, null))
        steps = with_error(lambda a, b: np.mean(a - b), found["PGD"]["interaction"], found["one step"]["interaction"])
        text = f"{direction}: many steps interact more than one"
        claims.append(Claim(text, "more", show(*steps, 4), "single step as the reference"))
    return claims


def order_claims(curves: dict) -> list[Claim]:
    """Do the losses move the orders they are made of, and which orders does a network not learn?"""
    claims, plain = [], np.array(curves["MLP plain"])
    for label, (sign, lower, upper) in ORDER_LOSSES.items():
        if f"MLP {label}" not in curves:
            continue
        change = np.array(curves[f"MLP {label}"]) - plain
        inside, above = (
            plus_minus(change[:, orders].mean(1), 3)
            for orders in (slice(lower - 1, upper - 1), slice(upper - 1, NUM_ORDERS))
        )
        text = f"MLP: loss '{label}' moves J of orders {lower - 1} to {upper - 2}"
        claims.append(Claim(text, "up" if sign > 0 else "down", inside, f"orders above, not in the loss: {above}"))
    for name in ("MLP", "CNN"):
        if f"{name} plain" in curves:
            kinds = ("plain", "untrained")
            ratios = [plus_minus([middle_over_ends(s) for s in curves[f"{name} {kind}"]]) for kind in kinds]
            text = f"{name}: middle orders are weaker than both ends"
            claims.append(Claim(text, "below 1", ratios[0], f"untrained: {ratios[1]}"))
    return claims


# %%
if __name__ == "__main__":
    run_main(main, "Transfer attacks with and without an interaction penalty.")
