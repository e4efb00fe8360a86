"""Errors of sampled Shapley values and pair interactions at equal budget, against shapiq's approximators.

Games are shapiq's own: sums of unanimity models, whose exact values it computes itself, and random forests as its
TreeSHAP-IQ game defines them, whose exact values are summed here leaf by leaf. Both sides get the same number of
evaluations and the same seeds. Of shapiq's approximators the one with the smallest median error over the seeds counts,
chosen anew for every game; of ours, always `proxy_corrected`, whose design was settled on the first two of these games.

Not every approximator takes part everywhere: SVARMIQ and SPEX are asked for pairs up to 30 players only; one that takes
more than a minute on a seed is not asked for the others, and its median is over those it did; ProxySPEX needs lightgbm;
one that cannot spend the budget says so and is left out. The quick run has the two smallest games, one seed and no
record of all games, and leaves out SPEX, ProxySPEX, SVARMIQ and StratifiedSamplingSV for players and pairs alike.
All runs are in float64.
"""

import contextlib
import functools
import inspect
import io
import itertools
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import shapiq.approximator
from shapiq_games.synthetic.soum import SOUM
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier

from benchmarks.timing import record
from jaxrg.interactions import Game, sampling, sparse

Record = dict[str, Any]
Values = Callable[[np.ndarray], np.ndarray]

PEERS = {
    1: (
        "KernelSHAP", "kADDSHAP", "UnbiasedKernelSHAP", "SVARM", "PermutationSamplingSV", "StratifiedSamplingSV",
        "OwenSamplingSV", "SPEX", "ProxySPEX",
    ),
    2: (
        "KernelSHAPIQ", "InconsistentKernelSHAPIQ", "SHAPIQ", "SVARMIQ", "PermutationSamplingSII", "SPEX",
        "ProxySPEX",
    ),
}  # fmt: skip
DEFAULT = "proxy_corrected"
MAX_SECONDS = 60.0  # a peer that took longer on one seed is not asked for the others
SLOW_PAIRS = {"SVARMIQ": 30, "SPEX": 30}  # players up to which they finish pairs in minutes


def _soum(num_players: int, num_terms: int, largest: int, seed: int) -> tuple[Values, dict[int, np.ndarray]]:
    game = SOUM(num_players, num_terms, max_interaction_size=largest, random_state=seed)
    subsets = np.stack([term.interaction_binary for term in game.unanimity_games.values()]).astype(np.float32)
    # The same values as the game's own loop, in one product.
    return lambda masks: ((~masks).astype(np.float32) @ subsets.T == 0) @ game.linear_coefficients, {
        order: _matrix(game.exact_values(index, order), num_players, order) for order, index in ((1, "SV"), (2, "SII"))
    }


def _tree_values(tree: Any, node: int, sample: np.ndarray, masks: np.ndarray) -> np.ndarray:
    if tree.leaf_mask[node]:
        return np.full(len(masks), float(tree.values[node]))
    children = int(tree.children_left[node]), int(tree.children_right[node])
    taken = 0 if sample[tree.features[node]] <= tree.thresholds[node] else 1
    values = _tree_values(tree, children[taken], sample, masks)
    absent = ~masks[:, tree.features[node]]
    if absent.any():
        weights = [float(tree.node_sample_weight[children[side]]) for side in (taken, 1 - taken)]
        other = _tree_values(tree, children[1 - taken], sample, masks[absent])
        values[absent] = (weights[0] * values[absent] + weights[1] * other) / sum(weights)
    return values


def _leaf_games(tree: Any, node: int, sample: np.ndarray, factors: dict[int, tuple[float, float]], weight: float):
    """Leaves as products over features: (value, {feature: (factor if present, factor if absent)})."""
    if tree.leaf_mask[node]:
        yield float(tree.values[node]), factors
        return
    feature = int(tree.features[node])
    is_left = sample[feature] <= tree.thresholds[node]
    for child, is_taken in ((tree.children_left[node], is_left), (tree.children_right[node], not is_left)):
        share = float(tree.node_sample_weight[child]) / weight
        present, absent = factors.get(feature, (1.0, 1.0))
        inner = factors | {feature: (present * is_taken, absent * share)}
        yield from _leaf_games(tree, int(child), sample, inner, float(tree.node_sample_weight[child]))


