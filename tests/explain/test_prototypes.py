"""Mean embeddings, MMD, greedy choice, exchanges and criticisms against double-precision sums and all subsets."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import prototypes
from jaxrg.explain.prototypes import embedding as rooms

GAMMA, NUM_POINTS = 0.7, 14


def cloud(seed: int, num_points: int = NUM_POINTS) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_points, 2)).astype(np.float32)


def gaussian(points: np.ndarray, gamma: float = GAMMA) -> np.ndarray:
    """The kernel matrix in double precision, from differences."""
    points = points.reshape(len(points), -1).astype(np.float64)
    return np.exp(-gamma * ((points[:, None] - points[None]) ** 2).sum(-1))


def mmd_by_definition(matrix: np.ndarray, indices, weights=None) -> float:
    weights = np.full(len(indices), 1 / len(indices)) if weights is None else np.asarray(weights, float)
    indices = np.asarray(indices)
    return float(
        matrix.mean() - 2 * weights @ matrix.mean(1)[indices] + weights @ matrix[np.ix_(indices, indices)] @ weights
    )


def embedded(seed: int):
    points = cloud(seed)
    return prototypes.mean_embedding(points, prototypes.rbf(GAMMA)), gaussian(points)


@pytest.mark.parametrize("num_points", [1, 5, 8, 21, 32])
def test_streamed_means_are_those_of_the_whole_matrix(num_points, monkeypatch):
    """Also where the last tile overlaps the one before; up to 8 points keep their matrix."""
    monkeypatch.setattr(rooms, "TILE", 8)
    monkeypatch.setattr(rooms, "MAX_HELD", 8)
    points = cloud(0, num_points)
    jax.clear_caches()
    found = prototypes.mean_embedding(points, prototypes.rbf(GAMMA))
    matrix = gaussian(points)
    np.testing.assert_allclose(found.means, matrix.mean(1), rtol=1e-5)
    np.testing.assert_array_equal(found.diagonal, 1)
    assert float(found.mean) == pytest.approx(matrix.mean(), rel=1e-5)
    if num_points == 21:
        indices, weights = np.array([3, 20, 0]), np.array([0.5, 0.1, 0.7], np.float32)
        witness = matrix.mean(1) - matrix[:, indices] @ weights
        np.testing.assert_allclose(prototypes.witness(found, indices, weights), witness, atol=1e-6)
        assert found.matrix.shape == (0, 0)
        assert prototypes.mmd_critic(found, 5).indices.tolist() == greedy_by_hand(matrix, 5)
    jax.clear_caches()


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_distances_by_a_product_keep_their_precision(offset):
    """784 features far from the origin: without a shift, float32 would lose all digits."""
    points = np.random.default_rng(0).uniform(size=(40, 784)).astype(np.float32)
    exact = gaussian(points.astype(np.float64) + offset, 0.01)
    moved = jnp.asarray(points + np.float32(offset))
    tolerance = 2e-6 if not offset else 2e-3  # at an offset of 1,000 the numbers themselves are rounded to 6e-5
    np.testing.assert_allclose(prototypes.rbf(0.01)(moved, moved), exact, atol=tolerance)
    np.testing.assert_allclose(prototypes.rbf(0.01)(moved, moved[3:4]), exact[:, 3:4], atol=tolerance)


def test_any_kernel_of_points_of_any_shape(x64):
    points = np.random.default_rng(1).normal(size=(9, 2, 3))
    scale = jnp.float64(0.3)
    polynomial = lambda x, y: (1 + scale * jnp.einsum("nij,mij->nm", x, y)) ** 2  # noqa: E731
    found = prototypes.mean_embedding(points, polynomial)
    matrix = (1 + 0.3 * points.reshape(9, -1) @ points.reshape(9, -1).T) ** 2
    np.testing.assert_allclose(found.means, matrix.mean(1), rtol=1e-12)
    np.testing.assert_allclose(found.diagonal, np.diagonal(matrix), rtol=1e-12)
    chosen = prototypes.mmd_critic(found, 4)
    for size in range(1, 5):
        exact = mmd_by_definition(matrix, chosen.indices[:size])
        assert float(chosen.mmd_squared[size - 1]) == pytest.approx(exact, abs=1e-10)


def greedy_by_hand(matrix: np.ndarray, count: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(count):
        rest = [index for index in range(len(matrix)) if index not in chosen]
        chosen.append(min(rest, key=lambda index: mmd_by_definition(matrix, [*chosen, index])))
    return chosen


@pytest.mark.parametrize("seed", range(4))
def test_greedy_choice_exchanges_and_their_mmd(seed):
    found, matrix = embedded(seed)
    chosen = prototypes.mmd_critic(found, 5)
    assert chosen.indices.tolist() == greedy_by_hand(matrix, 5)
    exact = [mmd_by_definition(matrix, chosen.indices[:size]) for size in range(1, 6)]
    np.testing.assert_allclose(chosen.mmd_squared, exact, atol=1e-6)
    swapped = prototypes.swap(found, chosen.indices)
    value = mmd_by_definition(matrix, swapped.indices)
    assert float(swapped.mmd_squared) == pytest.approx(value, abs=1e-6)
    assert value <= exact[-1] + 1e-6
    assert (int(swapped.num_swaps) > 0) == (value < exact[-1] - 1e-6)
    assert bool(swapped.is_local_optimum)
    indices = swapped.indices.tolist()
    assert len(set(indices)) == 5
    for place, new in itertools.product(range(5), set(range(NUM_POINTS)) - set(indices)):
        other = [*indices[:place], new, *indices[place + 1 :]]
        assert mmd_by_definition(matrix, other) > value - 1e-5


def test_all_points_with_equal_weights_are_the_data():
    found, _ = embedded(0)
    chosen = prototypes.mmd_critic(found, NUM_POINTS)
    assert sorted(chosen.indices.tolist()) == list(range(NUM_POINTS))
    assert float(chosen.mmd_squared[-1]) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(prototypes.witness(found, chosen.indices), 0, atol=1e-6)
    assert int(prototypes.swap(found, chosen.indices).num_swaps) == 0


def test_a_better_first_candidate_is_not_overwritten():
    """Point 0 is best at once, and the best exchange as well."""
    points = np.array([[0.0], [2.0], [-2.0], [2.1], [-2.1]])
    found = prototypes.mean_embedding(points, prototypes.rbf(0.1))
    assert int(prototypes.mmd_critic(found, 1).indices[0]) == 0
    assert int(prototypes.protogreedy(found, 1).indices[0]) == 0
    assert int(prototypes.protodash(found, 1).indices[0]) == 0
    assert prototypes.swap(found, [1]).indices.tolist() == [0]


@pytest.mark.parametrize("weights", [None, [0.6, 0.2, 0.1]])
def test_mmd_of_any_weights(weights):
    found, matrix = embedded(1)
    exact = mmd_by_definition(matrix, [4, 0, 9], weights)
    assert float(prototypes.mmd_squared(found, [4, 0, 9], weights)) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("diversity", [0.0, 0.05, 1.0])
def test_criticisms_are_greedy_in_their_objective(diversity):
    found, matrix = embedded(2)
    prototypes_by_hand = greedy_by_hand(matrix, 3)
    missing = matrix.mean(1) - matrix[:, prototypes_by_hand].mean(1)

    def objective(chosen):
        determinant = np.linalg.slogdet(matrix[np.ix_(chosen, chosen)])[1]
        return np.abs(missing[chosen]).sum() + diversity * determinant

    chosen: list[int] = []
    for _ in range(4):
        rest = set(range(NUM_POINTS)) - set(prototypes_by_hand) - set(chosen)
        chosen.append(max(rest, key=lambda index: objective([*chosen, index])))
    result = prototypes.criticisms(found, prototypes_by_hand, 4, diversity=diversity)
    assert result.indices.tolist() == chosen
    np.testing.assert_allclose(result.witness, missing[chosen], atol=1e-6)
    determinants = [np.linalg.slogdet(matrix[np.ix_(chosen[:k], chosen[:k])])[1] for k in range(1, 5)]
    np.testing.assert_allclose(result.log_determinant, determinants, atol=1e-4)


def test_the_nearest_prototype_is_that_of_brute_force():
    found, _ = embedded(3)
    queries = cloud(8, 30)
    indices = np.array([5, 2, 11])
    distances = ((queries[:, None] - cloud(3)[indices][None]) ** 2).sum(-1)
    np.testing.assert_array_equal(prototypes.nearest_prototype(found, indices, queries), distances.argmin(1))


def test_the_width_is_the_median_of_pairs():
    points = cloud(4, 60)
    squared = ((points[:, None] - points[None]) ** 2).sum(-1)[~np.eye(60, dtype=bool)]
    share = np.mean(squared < 1 / float(prototypes.median_gamma(jax.random.key(0), points)))
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(10_000)


def test_choosing_under_jit_and_in_double_precision(x64):
    points = jnp.asarray(cloud(5), jnp.float64)

    @jax.jit
    def choose(points):
        return prototypes.mmd_critic(prototypes.mean_embedding(points, prototypes.rbf(GAMMA)), 4)

    found = choose(points)
    matrix = gaussian(np.asarray(points))
    assert found.indices.tolist() == greedy_by_hand(matrix, 4)
    assert float(found.mmd_squared[-1]) == pytest.approx(mmd_by_definition(matrix, found.indices), abs=1e-14)


def minus_distance(x, y):
    return -jnp.sum((x[:, None] - y[None]) ** 2, axis=-1)


BAD_KERNELS = {
    "kernel: expected a positive semidefinite one, got the eigenvalue -": minus_distance,
    "kernel: expected a symmetric one": lambda x, y: jnp.exp(x[:, :1] - y[:, :1].T),
    "kernel: expected finite values": lambda x, y: jnp.log(x[:, :1] @ y[:, :1].T),
    r"kernel: expected floats of shape \(14, 14\)": lambda x, y: jnp.sum(x) * jnp.ones(len(y)),
    "kernel: expected a function of two sets of points": 3.0,
    r"kernel: expected a function of points of shape \(2,\)": jnp.matmul,
}


@pytest.mark.parametrize("message", BAD_KERNELS)
def test_refuses_kernels_that_are_none(message):
    with pytest.raises(ValueError, match=message):
        prototypes.mean_embedding(cloud(0), BAD_KERNELS[message])


def test_takes_kernels_without_full_rank():
    """Two eigenvalues of fourteen, and one of five, are not zero."""
    points = np.asarray(cloud(0), np.float64)
    found = prototypes.mean_embedding(cloud(0), lambda x, y: jnp.matmul(x, y.T))
    np.testing.assert_allclose(found.means, points @ points.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.mean, np.sum(points.mean(0) ** 2), atol=1e-5)
    same = prototypes.mean_embedding(np.ones((5, 2)), prototypes.rbf(1.0))
    np.testing.assert_allclose(same.means, np.ones(5), rtol=1e-6)
    assert float(prototypes.mmd_squared(same, [3])) == pytest.approx(0, abs=1e-6)


def test_refuses_bad_input():
    found, _ = embedded(0)
    with pytest.raises(ValueError, match="num_prototypes: expected at most 14"):
        prototypes.mmd_critic(found, 15)
    with pytest.raises(ValueError, match="embedding: expected a MeanEmbedding"):
        prototypes.protodash(cloud(0), 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="indices: expected different points"):
        prototypes.swap(found, [1, 1])
    with pytest.raises(ValueError, match="indices: expected integers from 0 to 13, got 14"):
        prototypes.witness(found, [14])
    with pytest.raises(ValueError, match="num_criticisms: expected at most 12, as many as there are free points, got"):
        prototypes.criticisms(found, [0, 1], 13)
    with pytest.raises(ValueError, match="diversity"):
        prototypes.criticisms(found, [0], 1, diversity=-0.1)
    with pytest.raises(ValueError, match="points: expected finite values"):
        prototypes.mean_embedding([[np.nan], [1.0]], prototypes.rbf(1.0))
    with pytest.raises(ValueError, match=r"gamma: expected a number between 0\.0"):
        prototypes.rbf(0.0)
    with pytest.raises(ValueError, match=r"queries: expected shape \(3, 2\)"):
        prototypes.nearest_prototype(found, [0], np.zeros((3, 5)))
