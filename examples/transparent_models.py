# %% [markdown]
# # Models that explain themselves, and what to do before and after
# Before modelling, a card of the data. Then models whose reasons can be read: one rule, a small tree, a sparse linear
# model, a monotone and an additive network, and a case model that explains every cluster by one patient and the
# features that matter; beside them a forest, and the majority class. After modelling, a tree that imitates the forest,
# with the share of unseen patients on whom it agrees, beside imitations of shuffled answers. Topics of handwritten
# digits show the same for counts. Errors are standard errors over random splits, which share patients.

# %%
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, export_text

from jaxrg import datasets, nets, samplers, training
from jaxrg.explain import transparent
from jaxrg.plot import style

sys.path.insert(0, str(Path(__file__).parent))
from _study import HEADER, Claim, mean_and_error, plus_minus, print_claims, run_main, save

MAJORITY, FOREST = "majority class", "random forest"
NUM_BINS, NUM_CLUSTERS, NUM_TOPICS, MALIGNANT = 3, 4, 20, 0


class Scale(NamedTuple):
    """Size of the study."""

    num_splits: int
    num_epochs: int
    num_sweeps: int
    num_trees: int
    num_digits: int


FULL = Scale(10, 300, 400, 200, 1_797)
SMOKE = Scale(2, 40, 20, 20, 200)


# %%
def data_card(data: datasets.Dataset) -> None:
    """What one should know before modelling."""
    inputs, labels = np.asarray(data.inputs, np.float64), np.asarray(data.labels)
    num_samples, num_features = inputs.shape
    counts = {name: int((labels == label).sum()) for label, name in enumerate(data.class_names)}
    num_double = num_samples - len(np.unique(inputs, axis=0))
    print(
        f"samples {num_samples}, features {num_features}, missing {int(np.isnan(inputs).sum())}, doubles {num_double}"
    )
    print("classes: " + ", ".join(f"{name} {count} ({count / num_samples:.0%})" for name, count in counts.items()))
    low, high = np.min(inputs, axis=0), np.max(inputs, axis=0)
    widest, narrowest = np.argmax(high - low), np.argmin(high - low)
    for title, place in (("widest", widest), ("narrowest", narrowest)):
        print(f"{title} range: {data.feature_names[place]}, {low[place]:.4g} to {high[place]:.4g}")
    correlations = np.asarray(np.corrcoef(inputs.T))
    rows, columns = np.triu_indices(num_features, 1)
    strongest = np.argsort(-np.abs(correlations[rows, columns]))[:3]
    for pair in strongest:
        names = data.feature_names[rows[pair]], data.feature_names[columns[pair]]
        print(f"correlated: {names[0]} and {names[1]}, {correlations[rows[pair], columns[pair]]:+.3f}")
    strong = int((np.abs(correlations[rows, columns]) > 0.9).sum())
    print(f"pairs of features correlated beyond 0.9: {strong} of {len(rows)}\n", flush=True)


