"""Parts of the study of prototypes: exact gaps on few points, digits told by prototypes, pools of Ising samples."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import nnls
from sklearn.cluster import KMeans

from jaxrg import datasets, exact, lattice, models, samplers
from jaxrg.explain import prototypes

NUM_POINTS, NUM_CHOSEN = 14, 4  # few enough for all subsets
LARGEST = 300  # prototypes with weights, whose fit takes the cube of their number
CRITICAL = 1 / exact.critical_coupling
GREEDY, LOCAL, WEIGHTED, RANDOM, MEDOIDS = (
    "MMD-critic",
    "MMD-critic in classes",
    "ProtoDash",
    "random",
    "k-means points",
)


# Few points and all their subsets
class Gaps(NamedTuple):
    """Of one data set."""

    share: float  # f of greedy choice over the largest of all subsets
    greedy: float  # MMD² over the least of all subsets
    swapped: float  # after exchanges
    weighted: float  # gain of ProtoGreedy over the largest of all subsets
    swapped_weighted: float
    violations: float  # share of triples A ⊂ B, x with f(A+x) - f(A) < f(B+x) - f(B)
    violations_by_one: float  # where B has one point more than A


def all_subsets(matrix: np.ndarray) -> np.ndarray:
    """``[2**n]`` f(S) = MMD²(no points) - MMD²(S) of every subset, whose bits are its points."""
    n = len(matrix)
    bits = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(float)
    size = np.maximum(bits.sum(1), 1)
    return 2 * bits @ matrix.mean(1) / size - np.einsum("sn,sn->s", bits @ matrix, bits) / size**2


def violations(values: np.ndarray, num_triples: int = 20_000) -> tuple[float, float]:
    """How often a point adds more to the larger of two sets: of random nested ones, and of all that differ by one."""
    n, sets = len(values).bit_length() - 1, np.arange(len(values))

    def are_broken(smaller: np.ndarray, larger: np.ndarray, point: np.ndarray | int) -> np.ndarray:
        return values[smaller | point] - values[smaller] < values[larger | point] - values[larger] - 1e-12

    random = np.random.default_rng(0)
    place, points = random.integers(0, 3, (num_triples, n)), random.integers(0, n, num_triples)
    place[np.arange(num_triples), points] = 2  # each other point is in A, in B alone, or in none
    smaller, larger = ((place <= most) @ (1 << np.arange(n)) for most in (0, 1))
    is_larger = larger > smaller
    nested = are_broken(smaller[is_larger], larger[is_larger], 1 << points[is_larger])
    by_one = []
    for x, y in itertools.permutations(range(n), 2):
        outside = sets[(sets >> x & 1 | sets >> y & 1) == 0]
        by_one.append(are_broken(outside, outside | 1 << y, 1 << x))
    return float(nested.mean()), float(np.mean(by_one))


def best_weighted_gain(matrix: np.ndarray) -> float:
    """The largest w·μ - wKw/2 of all subsets of the size, each with its optimal weights."""
    best = 0.0
    for subset in map(list, itertools.combinations(range(len(matrix)), NUM_CHOSEN)):
        own, means = matrix[np.ix_(subset, subset)], matrix.mean(1)[subset]
        factor = np.linalg.cholesky(own + 1e-12 * np.eye(NUM_CHOSEN))
        weights, _ = nnls(factor.T, np.linalg.solve(factor, means))
        best = max(best, weights @ means - 0.5 * weights @ own @ weights)
    return best


def gaps_of(points: np.ndarray, gamma: float) -> Gaps:
    """What greedy choice and exchanges lose against all subsets."""
    embedding = prototypes.mean_embedding(points, prototypes.rbf(gamma))
    flat = points.reshape(len(points), -1).astype(float)
    matrix = np.exp(-gamma * ((flat[:, None] - flat[None]) ** 2).sum(-1))
    values = all_subsets(matrix)
    sizes = np.array([index.bit_count() for index in range(len(values))])
    largest = values[sizes == NUM_CHOSEN].max()
    least = matrix.mean() - largest

    def f_of(indices: jax.Array) -> float:
        return values[sum(1 << int(index) for index in indices)]

    def gain(found: prototypes.Prototypes | prototypes.Swapped) -> float:
        rows, weights = np.asarray(found.indices), np.asarray(found.weights, float)
        return float(weights @ matrix.mean(1)[rows] - 0.5 * weights @ matrix[np.ix_(rows, rows)] @ weights)

    greedy = prototypes.mmd_critic(embedding, NUM_CHOSEN).indices
    weighted, most = prototypes.protogreedy(embedding, NUM_CHOSEN), best_weighted_gain(matrix)
    return Gaps(
        f_of(greedy) / largest,
        (matrix.mean() - f_of(greedy)) / least,
        (matrix.mean() - f_of(prototypes.swap(embedding, greedy).indices)) / least,
        gain(weighted) / most,
        gain(prototypes.swap_weighted(embedding, weighted.indices)) / most,
        *violations(values),
    )


# Digits
@functools.cache
def all_digits() -> datasets.Dataset:
    """Read once."""
    return datasets.mnist_5k()


class Digits(NamedTuple):
    """Prototypes of one split, and what they tell of digits that they have not seen."""

    errors: dict[str, list[float]]  # 1-NN test error for every number of prototypes
    mmd: dict[str, float]  # at the largest number that all have
    criticism_errors: dict[str, float]  # 1-NN error at criticisms and at other training digits
    witness: dict[str, float]  # mean |f| there and at the prototypes
    shown: dict[str, np.ndarray]  # images


def within_classes(gamma: jax.Array, num_pixels: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A kernel of digits with their classes behind the pixels: zero between classes."""
    plain = prototypes.rbf(gamma)

    def kernel(x: jax.Array, y: jax.Array) -> jax.Array:
        return plain(x[:, :num_pixels], y[:, :num_pixels]) * jnp.matmul(x[:, num_pixels:], y[:, num_pixels:].T)

    return kernel


