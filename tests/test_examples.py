"""Every example is a program with a smoke switch and a function ``main(smoke)``; `.ci/run` runs each once.

What the study of attacks changes in a step is held here against the definitions it cites.
"""

import ast
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import perturbations

EXAMPLES_FOLDER = pathlib.Path(__file__).parent.parent / "examples"
# Modules that begin with an underscore are what examples share or keep beside them.
EXAMPLES = sorted(EXAMPLES_FOLDER.glob("[!_]*.py"))
EPSILON = 0.1


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_have_the_house_shape(path):
    text = path.read_text()
    assert text.startswith("# %% [markdown]\n# # ")
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    arguments = functions["main"].args
    assert arguments.args[0].arg == "smoke"
    assert len(arguments.defaults) == len(arguments.args)
    ways = '"--smoke"', "run_main(main, ", "sizes_parser("  # by hand, or as the studies do
    assert any(way in text for way in ways)


@pytest.fixture
def steps(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES_FOLDER))
    import _attack_steps

    return _attack_steps


@pytest.fixture
def case(steps):
    """A network of two layers on an image of 28 by 28."""
    random = np.random.default_rng(0)
    first, second, image = (
        jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((784, 8), (8, 3), (28, 28))
    )
    net = steps.Surrogate(lambda images: jnp.tanh(images.reshape(-1, 784) @ first / 28), lambda hidden: hidden @ second)
    image = jax.nn.sigmoid(image)
    label = jnp.argmax(net(image[None])[0])
    return steps.Case(net, image, label, jnp.zeros_like(image), jnp.float32(EPSILON), jnp.int32(4), jnp.float32(0.0))


def test_the_driver_with_momentum_is_the_momentum_attack_of_the_library(steps, case):
    objective = lambda key, delta: steps.margin(case.surrogate, case.image + delta, case.label)  # noqa: E731
    expected = perturbations.momentum_attack(jax.random.key(0), objective, case.image, epsilon=EPSILON, num_steps=4)
    found = jax.jit(lambda: steps.attack(jax.random.key(0), case, steps.METHODS["MI"]))()
    np.testing.assert_allclose(found, expected.perturbation, atol=1e-6)
    assert float(jnp.abs(found).max()) == pytest.approx(EPSILON)


def test_projection_of_the_patchwise_step_by_hand(steps, case):
    """Two steps of ε/2 · 10 along a gradient of one pixel: the excess of the first goes to its eight neighbours."""
    gradient = np.zeros((5, 5), np.float32)
    gradient[2, 2] = 1.0
    rule = steps.patchwise(case._replace(num_steps=jnp.int32(10)))  # a step as long as the box
    state = rule.init(jnp.zeros((5, 5)))
    first, state = rule.update(gradient, state)
    np.testing.assert_allclose(first, EPSILON * gradient, atol=1e-7)  # just within
    second, _ = rule.update(gradient, state)
    around = np.zeros((5, 5))
    around[1:4, 1:4] = 1.0
    np.testing.assert_allclose(second, EPSILON * around, atol=1e-7)  # its own stride, and to each neighbour one


def test_backward_rules_change_derivatives_and_no_values(steps):
    inputs = jnp.array([-2.0, 0.5, 3.0])
    relu, slope = jax.vjp(steps.straight_relu, inputs)
    np.testing.assert_array_equal(relu, [0.0, 0.5, 3.0])
    np.testing.assert_array_equal(slope(jnp.ones(3))[0], [1.0, 1.0, 1.0])
    branch, slope = jax.vjp(lambda branch: steps.scaled_branch(branch, 0.25), inputs)
    np.testing.assert_array_equal(branch, inputs)
    np.testing.assert_array_equal(slope(jnp.ones(3))[0], [0.25, 0.25, 0.25])


def test_smoothing_of_a_step_keeps_the_sum_and_spreads_one_pixel(steps, case):
    pixel = jnp.zeros((28, 28)).at[14, 14].set(1.0)
    found, _ = steps.smoothed(case).update(pixel, steps.smoothed(case).init(pixel))
    assert int((np.asarray(found) > 0).sum()) == 25
    np.testing.assert_allclose(np.unique(found), [0.0, 2 * EPSILON / 4], atol=1e-7)


@pytest.mark.parametrize("name", ["VR", "DI", "SI"])
def test_inputs_of_a_step_are_images_of_the_same_shape(steps, case, name):
    copies = np.asarray(
        jax.jit(steps.METHODS[name].inputs)(jax.random.key(1), case.image, case._replace(surrogate=None))
    )
    assert copies.shape == (1 if name == "DI" else steps.NUM_COPIES, 28, 28)
    assert np.isfinite(copies).all()
    if name == "SI":
        np.testing.assert_allclose(copies[2], case.image / 4)
    if name == "VR":
        assert (copies - np.asarray(case.image)).std() == pytest.approx(EPSILON, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TI", "PI", "VR", "DI", "SI", "ILA", "NRDM", "FIA", "IR"])
def test_every_attack_stays_in_the_box_and_differs_from_the_plain_one(steps, case, name):
    given = case._replace(start=0.01 * jax.random.normal(jax.random.key(2), (28, 28)), penalty=jnp.float32(30.0))
    plain, found = (
        jax.jit(lambda step=step: steps.attack(jax.random.key(0), given, step))()
        for step in (steps.Step(), steps.METHODS[name])
    )
    assert float(jnp.abs(found).max()) <= EPSILON + 1e-7
    assert float((given.image + found).min()) >= 0
    assert float((given.image + found).max()) <= 1
    assert float(jnp.abs(found - plain).max()) > 0.01
