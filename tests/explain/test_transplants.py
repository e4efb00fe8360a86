"""Layers keep their bits where they are frozen, come from where the treatment says, and intervals hold."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxrg import nets, training
from jaxrg.explain import transplants
from jaxrg.training.fit import _one_epoch

NUM_LAYERS = 4
NET = nets.mlp((5, 4, 4, 3))
INPUTS = jax.random.normal(jax.random.key(0), (40, 6))
LABELS = jax.random.randint(jax.random.key(1), (40,), 0, 3)


def layers_of(params):
    return [params["params"][f"Dense_{number}"] for number in range(NUM_LAYERS)]


def params_of(seed: int):
    params = NET.init(jax.random.key(seed), INPUTS)
    # A bias of -0.0 is told from +0.0 by its bits alone, and adding +0.0 to it would change them.
    return jax.tree.map(lambda leaf: jnp.where(leaf == 0, -0.0, leaf), params)


def loss_fn(key, params, batch):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(NET.apply(params, batch[0]), batch[1]))


LAYERS = transplants.layer_numbers(params_of(0), layers_of)
GRADIENT_FN = training.gradient_of(loss_fn)
OPTIMIZERS = {
    "adam": optax.adam(0.05),
    "decay": optax.adamw(0.05, weight_decay=0.5),  # wants to change parameters whose gradient vanishes
    "momentum": optax.sgd(0.1, momentum=0.9),
}


def bits(tree) -> list[bytes]:
    """Of every layer, in order."""
    return [b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(layer)) for layer in layers_of(tree)]


def fitted(optimizer, params, num_frozen):
    frozen = transplants.freeze_first(optimizer, LAYERS, num_frozen)
    return training.fit(
        jax.random.key(2), GRADIENT_FN, frozen, params, (INPUTS, LABELS), num_epochs=2, batch_size=20
    ).params


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_layers_keep_their_bits_and_all_others_move(name):
    start = params_of(0)
    for num_frozen in range(NUM_LAYERS + 1):
        before, after = bits(start), bits(fitted(OPTIMIZERS[name], start, num_frozen))
        is_same = [old == new for old, new in zip(before, after, strict=True)]
        assert is_same == [number < num_frozen for number in range(NUM_LAYERS)]


def test_one_program_serves_all_depths():
    fitted(OPTIMIZERS["adam"], params_of(0), 1)
    before = _one_epoch._cache_size()
    for num_frozen in range(NUM_LAYERS + 1):
        fitted(OPTIMIZERS["adam"], params_of(1), num_frozen)
    assert _one_epoch._cache_size() == before


def test_depths_can_be_mapped_over():
    start, optimizer = params_of(0), OPTIMIZERS["momentum"]

    @jax.jit
    def updated(num_frozen):
        frozen = transplants.freeze_first(optimizer, LAYERS, num_frozen)
        updates, _ = frozen.update(start, frozen.init(start), start)
        return optax.apply_updates(start, updates)

    many = jax.vmap(updated)(jnp.arange(NUM_LAYERS + 1))
    for number in range(NUM_LAYERS + 1):
        one = jax.tree.map(lambda leaf, number=number: leaf[number], many)
        assert [old == new for old, new in zip(bits(start), bits(one), strict=True)][:number] == [True] * number
        assert bits(one) == bits(updated(number))


def test_a_line_search_sees_frozen_layers_as_constants():
    """The minimum over the other parameters, of a quadratic in which they are coupled to a frozen one."""
    layers, start = {"first": 0, "last": 1}, {"first": jnp.array([2.0, -0.0]), "last": jnp.zeros(2)}

    def quadratic(key, params, batch):
        return jnp.sum((params["last"] - 3 * params["first"] - 1) ** 2) + jnp.sum(params["first"] ** 2)

    optimizer = transplants.freeze_first(optax.lbfgs(memory_size=2), layers, 1)
    gradient_fn = training.gradient_of(quadratic)
    found = training.fit(jax.random.key(0), gradient_fn, optimizer, start, num_epochs=1, steps_per_epoch=8).params
    assert np.asarray(found["first"]).tobytes() == np.asarray(start["first"]).tobytes()
    np.testing.assert_allclose(found["last"], [7.0, 1.0], atol=1e-5)


def test_nothing_frozen_is_the_plain_optimizer():
    start, optimizer = params_of(0), OPTIMIZERS["decay"]
    plain = training.fit(
        jax.random.key(2), GRADIENT_FN, optimizer, start, (INPUTS, LABELS), num_epochs=2, batch_size=20
    )
    for one, other in zip(jax.tree.leaves(plain.params), jax.tree.leaves(fitted(optimizer, start, 0)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)  # fused otherwise, rounded otherwise


def test_frozen_layers_are_constants_to_the_others():
    """What is trained above frozen layers is what is trained on their outputs, by a network without them."""
    start, num_frozen = params_of(0), 2
    hidden = INPUTS
    for layer in layers_of(start)[:num_frozen]:
        hidden = jax.nn.relu(hidden @ layer["kernel"] + layer["bias"][None])

    def upper_loss_fn(key, params, batch):
        outputs = jax.nn.relu(batch[0] @ params[0]["kernel"] + params[0]["bias"][None])
        outputs = outputs @ params[1]["kernel"] + params[1]["bias"][None]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]))

    optimizer = OPTIMIZERS["momentum"]
    upper = training.fit(
        jax.random.key(2),
        training.gradient_of(upper_loss_fn),
        optimizer,
        layers_of(start)[num_frozen:],
        (hidden, LABELS),
        num_epochs=2,
        batch_size=20,
    )
    found = layers_of(fitted(optimizer, start, num_frozen))[num_frozen:]
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(upper.params), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_transplant_has_the_bits_of_both():
    source, target = params_of(1), params_of(2)
    source["params"]["Dense_0"]["bias"] = source["params"]["Dense_0"]["bias"].at[0].set(jnp.nan)
    for number in range(NUM_LAYERS + 1):
        found = bits(transplants.transplant(source, target, LAYERS, number))
        assert found == [*bits(source)[:number], *bits(target)[number:]]


def test_seeds_side_by_side_are_transplanted_as_one_by_one():
    source, target = ([params_of(seed) for seed in seeds] for seeds in ((1, 2), (3, 4)))
    stacked = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (source, target)]
    both = transplants.transplant(*stacked, LAYERS, 2)
    for seed in range(2):
        one = transplants.transplant(source[seed], target[seed], LAYERS, 2)
        assert bits(jax.tree.map(lambda leaf, seed=seed: leaf[seed], both)) == bits(one)


def test_an_output_layer_for_other_classes_stays_the_target_s():
    source, target = params_of(1), params_of(2)
    source["params"]["Dense_3"] = {"bias": jnp.zeros(7), "kernel": jnp.zeros((4, 7))}
    found = transplants.transplant(source, target, LAYERS, 3)
    assert bits(found)[3] == bits(target)[3]
    with pytest.raises(ValueError, match=r"source\['params'\]\['Dense_3'\]\['bias'\]: expected float32\[3\], got .*7"):
        transplants.transplant(source, target, LAYERS, 4)


def test_layers_are_numbered_in_any_tree():
    params = [(jnp.zeros(2), None), {"scale": 1.0, "deep": [(jnp.zeros((1, 1)), 2.0), 3.0]}]
    numbers = transplants.layer_numbers(params, lambda params: [params[1]["deep"], (params[0], params[1]["scale"])])
    assert jax.tree.leaves(numbers) == [1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("layers_of", "message"),
    [
        (None, "layers_of: expected a function of the parameters, got None"),
        (lambda params: params, "layers_of: expected a sequence of layers, got a dict"),
        (lambda params: [], "layers_of: expected a sequence of layers"),
        (lambda params: [params["a"]], r"layers_of: expected every parameter in one layer, got none for params\['b'\]"),
        (lambda params: [params, params["b"]], r"expected every parameter in one layer, got params\['b'\] in two"),
        (lambda params: [params, "dense"], "layers_of: expected parts of the parameters, got 'dense' in layer 1"),
    ],
)
def test_layers_that_do_not_divide_the_parameters_are_refused(layers_of, message):
    with pytest.raises(ValueError, match=message):
        transplants.layer_numbers({"a": 1.0, "b": 2.0}, layers_of)


def test_numbers_and_trees_that_do_not_fit_are_refused():
    params, optimizer = params_of(0), OPTIMIZERS["adam"]
    for number in (-1, NUM_LAYERS + 1):
        with pytest.raises(ValueError, match=f"num_layers: expected integers from 0 to 4, got {number}"):
            transplants.transplant(params, params, LAYERS, number)
        with pytest.raises(ValueError, match=f"num_frozen: expected integers from 0 to 4, got {number}"):
            transplants.freeze_first(optimizer, LAYERS, number)
    with pytest.raises(ValueError, match="optimizer: expected a gradient transformation of optax"):
        transplants.freeze_first(None, LAYERS, 1)
    with pytest.raises(ValueError, match="source: expected parameters in the tree of layers"):
        transplants.transplant({"a": 1.0}, params, LAYERS, 1)
    with pytest.raises(ValueError, match="params: expected parameters in the tree of layers"):
        transplants.freeze_first(optimizer, LAYERS, 1).update({"a": jnp.zeros(())}, (), None)
    with pytest.raises(ValueError, match="layers: expected one number for each parameter"):
        transplants.freeze_first(optimizer, {"a": [0, 1], "b": jnp.zeros(2, jnp.int32)}, 1)


def test_every_treatment_starts_from_what_it_says_and_freezes_what_it_says():
    start, sources = params_of(0), {name: params_of(seed) for seed, name in enumerate(("A", "B", "random"), 1)}
    seen = []

    def train_fn(params, num_frozen):
        seen.append((bits(params), num_frozen))
        return len(seen)

    kept = []
    scores = transplants.transfer_scores(train_fn, start, sources, LAYERS, on_score=lambda *row: kept.append(row))
    expected = {"BnB": ("B", True), "BnB+": ("B", False), "AnB": ("A", True), "AnB+": ("A", False)}
    expected |= {"random": ("random", True)}
    rows = [(name, number) for name in expected for number in (1, 2, 3)]
    for (found, num_frozen), (name, number) in zip(seen, rows, strict=True):
        source, is_frozen = expected[name]
        assert found == [*bits(sources[source])[:number], *bits(start)[number:]]
        assert num_frozen == (number if is_frozen else 0)
    assert kept == [(*row, place) for place, row in enumerate(rows, 1)]
    assert {name: values.tolist() for name, values in scores.items()} == {
        name: [1 + 3 * place, 2 + 3 * place, 3 + 3 * place] for place, name in enumerate(expected)
    }


def test_known_scores_are_not_computed_again():
    start = params_of(0)
    sources = dict.fromkeys(("A", "B", "random"), start)
    known = {("AnB", 2): 7.0, ("BnB", 1): float("nan")}
    kept = []
    arguments = (lambda params, num_frozen: num_frozen, start, sources, LAYERS)
    scores = transplants.transfer_scores(*arguments, known=known, on_score=lambda *row: kept.append(row[:2]))
    assert len(kept) == 13
    assert not set(kept) & set(known)
    assert scores["AnB"].tolist() == [1, 7, 3]
    assert np.isnan(scores["BnB"][0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_fn": 1.0}, "train_fn: expected a function of parameters and a number of frozen layers, got 1.0"),
        ({"train_fn": lambda params, num_frozen: jnp.zeros(2)}, "train_fn: expected one number, got an array"),
        ({"on_score": 1}, "on_score: expected a function"),
        ({"sources": {"A": {"a": 0.0}}}, "treatments: expected a Treatment whose source is one of A, got"),
        ({"layers": {"a": 0}}, "layers: expected two or more layers, got 1"),
    ],
)
def test_studies_that_cannot_be_are_refused(change, message):
    start = params_of(0)
    given = {"train_fn": lambda params, num_frozen: 0.0, "start": start, "layers": LAYERS}
    given |= {"sources": dict.fromkeys(("A", "B", "random"), start)} | change
    with pytest.raises(ValueError, match=message):
        transplants.transfer_scores(**given)


def test_an_interval_is_student_s():
    values, base = (jax.random.normal(jax.random.key(seed), shape) for seed, shape in ((0, (6, 3)), (1, (6,))))
    differences = np.asarray(values, np.float64) - np.asarray(base, np.float64)[:, None]
    for confidence, num_comparisons in ((0.95, 1), (0.5, 7)):
        found = transplants.paired_difference(values, base, confidence=confidence, num_comparisons=num_comparisons)
        error = stats.sem(differences)
        each = 1 - (1 - confidence) / num_comparisons
        low, high = stats.t.interval(each, 5, differences.mean(0), error)
        for field, expected in zip(found, (differences.mean(0), error, low, high), strict=True):
            np.testing.assert_allclose(field, expected, rtol=2e-5, atol=1e-6)


def test_what_seeds_have_in_common_drops_out():
    base = 1024 * jax.random.normal(jax.random.key(0), (5,)).round(1)
    found = transplants.paired_difference(base[:, None] + jnp.array([[0.5, -2.0]]), base)
    np.testing.assert_allclose(found.mean, [0.5, -2.0], atol=1e-3)
    np.testing.assert_allclose(found.error, 0, atol=1e-3)


@pytest.mark.parametrize("num_seeds", [2, 5])
def test_intervals_hold_as_often_as_they_say(num_seeds):
    """Of one comparison exactly, of seven independent ones together at least."""
    many, confidence = 4_000, 0.9
    values = jax.random.normal(jax.random.key(num_seeds), (num_seeds, many, 7)) + 2
    base = jnp.full((num_seeds,), 2.0)
    for num_comparisons, expected in ((1, confidence), (7, (1 - 0.1 / 7) ** 7)):
        found = transplants.paired_difference(values, base, confidence=confidence, num_comparisons=num_comparisons)
        holds = np.asarray((found.low < 0) & (found.high > 0))
        share = holds.mean() if num_comparisons == 1 else holds.all(-1).mean()
        count = holds.size if num_comparisons == 1 else many
        assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / count)


def test_nan_is_not_averaged_away():
    found = transplants.paired_difference([[1.0, jnp.nan], [2.0, 3.0]], [0.0, 0.0])
    assert [bool(value) for value in jnp.isnan(found.mean)] == [False, True]
    assert [bool(value) for value in jnp.isnan(found.high)] == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": [[1.0, 2.0]], "base": [1.0]}, "values: expected two or more seeds along the first axis"),
        ({"base": [1.0]}, r"base: expected shape \(3,\) or \(3, 2\), got \(1,\)"),
        ({"confidence": 1.0}, "confidence: expected a number between 0 and 1, got 1.0"),
        ({"num_comparisons": 0}, "num_comparisons: expected an integer >= 1, got 0"),
    ],
)
def test_intervals_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        transplants.paired_difference(**({"values": np.zeros((3, 2)), "base": np.zeros(3)} | change))