def nearest_to_means(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The point nearest to each mean of k-means, other points where two means share one."""
    means = KMeans(count, max_iter=20, random_state=seed).fit(points).cluster_centers_
    distances = (points**2).sum(1)[:, None] - 2 * points @ means.T
    rows = np.unique(distances.argmin(0))
    others = np.setdiff1d(np.random.default_rng(seed).permutation(len(points)), rows)
    return np.concatenate([rows, others[: count - len(rows)]])


def tell_digits(key: jax.Array, seed: int, num_train: int, num_test: int, counts: tuple[int, ...]) -> Digits:
    """Choose among the digits of a random split in all ways."""
    train, test = datasets.split(key, all_digits(), num_train, num_test)
    points, queries = (part.inputs.reshape(len(part.labels), -1) for part in (train, test))
    labels, truth = np.asarray(train.labels), np.asarray(test.labels)
    gamma = prototypes.median_gamma(key, points)
    embedding = prototypes.mean_embedding(points, prototypes.rbf(gamma))
    classes = jax.nn.one_hot(train.labels, 10)
    with_classes = jnp.concatenate([points, classes], axis=1)
    local = prototypes.mean_embedding(with_classes, within_classes(gamma, points.shape[1]))
    random = np.random.default_rng(seed).permutation(num_train)
    nested = {
        GREEDY: np.asarray(prototypes.mmd_critic(embedding, counts[-1]).indices),
        LOCAL: np.asarray(prototypes.mmd_critic(local, counts[-1]).indices),
        WEIGHTED: np.asarray(prototypes.protodash(embedding, min(LARGEST, counts[-1])).indices),
        RANDOM: random,
    }
    errors: dict[str, list[float]] = {name: [] for name in (*nested, MEDOIDS)}
    for count in counts:
        medoids = nearest_to_means(np.asarray(points), count, seed)
        chosen = {name: rows[:count] for name, rows in nested.items() if len(rows) >= count} | {MEDOIDS: medoids}
        for name, rows in chosen.items():
            found = labels[rows][np.asarray(prototypes.nearest_prototype(embedding, rows, queries))]
            errors[name].append(float(np.mean(found != truth)))
    count = max(number for number in counts if number <= 100)
    rows = nested[GREEDY][:count]
    mmd = {name: float(prototypes.mmd_squared(embedding, nested[name][:count])) for name in (GREEDY, RANDOM)}
    mmd[MEDOIDS] = float(prototypes.mmd_squared(embedding, nearest_to_means(np.asarray(points), count, seed)))
    mmd[WEIGHTED] = float(prototypes.protodash(embedding, count).mmd_squared[-1])
    mmd["after swaps"] = float(prototypes.swap(embedding, rows).mmd_squared)
    is_wrong = labels[rows][np.asarray(prototypes.nearest_prototype(embedding, rows, points))] != labels
    others = np.setdiff1d(np.arange(num_train), rows)
    number = min(count, num_train // 8)
    critics = {
        f"diversity {diversity:g}": np.asarray(
            prototypes.criticisms(embedding, rows, number, diversity=diversity).indices
        )
        for diversity in (1.0, 0.01, 0.0)
    }
    places = critics | {"other digits": others}
    at = {name: float(is_wrong[chosen].mean()) for name, chosen in places.items()}
    missing = np.abs(np.asarray(prototypes.witness(embedding, rows)))
    witness = {name: float(missing[chosen].mean()) for name, chosen in (places | {"prototypes": rows}).items()}
    images = np.asarray(train.inputs)
    shown = {"prototypes": images[rows[:12]], "random": images[random[:12]]}
    shown |= {f"criticisms, {name}": images[chosen[:12]] for name, chosen in critics.items()}
    return Digits(errors, mmd, at, witness, shown)


# Ising samples
class Pool(NamedTuple):
    """Samples at several temperatures, and which of them stand for the pool."""

    temperatures: np.ndarray  # [samples]
    magnetization: np.ndarray  # [samples], |m|
    energy: np.ndarray  # [samples], per site
    spins: np.ndarray  # [samples, L, L]
    chosen: dict[str, dict[str, np.ndarray]]  # kernel, then who: rows
    mmd: dict[str, dict[str, float]]


def ising_samples(key: jax.Array, side: int, temperatures: np.ndarray, count: int) -> np.ndarray:
    """``[temperatures, count, L, L]`` spins, a hundred and more Swendsen–Wang sweeps from a random start, far apart."""
    square, see = lattice.hypercubic((side, side)), lambda spins: spins
    found = []
    for number, temperature in enumerate(temperatures):
        start_key, warm_key, run_key = jax.random.split(jax.random.fold_in(key, number), 3)
        sampler = samplers.thin(samplers.swendsen_wang(models.Ising(square, 1 / float(temperature))), 5)
        # Observed as the run is, so that both are one program.
        state = samplers.run(warm_key, sampler, sampler.init(start_key), 30, observe=see).state
        found.append(np.asarray(samplers.run(run_key, sampler, state, count, observe=see).trace[0]))
    return np.stack(found)


def correlations(spins: np.ndarray) -> np.ndarray:
    """``[samples, L, L]`` mean of s(x) s(x + r) over x: what neither shifts nor flips of all spins change."""
    transformed = np.fft.fft2(spins.astype(float))
    return (np.fft.ifft2(np.abs(transformed) ** 2).real / math.prod(spins.shape[1:])).astype(np.float32)


def pool_of(key: jax.Array, side: int, temperatures: np.ndarray, count: int, num_chosen: int) -> Pool:
    """Choose among samples of all temperatures by their spins and by their correlations."""
    sample_key, gamma_key, random_key = jax.random.split(key, 3)
    spins = ising_samples(sample_key, side, temperatures, count).reshape(-1, side, side)
    values = spins.astype(np.float32)
    bonds = [np.mean(values * np.roll(values, 1, axis), axis=(1, 2)) for axis in (1, 2)]
    rows = np.asarray(jax.random.permutation(random_key, len(spins)))
    chosen, mmd = {}, {}
    for name, points in {"spins": values, "correlations": correlations(spins)}.items():
        embedding = prototypes.mean_embedding(points, prototypes.rbf(prototypes.median_gamma(gamma_key, points)))
        found = prototypes.mmd_critic(embedding, num_chosen)
        critics = prototypes.criticisms(embedding, found.indices, num_chosen, diversity=0.01)
        chosen[name] = {
            "prototypes": np.asarray(found.indices),
            "criticisms": np.asarray(critics.indices),
            "random": rows[:num_chosen],
        }
        mmd[name] = {"prototypes": float(found.mmd_squared[-1])}
        mmd[name]["random"] = float(prototypes.mmd_squared(embedding, rows[:num_chosen]))
    energy, magnetization = -(bonds[0] + bonds[1]), np.abs(values.mean((1, 2)))
    return Pool(np.repeat(temperatures, count), magnetization, energy, spins, chosen, mmd)
