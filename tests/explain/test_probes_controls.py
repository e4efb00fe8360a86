"""Control tasks, code lengths, ranks and interventions, against definitions and closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import probes


def test_a_control_task_gives_one_label_to_a_type_and_keeps_the_shares():
    random = np.random.default_rng(0)
    types = random.integers(-50, 2_000, 6_000)
    labels = (random.random(6_000) < 0.3).astype(np.int32)
    found = np.asarray(probes.control_labels(jax.random.key(0), labels, types))
    by_type = {kind: set(found[types == kind].tolist()) for kind in np.unique(types)}
    assert all(len(each) == 1 for each in by_type.values())
    share = np.mean([each.pop() for each in by_type.values()])
    error = math.sqrt(labels.mean() * (1 - labels.mean()) / len(by_type))
    assert abs(share - labels.mean()) < 5 * error
    other = np.asarray(probes.control_labels(jax.random.key(1), labels, types))
    assert (found != other).any()


def test_selectivity_of_a_linear_task():
    """Types in one-hot coding are remembered at once; of their signs alone only the true task can be read."""
    random = np.random.default_rng(0)
    signs = random.choice([-1.0, 1.0], (40, 3))
    types = random.integers(0, 40, 800)
    labels = (signs[types].sum(axis=1) > 0).astype(int)
    control = probes.control_labels(jax.random.key(0), labels, types)
    accuracy = {}
    for name, features in (("one-hot", np.eye(40)[types]), ("signs", signs[types])):
        for task, target in (("true", labels), ("control", np.asarray(control))):
            fitted = probes.logistic_probes(features[:400], target[:400], 1e-4, tolerance=1e-6)
            scores = probes.classification_scores(fitted, features[400:], target[400:])
            accuracy[name, task] = float(scores.accuracy[0])
    assert accuracy["one-hot", "true"] - accuracy["one-hot", "control"] < 0.05
    assert accuracy["signs", "true"] == 1
    assert accuracy["signs", "control"] < 0.8


def test_the_code_is_the_sum_of_its_blocks_computed_by_hand():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 64)
    features = labels[:, None] + random.normal(size=(64, 2))
    key, penalties = jax.random.key(3), [np.inf, 0.1]
    found = probes.code_length(key, features, labels, penalties)
    assert found.ends[-1] == 64
    order = np.asarray(jax.random.permutation(key, 64))
    x, y = features[order].astype(np.float32), labels[order]
    assert len(set(y[: found.ends[0]])) == 2
    np.testing.assert_allclose(found.blocks[0], found.ends[0] * math.log(2))
    for number, (first, last) in enumerate(zip(found.ends[:-1], found.ends[1:], strict=True), 1):
        fitted = probes.logistic_probes(x[:first], y[:first], penalties, tolerance=1e-6)
        scores = probes.classification_scores(fitted, x[first:last], y[first:last])
        np.testing.assert_allclose(found.blocks[number], (last - first) * np.asarray(scores.cross_entropy), rtol=1e-3)
        share = np.mean(y[:first])
        by_hand = -np.sum(np.where(y[first:last] == 1, math.log(share), math.log1p(-share)))
        assert found.blocks[number, 0] == pytest.approx(by_hand, rel=1e-9)
    assert found.uniform == pytest.approx(64 * math.log(2))
    mixture = -math.log(np.mean(np.exp(-found.by_penalty)))
    assert found.total == pytest.approx(mixture)
    assert found.by_penalty.min() <= found.total <= found.by_penalty.min() + math.log(2)
    assert found.by_penalty[1] < found.by_penalty[0]


def test_limited_ranks_are_limited_and_the_full_one_is_the_probe_itself():
    random = np.random.default_rng(0)
    labels = np.arange(200) % 4
    features = random.normal(size=(200, 6)) + 2 * np.eye(4, 6)[labels]
    full = probes.logistic_probes(features, labels, [0.1, 0.01])
    values = []
    for rank in (1, 2, 3):
        found = probes.rank_limited_probes(full, features, labels, rank)
        assert [np.linalg.matrix_rank(each, tol=1e-7) for each in found.weights] == [rank, rank]
        assert (found.gap <= 1e-10).all()
        values.append(found.value)
    assert (np.diff(values, axis=0) < 0).all()
    np.testing.assert_allclose(values[-1], full.value, atol=1e-8)
    np.testing.assert_allclose(found.weights, full.weights, atol=1e-4)
    chance = probes.logistic_probes(features, labels, [np.inf])
    with pytest.raises(ValueError, match="probes: expected finite weights that are not all zero"):
        probes.rank_limited_probes(chance, features, labels, 1)
    with pytest.raises(ValueError, match="rank: expected integers from 1 to 4, got 5"):
        probes.rank_limited_probes(full, features, labels, 5)


@pytest.fixture(scope="module")
def classes():
    random = np.random.default_rng(0)
    labels = np.concatenate([np.arange(3), random.integers(0, 3, 200)])
    features = (random.normal(size=(203, 5)) @ random.normal(size=(5, 5)) + 2 * np.eye(3, 5)[labels] + 4).astype(
        np.float32
    )
    return features, labels


def test_after_erasure_the_best_linear_probe_is_chance(classes):
    features, labels = classes
    eraser = probes.concept_eraser(features, np.eye(3)[labels])
    erased = probes.erase(eraser, features)
    centred = np.asarray(erased) - np.asarray(erased).mean(axis=0)
    np.testing.assert_allclose(centred.T @ np.eye(3)[labels] / 203, 0, atol=2e-6)
    before, after = (probes.logistic_probes(values, labels, [1e-2, np.inf]) for values in (features, erased))
    assert before.value[0] < before.value[1] - 0.1
    assert after.value[0] == pytest.approx(after.value[1], abs=1e-9)
    np.testing.assert_allclose(after.weights[0], 0, atol=1e-4)
    np.testing.assert_allclose(probes.erase(eraser, erased), erased, atol=1e-4)  # a projection
    assert np.linalg.matrix_rank(centred, tol=1e-2) == 3  # of five directions two know of three classes


def test_no_other_affine_map_erases_with_less_change(classes):
    """Iterated projection and projections of the class means do erase, and move the samples further."""
    features, labels = classes
    eraser = probes.concept_eraser(features, np.eye(3)[labels])
    least = float(jnp.mean(jnp.sum((probes.erase(eraser, features) - features) ** 2, axis=1)))
    centred = features - features.mean(axis=0)
    cross = centred.T @ (np.eye(3)[labels] - np.eye(3)[labels].mean(axis=0)) / 203
    span = np.linalg.svd(cross)[0][:, :2]
    orthogonal = np.mean(np.sum((centred @ span) ** 2, axis=1))
    assert least < orthogonal
    # every map x - L R^T x with R^T cross = cross-free remainder: perturb the solution within those that erase
    readers, directions = np.asarray(eraser.readers), np.asarray(eraser.directions)
    null = np.linalg.svd(cross)[0][:, 2:]
    random = np.random.default_rng(1)
    for _ in range(20):
        other = readers @ directions.T + 0.1 * null @ random.normal(size=(3, 5))
        assert np.mean(np.sum((centred @ other) ** 2, axis=1)) >= least * (1 - 1e-5)


def test_erasing_keeps_the_shape_of_maps_and_what_does_not_vary(classes):
    features, labels = classes
    maps = np.concatenate([features, np.full((203, 1), 7, np.float32)], axis=1).reshape(203, 3, 2)
    erased = probes.erase(probes.concept_eraser(maps, np.eye(3)[labels]), maps)
    assert erased.shape == maps.shape
    np.testing.assert_allclose(erased[:, 2, 1], 7, atol=1e-5)
    with pytest.raises(ValueError, match=r"hidden: expected 6 features of every sample, got shape \(203, 5\)"):
        probes.erase(probes.concept_eraser(maps, np.eye(3)[labels]), features)
    with pytest.raises(ValueError, match="eraser: expected an Eraser, got a tuple"):
        probes.erase((1, 2), features)


def test_interventions_are_the_tail_of_moved_values():
    random = np.random.default_rng(0)
    hidden, directions = (
        random.normal(size=(4, 2, 3)).astype(np.float32),
        random.normal(size=(5, 2, 3)).astype(np.float32),
    )
    weight = random.normal(size=(6, 2)).astype(np.float32)
    tail = lambda h: {"out": jnp.tanh(h.reshape(len(h), -1) @ weight), "sum": jnp.sum(h)}  # noqa: E731
    found = probes.intervene(tail, hidden, directions, [0.0, 0.5, -2.0])
    assert found["out"].shape == (5, 3, 4, 2)
    for row, direction in enumerate(directions):
        for column, amount in enumerate((0.0, 0.5, -2.0)):
            moved = tail(hidden + amount * direction / np.linalg.norm(direction))
            np.testing.assert_allclose(found["out"][row, column], moved["out"], atol=1e-5)
            np.testing.assert_allclose(found["sum"][row, column], moved["sum"], atol=1e-4)
    assert np.isnan(probes.intervene(tail, hidden, np.zeros((1, 2, 3)), 1.0)["out"]).all()
    with pytest.raises(ValueError, match=r"directions: expected \[num_directions, 2, 3\], got shape \(2, 3\)"):
        probes.intervene(tail, hidden, directions[0], 1.0)
    with pytest.raises(ValueError, match="tail: expected a function of hidden values"):
        probes.intervene(3, hidden, directions, 1.0)
    with pytest.raises(ValueError, match="amounts: expected one or more numbers"):
        probes.intervene(tail, hidden, directions, [])