# %%
def fitted(net: nets.Net, inputs: np.ndarray, labels: np.ndarray, num_epochs: int) -> Any:
    """Parameters by the cross entropy of one logit, with a little weight decay."""

    def loss_fn(key: jax.Array, params: Any, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.mean(optax.sigmoid_binary_cross_entropy(net.apply(params, batch[0])[:, 0], batch[1]))

    data = jnp.asarray(inputs), jnp.asarray(labels, jnp.float32)
    start, optimizer = net.init(jax.random.key(0), data[0]), optax.adamw(5e-3, weight_decay=1e-2)
    gradient = training.gradient_of(loss_fn)
    run = training.fit(
        jax.random.key(1), gradient, optimizer, start, data, num_epochs=num_epochs, batch_size=len(inputs)
    )
    return run.params


def of_net(net: nets.Net, num_epochs: int) -> Callable:
    """A network as something to fit and predict with."""

    def predict(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
        params = fitted(net, train, labels, num_epochs)
        return np.asarray(net.apply(params, jnp.asarray(test))[:, 0] > 0).astype(int)

    return predict


def of_sklearn(make: Callable[[], Any]) -> Callable:
    return lambda train, labels, test: make().fit(train, labels).predict(test)


def binned(inputs: np.ndarray) -> np.ndarray:
    """Thirds of every feature."""
    edges = np.quantile(inputs, np.linspace(0, 1, NUM_BINS + 1)[1:-1], axis=0)
    return (inputs[:, None] > edges[None]).sum(1).astype(np.int32)


class Cases(NamedTuple):
    """Clusters of a case model at its most probable sweep, and memberships over the second half of the run."""

    membership: np.ndarray  # [samples, clusters]
    prototypes: np.ndarray  # [clusters]
    subspaces: np.ndarray  # bool [clusters, features]
    log_joint: np.ndarray  # [sweeps]


def case_clusters(observations: np.ndarray, num_sweeps: int) -> Cases:
    """Unsupervised, on all samples: labels are not looked at."""
    model = transparent.CaseModel(observations, NUM_BINS, NUM_CLUSTERS, mixing=0.1, emphasis=20.0, relevance=0.3)
    sampler = transparent.case_sampler(model)

    def observe(state: Any) -> tuple:  # a CaseState
        return model.log_joint(state), model.membership(state), state.prototypes, state.subspaces

    start = sampler.init(jax.random.key(0))
    trace = samplers.run(jax.random.key(1), sampler, start, num_sweeps, observe=observe).trace
    joint, membership, found, subspaces = (np.asarray(part)[0] for part in trace)
    half = num_sweeps // 2
    best = half + int(joint[half:].argmax())
    return Cases(membership[half:].mean(0), found[best], subspaces[best], joint)


def splits_of(num_samples: int, num_splits: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to train on, seven of ten, and to test with."""
    orders = [np.random.default_rng(seed).permutation(num_samples) for seed in range(num_splits)]
    return [(order[: 7 * num_samples // 10], order[7 * num_samples // 10 :]) for order in orders]


def standardized(inputs: np.ndarray, train: np.ndarray) -> np.ndarray:
    """By the mean and the deviation of the training rows."""
    return ((inputs - inputs[train].mean(0)) / inputs[train].std(0)).astype(np.float32)


# %%
def accuracies(inputs: np.ndarray, labels: np.ndarray, cases: Cases, scale: Scale) -> dict[str, list[float]]:
    """Test accuracy of every model on every split."""
    num_features = inputs.shape[1]
    additive = of_net(transparent.additive_network(num_features, (16, 1)), scale.num_epochs)
    models: dict[str, Callable] = {
        "one rule": of_sklearn(lambda: DecisionTreeClassifier(max_depth=1, random_state=0)),
        "tree of 8 leaves": of_sklearn(lambda: DecisionTreeClassifier(max_leaf_nodes=8, random_state=0)),
        "sparse linear": of_sklearn(lambda: LogisticRegression(l1_ratio=1.0, C=0.1, solver="liblinear")),
        "additive network": additive,
        FOREST: of_sklearn(lambda: RandomForestClassifier(scale.num_trees, random_state=0)),
        MAJORITY: lambda train, labels, test: np.full(len(test), np.bincount(labels).argmax()),
    }
    found: dict[str, list[float]] = {name: [] for name in (*models, "monotone network", "case model")}
    for train, test in splits_of(len(labels), scale.num_splits):
        values = standardized(inputs, train)
        for name, predict in models.items():
            found[name].append(float(np.mean(predict(values[train], labels[train], values[test]) == labels[test])))
        # Each feature may only move the odds the way it is correlated with the label among the training rows.
        signs = np.sign(values[train].T @ (labels[train] - labels[train].mean())).astype(int)
        monotone = of_net(transparent.monotone_network(np.ones(num_features, int), (12, 12, 1)), scale.num_epochs)
        turned = values * signs[None].astype(np.float32)  # so that all splits share one compiled network
        told = monotone(turned[train], labels[train], turned[test])
        found["monotone network"].append(float(np.mean(told == labels[test])))
        members = LogisticRegression().fit(cases.membership[train], labels[train]).predict(cases.membership[test])
        found["case model"].append(float(np.mean(members == labels[test])))
    return found


def surrogate(inputs: np.ndarray, labels: np.ndarray, scale: Scale) -> tuple[dict[str, list[float]], str]:
    """How often a tree that imitates the forest agrees with it on unseen rows, and the tree of the first split."""
    found: dict[str, list[float]] = {"imitation": [], "of shuffled answers": [], "constant": [], "tree on labels": []}
    found["training answers that are the labels"] = []
    text = ""
    for seed, (train, test) in enumerate(splits_of(len(labels), scale.num_splits)):
        forest = RandomForestClassifier(scale.num_trees, random_state=0).fit(inputs[train], labels[train])
        answers, unseen = forest.predict(inputs[train]), forest.predict(inputs[test])
        shuffled = np.random.default_rng(seed).permutation(answers)
        found["training answers that are the labels"].append(float(np.mean(answers == labels[train])))
        for name, targets in (
            ("imitation", answers),
            ("of shuffled answers", shuffled),
            ("tree on labels", labels[train]),
        ):
            tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(inputs[train], targets)
            found[name].append(float(np.mean(tree.predict(inputs[test]) == unseen)))
            text = text or export_text(tree, feature_names=list(datasets.breast_cancer().feature_names), decimals=3)
        found["constant"].append(float(np.mean(unseen == np.bincount(answers).argmax())))
    return found, text


def topics(scale: Scale) -> tuple[dict[str, list[float]], np.ndarray]:
    """Digits told from their shares of topics, and the topics."""
    data = datasets.digits()
    counts = np.asarray(jnp.round(data.inputs * 16)).reshape(len(data.labels), -1)[: scale.num_digits]
    labels = np.asarray(data.labels)[: scale.num_digits]
    found: dict[str, list[float]] = {"topics": [], "random topics": [], "pixels": [], MAJORITY: []}
    components = np.zeros(0)
    for seed, (train, test) in enumerate(splits_of(len(labels), scale.num_splits // 2)):
        model = LatentDirichletAllocation(NUM_TOPICS, random_state=seed).fit(counts[train])
        components = model.components_ if not components.size else components
        other = LatentDirichletAllocation(NUM_TOPICS, random_state=seed, max_iter=1).fit(counts[train])
        other.components_ = np.random.default_rng(seed).permuted(model.components_, axis=1)
        other.exp_dirichlet_component_ = other.components_ / other.components_.sum(1, keepdims=True)
        for name, features in (
            ("topics", model.transform(counts)),
            ("random topics", other.transform(counts)),
            ("pixels", counts / 16),
        ):
            told = (
                LogisticRegression(C=100.0, max_iter=3_000).fit(features[train], labels[train]).predict(features[test])
            )
            found[name].append(float(np.mean(told == labels[test])))
        found[MAJORITY].append(float(np.mean(labels[test] == np.bincount(labels[train]).argmax())))
    return found, components.reshape(NUM_TOPICS, 8, 8)


# %%
def print_cases(cases: Cases, data: datasets.Dataset, names: list[str]) -> None:
    """Every cluster by its prototype and its subspace."""
    labels, observations = np.asarray(data.labels), binned(np.asarray(data.inputs)[:, : len(names)])
    owner = cases.membership.argmax(1)
    words = ("low", "middle", "high")
    for cluster, prototype in enumerate(cases.prototypes):
        members = labels[owner == cluster]
        matters = [f"{names[j]} {words[observations[prototype, j]]}" for j in np.flatnonzero(cases.subspaces[cluster])]
        share = f"{np.mean(members == MALIGNANT):.0%} malignant" if len(members) else "empty"
        print(
            f"cluster {cluster}: {len(members)} patients, {share}; as patient {prototype}, "
            f"{data.class_names[labels[prototype]]}: {', '.join(matters) or 'no feature matters'}"
        )
    print(flush=True)


def draw(
    accuracy: dict[str, list[float]], shapes: tuple[np.ndarray, dict[str, np.ndarray]], found: np.ndarray
) -> Figure:
    """Accuracies, the largest shape functions of the additive network, and topics of digits."""
    figure, grid = style.new_figure(1, 3, size=(15, 4.2))
    left, middle, right = grid[0]
    names = sorted(accuracy, key=lambda name: np.mean(accuracy[name]))
    for place, name in enumerate(names):
        mean, error = mean_and_error(accuracy[name])
        colour = style.GREY if name in (FOREST, MAJORITY) else style.BLUE
        left.errorbar([mean], [place], xerr=[error], fmt="o", color=colour, capsize=2)
    left.set_yticks(range(len(names)), names)
    left.set(xlabel="test accuracy", xlim=(0.55, 1.0))
    position, curves = shapes
    for (name, values), colour in zip(curves.items(), style.SERIES, strict=False):
        middle.plot(position, values, color=colour, label=name)
    middle.set(xlabel="feature (standard deviations)", ylabel="adds to the log odds of benign")
    middle.legend(fontsize=8)
    tiles = found[:20].reshape(4, 5, 8, 8)
    tiles = tiles / tiles.sum(axis=(2, 3), keepdims=True)
    right.imshow(
        np.pad(tiles, ((0, 0), (0, 0), (1, 1), (1, 1))).transpose(0, 2, 1, 3).reshape(40, 50), cmap="gray_r", vmax=0.06
    )
    right.set(xticks=[], yticks=[], title="topics of handwritten digits")
    right.grid(False)
    return figure


def shape_curves(inputs: np.ndarray, labels: np.ndarray, names: list[str], num_epochs: int):
    """The four shape functions that vary most, of a network on the training rows of the first split."""
    train, _ = splits_of(len(labels), 1)[0]
    values = standardized(inputs, train)[train]
    net = transparent.additive_network(values.shape[1], (16, 1))
    params = fitted(net, values, labels[train], num_epochs)
    variation = np.asarray(transparent.shape_functions(params, values, values).values)[..., 0].std(0)
    position = np.linspace(-2.5, 2.5, 101)
    lines = np.repeat(position[:, None], values.shape[1], axis=1).astype(np.float32)
    curves = np.asarray(transparent.shape_functions(params, lines, values).values)[..., 0]
    return position, {names[place]: curves[:, place] for place in np.argsort(-variation)[:4]}


def main(smoke: bool = False, out: str = "out/transparent_models") -> None:
    scale = SMOKE if smoke else FULL
    data = datasets.breast_cancer()
    inputs, labels, names = np.asarray(data.inputs), np.asarray(data.labels), list(data.feature_names)
    data_card(data)
    num_means = 10  # of every nucleus' features the means come first
    cases = case_clusters(binned(inputs[:, :num_means]), scale.num_sweeps)
    print_cases(cases, data, names[:num_means])
    accuracy = accuracies(inputs, labels, cases, scale)
    fidelity, text = surrogate(inputs, labels, scale)
    digits, components = topics(scale)
    shown = {name: plus_minus(values, 3) for name, values in accuracy.items()}
    control = f"{FOREST} {shown[FOREST]}; {MAJORITY} {shown[MAJORITY]}"
    as_good = "as good as black boxes"
    claims = [
        Claim(f"test accuracy: {name}", as_good, shown[name], control)
        for name in accuracy
        if name not in (FOREST, MAJORITY)
    ]
    agrees = {name: plus_minus(values, 3) for name, values in fidelity.items()}
    rest = "; ".join(f"{name} {agrees[name]}" for name in agrees if name != "imitation")
    claims.append(Claim("fidelity of a tree that imitates the forest", "-", agrees["imitation"], rest))
    told = {name: plus_minus(values, 3) for name, values in digits.items()}
    rest = "; ".join(f"{name} {told[name]}" for name in told if name != "topics")
    claims.append(Claim(f"digits told from {NUM_TOPICS} topics", "-", told["topics"], rest))
    print_claims([HEADER, *claims])
    print(f"\nThe imitation of the first split:\n{text}")
    curves = shape_curves(inputs, labels, names, scale.num_epochs)
    save({"transparent_models": draw(accuracy, curves, components)}, out)


# %%
if __name__ == "__main__":
    run_main(main, "Models that explain themselves on tumours and digits, with a data card and a surrogate.")