def _forest_exact(trees: list, sample: np.ndarray, order: int) -> np.ndarray:
    r"""Shapley values or pair interactions of product games, :math:`\int_0^1 \prod_{i \in K}(a_i - b_i)
    \prod_{j \notin K}(t a_j + (1-t) b_j)\,dt`, by a quadrature that is exact for their degree."""
    points, weights = np.polynomial.legendre.leggauss(16)
    t, weights = (points + 1) / 2, weights / 2
    found = np.zeros((len(sample),) * order)
    for tree in trees:
        for value, factors in _leaf_games(tree, 0, sample, {}, float(tree.node_sample_weight[0])):
            features = list(factors)
            a, b = (np.array([factors[feature][side] for feature in features]) for side in (0, 1))
            mixed = t[:, None] * a + (1 - t[:, None]) * b
            for chosen in itertools.combinations(range(len(features)), order):
                others = np.delete(mixed, chosen, axis=1).prod(1)
                term = value * np.prod((a - b)[list(chosen)]) * (weights @ others)
                for place in itertools.permutations(chosen):
                    found[tuple(features[i] for i in place)] += term
    return found


def _forest(load: Callable, seed: int) -> tuple[Values, dict[int, np.ndarray]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from shapiq_games.benchmark.treeshapiq_xai.base import TreeSHAPIQXAI
    inputs, labels = load(return_X_y=True)
    forest = RandomForestClassifier(10, max_depth=15, random_state=seed).fit(inputs, labels == labels[seed])
    game = TreeSHAPIQXAI(inputs[seed], forest, class_label=1, verbose=False)

    def values(masks: np.ndarray) -> np.ndarray:
        trees = [_tree_values(tree, 0, game.x_explain, masks) for tree in game._trees]
        return np.sum(trees, axis=0) - game.normalization_value

    # Not shapiq's own: its TreeSHAP-IQ disagrees with its game on trees as deep as those of the digits.
    exact = {order: _forest_exact(game._trees, game.x_explain, order) for order in (1, 2)}
    few = np.random.default_rng(seed).random((4, inputs.shape[1])) < 0.5
    np.testing.assert_allclose(values(few), game(few), atol=1e-9)
    return values, exact


def games(quick: bool) -> dict[str, tuple[int, int, Callable[[int], tuple[Values, dict[int, np.ndarray]]]]]:
    """Players, budget, and the game of a seed."""
    small = {
        "soum_30_terms_50": (30, 2000, functools.partial(_soum, 30, 50, 30)),
        "forest_breast_cancer_30": (30, 2000, functools.partial(_forest, load_breast_cancer)),
    }
    if quick:
        return small
    return small | {
        "soum_30_terms_300": (30, 4000, functools.partial(_soum, 30, 300, 30)),
        "soum_30_terms_100_to_5": (30, 2000, functools.partial(_soum, 30, 100, 5)),
        "forest_digits_64": (64, 4000, functools.partial(_forest, load_digits)),
        "soum_100_terms_100_to_5": (100, 6000, functools.partial(_soum, 100, 100, 5)),
    }


def _matrix(values: Any, num_players: int, order: int) -> np.ndarray:
    found = np.zeros((num_players,) * order)
    for players, place in values.interaction_lookup.items():
        if len(players) == order:
            found[players] = found[players[::-1]] = values.values[place]
    return found


def _peer(name: str, num_players: int, order: int, budget: int, values: Values, seed: int) -> np.ndarray:
    kind = getattr(shapiq.approximator, name)
    accepted = inspect.signature(kind.__init__).parameters
    options = {
        "max_order": order, "index": "SV" if order == 1 else "SII", "pairing_trick": True, "random_state": seed,
    }  # fmt: skip
    approximator = kind(n=num_players, **{key: value for key, value in options.items() if key in accepted})
    return _matrix(approximator.approximate(budget, values), num_players, order)


def _ours(num_players: int, order: int, budget: int) -> dict[str, Callable[[Values, int], np.ndarray]]:
    sizes = sampling.shapley_sizes(num_players, order)
    makers: dict[str, Callable[[], sampling.Estimator]] = {
        "stratified": lambda: sampling.stratified(num_players, budget, sizes),
        "kernel_regression": lambda: sampling.kernel_regression(num_players, budget, order),
        "permutation": lambda: (sampling.permutation_shapley if order == 1 else sampling.permutation_pairs)(
            num_players, budget
        ),
        "proxy_corrected": lambda: sampling.proxy_corrected(num_players, budget, order),
    }
    methods: dict[str, Callable[[Values, int], np.ndarray]] = {}
    for name, make in makers.items():
        try:
            estimator = make()
        except ValueError:
            continue  # the budget does not pay for this one
        design, estimate = jax.jit(estimator.design), jax.jit(estimator.estimate)

        def sampled(values: Values, seed: int, design=design, estimate=estimate) -> np.ndarray:
            masks = np.asarray(design(jax.random.key(seed)))
            result = estimate(jnp.asarray(masks), jnp.asarray(values(masks)))
            return np.asarray(result.shrunk if isinstance(result, sampling.ProxyEstimate) else result.values)

        methods[name] = sampled

    def recovered(values: Values, seed: int) -> np.ndarray:
        fit = sparse.recover_moebius(jax.random.key(seed), Game(values, num_players), budget)
        return np.asarray(sparse.conjunction_interactions(fit.terms, order))

    return methods | {"recover_moebius": recovered}  # printed; exact on sparse games, where no ratio means anything


def _counted(values: Values, budget: int) -> Values:
    """The game, which refuses to be asked for more than the budget and the two ends."""
    spent = 0

    def play(masks: np.ndarray) -> np.ndarray:
        nonlocal spent
        masks = np.atleast_2d(np.asarray(masks)).astype(bool)
        spent += len(masks)
        if spent > budget + 2:  # some peers pay for the empty and the full coalition apart
            raise RuntimeError(f"{spent} evaluations, of a budget of {budget}")
        return np.asarray(values(masks), float)

    return play


def _median_errors(methods: dict[str, Callable], instances: list, budget: int, order: int) -> dict[str, list[float]]:
    errors: dict[str, list[float]] = {}
    for name, method in methods.items():
        found = []
        for seed, (values, exact) in enumerate(instances):
            start = time.perf_counter()
            try:
                # shapiq warns of small budgets by warnings and in print.
                with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                    warnings.simplefilter("ignore")
                    estimate = method(_counted(values, budget), seed)
            except (ImportError, RuntimeError, ValueError) as reason:
                print(f"    {name}: {str(reason).splitlines()[0][:100]}")
                break
            entries = np.triu_indices(len(estimate), 1) if order == 2 else slice(None)
            found.append(float(np.mean((estimate - exact[order])[entries] ** 2)))
            if time.perf_counter() - start > MAX_SECONDS:
                break
        if found:
            errors[name] = found
            print(f"    {name:<28} median {np.median(found):.3g}, {min(found):.3g} to {max(found):.3g}", flush=True)
    return errors


def sampling_records(quick: bool) -> list[Record]:
    """Median squared errors of the best of both sides for every game and order, and the median of their ratios.

    The ratio of a record is shapiq's error over ours.
    """
    num_seeds = 1 if quick else 3
    records: list[Record] = []
    ratios: list[float] = []
    with jax.enable_x64(True):
        for name, (num_players, budget, make) in games(quick).items():
            instances = []
            for seed in range(num_seeds):
                instances.append(make(seed))
            for order in (1, 2):
                print(f"  {name}, order {order}, budget {budget}, {num_seeds} seeds: mean squared errors", flush=True)
                ours = _median_errors(_ours(num_players, order, budget), instances, budget, order)
                names = [
                    peer for peer in PEERS[order] if order == 1 or num_players <= SLOW_PAIRS.get(peer, num_players)
                ]
                if quick:
                    names = [peer for peer in names if peer not in (*SLOW_PAIRS, "ProxySPEX", "StratifiedSamplingSV")]
                peers = _median_errors(
                    {
                        peer: lambda values, seed, peer=peer, size=num_players, order=order, budget=budget: _peer(
                            peer, size, order, budget, values, seed
                        )
                        for peer in names
                    },
                    instances,
                    budget,
                    order,
                )
                their_best = min(peers, key=lambda peer: float(np.median(peers[peer])))
                mine, theirs = ours[DEFAULT], peers[their_best]
                spread = [their / our for our, their in zip(mine, theirs, strict=False)]
                print(f"  {DEFAULT} / {their_best}: ratios {min(spread):.3g} to {max(spread):.3g}", flush=True)
                value, peer_value = float(np.median(mine)), float(np.median(theirs))
                ratios.append(peer_value / value)
                records.append(
                    record(
                        f"sampling_{name}_order_{order}", value, "squared error",
                        peer=f"shapiq {their_best}", peer_value=peer_value, ratio=ratios[-1],
                    )
                )  # fmt: skip
    if quick:
        return records
    median = math.exp(float(np.median(np.log(ratios))))
    wins = sum(ratio >= 1 for ratio in ratios)
    records.append(
        record(
            "sampling_error_vs_shapiq", 1 / median, f"of its error; {wins} of {len(ratios)} won",
            peer="shapiq's best of each game", peer_value=1.0, ratio=median,
        )
    )  # fmt: skip
    return records
