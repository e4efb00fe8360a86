"""Taps: sites of networks of every kind by name, read and set in every transformation, and run on from."""

import functools
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxrg import flows, nets, rbm
from jaxrg.explain import hidden
from jaxrg.flows import bijectors

INPUTS = jnp.asarray(np.random.default_rng(0).normal(size=(3, 6, 6)), jnp.float32)
taps_module = sys.modules[hidden.taps.__module__]
NET = nets.cnn((2, 3), 4)
PARAMS = NET.init(jax.random.key(0), INPUTS)
CNN = functools.partial(NET.apply, PARAMS)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, inputs):
        return nnx.relu(self.linear(inputs))


class Model(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second = Block(rngs), Block(rngs)

    def __call__(self, inputs):
        return self.second(self.first(inputs))


class Normalised(linen.Module):
    @linen.compact
    def __call__(self, inputs):
        return linen.Dense(2)(linen.LayerNorm()(inputs))


def loop(x):
    """A loop of three steps, and a loop and a branch whose insides may never run."""

    def step(carry, shift):
        carry = jnp.sin(carry + shift)
        return carry, carry**2

    last, squares = jax.lax.scan(step, x, jnp.arange(3.0))
    last = jax.lax.while_loop(lambda value: value < 0, lambda value: jnp.exp(value), last)
    return jax.lax.cond(last > 0, jnp.cos, jnp.tan, last), squares


def names(function, *args):
    return [site.name for site in hidden.taps(function, *args)]


def test_sites_are_named_by_scope_and_kind_in_the_order_they_are_computed():
    found = hidden.taps(CNN, INPUTS)
    assert [
        site.name.removeprefix("apply/_Cnn/") for site in found if "Conv_1" in site.name or "relu" in site.name
    ] == [
        "relu",
        "Conv_1/conv_general_dilated",
        "Conv_1/reshape",
        "Conv_1/add",
        "relu_1",
    ]
    assert found[0].shape == (3, 6, 6, 1)
    assert found[-1].shape == (3, 4)
    assert {site.dtype for site in found} == {np.dtype("float32")}
    assert len({site.name for site in found}) == len(found)


def test_networks_of_any_library_have_sites():
    model = Model(nnx.Rngs(0))
    vector = jnp.ones((2, 4))
    assert names(model, vector)[2:5] == [
        "Model/Block/Linear/add",
        "Model/Block/relu",
        "Model/Block/Linear/dot_general_1",
    ]
    net, params = nets.from_nnx(model)  # traced before, and inside two jitted functions
    assert [name.removeprefix("apply/apply/") for name in names(net.apply, params, vector)] == names(model, vector)
    perceptron = eqx.nn.MLP(4, 2, 8, 2, key=jax.random.key(0))
    assert "eqx.nn.MLP/eqx.nn.Linear/add_2" in names(perceptron, vector[0])
    module = Normalised()
    given = module.init(jax.random.key(0), vector)
    assert "Normalised/Dense_0/add" in names(module.apply, given, vector)

    def plain(x):
        with jax.named_scope("stage"):
            return jax.jit(jnp.tanh)(x) + 1

    assert names(plain, 0.5) == ["stage/tanh/tanh", "stage/add"]


def test_networks_of_penzai_have_sites():
    pytest.importorskip("penzai")
    from penzai import pz
    from penzai.models import simple_mlp

    model = simple_mlp.MLP.from_config(name="net", init_base_rng=jax.random.key(0), feature_sizes=[4, 8, 2])

    def function(x):
        return model(pz.nx.wrap(x).tag("features")).unwrap("features")

    vector = jnp.arange(4.0)
    assert "1/relu" in names(function, vector)  # by the places of its layers
    reading = hidden.run(function, vector, read=["relu"])
    np.testing.assert_array_equal(reading.output, function(vector))
    weights = model.sublayers[0].sublayers[0].weights.value.unwrap("features", "features_out")
    np.testing.assert_allclose(reading.values["relu"], np.maximum(vector @ weights, 0), rtol=1e-6)  # without biases yet


def test_reading_changes_nothing_and_gives_what_the_layers_compute():
    sites = names(CNN, INPUTS)
    reading = hidden.run(CNN, INPUTS, read=sites)
    np.testing.assert_array_equal(reading.output, CNN(INPUTS))
    kernel, bias = PARAMS["params"]["Conv_0"]["kernel"], PARAMS["params"]["Conv_0"]["bias"]
    numbers = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(INPUTS[..., None], kernel, (1, 1), "SAME", dimension_numbers=numbers)
    found = reading.values["apply/_Cnn/Conv_0/add"]
    np.testing.assert_allclose(found, expected + bias.reshape(1, 1, 1, -1), atol=1e-6)
    np.testing.assert_array_equal(reading.values["apply/_Cnn/relu"], np.maximum(found, 0))


def test_names_are_the_same_under_transformations_and_never_shared():
    @jax.custom_jvp
    def act(x):
        return jnp.sin(x)

    act.defjvp(lambda primals, tangents: (act(*primals), tangents[0]))

    @jax.custom_jvp
    def act_1(x):
        return jnp.cos(x)

    act_1.defjvp(lambda primals, tangents: (act_1(*primals), tangents[0]))

    def net(x):
        with jax.named_scope("layer"):
            return jnp.tanh(x)

    inside = jax.vmap(jax.value_and_grad(lambda x: jnp.sum(net(x))))
    assert "layer/tanh" in names(inside, jnp.ones((2, 3)))
    assert names(jax.jit(net), 0.5) == ["net/layer/tanh"]
    assert len(names(lambda x: act(act(act(x))), 0.5)) == 3
    collided = names(lambda x: act_1(act(act(x))), 0.5)
    assert len(collided) == len(set(collided)) == 3


def test_keys_and_complex_numbers_are_set_as_they_are():
    def draw(key):
        first, second = jax.random.split(key)
        return jax.random.normal(first) + jax.random.normal(second)

    key = jax.random.key(0)
    (site,) = [site.name for site in hidden.taps(draw, key) if site.kind == "random_split"]
    held = hidden.run(draw, key, read=[site])
    assert float(hidden.run(draw, jax.random.key(1), set={site: held.values[site]}).output) == float(held.output)
    wave = lambda x: jnp.abs(jnp.fft.fft(x))  # noqa: E731
    site = next(site.name for site in hidden.taps(wave, jnp.ones(4)) if site.kind == "fft")
    values = hidden.run(wave, jnp.arange(4.0), read=[site]).values[site]
    np.testing.assert_allclose(
        hidden.run(wave, jnp.ones(4), set={site: values}).output, wave(jnp.arange(4.0)), rtol=1e-6
    )


def test_plain_numbers_stay_weakly_typed_and_traced():
    """As in the function itself: half precision times two is half precision, and three runs the same program."""
    times = lambda x, factor: x * factor  # noqa: E731
    halves = jnp.ones(2, jnp.bfloat16)
    assert hidden.run(times, halves, 2.0).output.dtype == times(halves, 2.0).dtype == jnp.bfloat16
    size = taps_module._run._cache_size()
    np.testing.assert_array_equal(hidden.run(times, halves, 3.0).output, [3.0, 3.0])
    assert taps_module._run._cache_size() == size
    doubled = hidden.with_rules(times, {"mul": lambda pullback, cotangent, *inputs: pullback(2 * cotangent)})
    assert doubled(halves, 2).dtype == jnp.bfloat16


def test_units_ablated_by_a_mask_run_one_program():
    function = lambda x: jnp.sum(jax.nn.relu(x), axis=0)  # noqa: E731

    def without(unit):
        keep = jnp.ones((1, 3)).at[:, unit].set(0.0)
        return hidden.run(function, jnp.ones((2, 3)), set={"relu": lambda values: values * keep}).output

    np.testing.assert_array_equal(without(0), [0, 2, 2])
    size = taps_module._run._cache_size()
    np.testing.assert_array_equal(without(1), [2, 0, 2])
    assert taps_module._run._cache_size() == size


def test_functions_among_the_arguments_are_held():
    """A module of equinox has its activation among its leaves."""
    module, vector = eqx.nn.MLP(4, 2, 8, 1, key=jax.random.key(0)), jnp.ones(4)
    apply = lambda module, x: module(x)  # noqa: E731
    assert names(apply, module, vector) == names(module, vector)
    reading = hidden.run(apply, module, vector, read=["relu"])
    np.testing.assert_array_equal(reading.output, module(vector))
    slope = lambda function: eqx.filter_grad(lambda given: jnp.sum(function(given, vector)))(module)  # noqa: E731
    found = slope(hidden.with_rules(apply, {"relu": hidden.gradient_rule}))
    jax.tree.map(np.testing.assert_array_equal, found, slope(apply))


def test_a_site_set_to_its_own_value_changes_no_bit():
    with jax.disable_jit():  # operation by operation
        sites = names(CNN, INPUTS)
        reading = hidden.run(CNN, INPUTS, read=sites)
        for site in sites:
            again = hidden.run(CNN, INPUTS, set={site: reading.values[site]}).output
            np.testing.assert_array_equal(again, reading.output)


def test_setting_ablating_and_changing():
    net = lambda x: jnp.sum(jax.nn.relu(jnp.sin(x)))  # noqa: E731
    x = jnp.array([0.5, -0.5, 1.0])
    assert float(hidden.run(net, x, set={"relu": 0.0}).output) == 0
    assert float(hidden.run(net, x, set={"relu": [1.0, 2.0, 3.0]}).output) == 6
    one_off = hidden.run(net, x, set={"sin": lambda value: value.at[0].set(0)}, read=["sin", "relu"])
    np.testing.assert_allclose(one_off.output, np.sin(1.0), rtol=1e-6)
    np.testing.assert_allclose(one_off.values["relu"], [0, 0, np.sin(1.0)], rtol=1e-6)


def test_under_jit_vmap_and_grad():
    site = "Conv_0/add"

    def loss(shift, inputs):
        reading = hidden.run(CNN, inputs, read=["Conv_1/add"], set={site: lambda value: value + shift})
        return jnp.sum(reading.output) + jnp.sum(reading.values["Conv_1/add"] ** 2)

    def by_bias(bias):
        first = PARAMS["params"]["Conv_0"] | {"bias": PARAMS["params"]["Conv_0"]["bias"] + bias}
        reading = hidden.run(NET.apply, {"params": PARAMS["params"] | {"Conv_0": first}}, INPUTS, read=["Conv_1/add"])
        return jnp.sum(reading.output) + jnp.sum(reading.values["Conv_1/add"] ** 2)

    slope = jax.jit(jax.grad(loss))(0.1, INPUTS)
    np.testing.assert_allclose(slope, jnp.sum(jax.grad(by_bias)(jnp.full(2, 0.1))), rtol=1e-5)
    one_by_one = [hidden.run(CNN, image[None], read=[site]).values[site][0] for image in INPUTS]
    batched = jax.vmap(lambda image: hidden.run(CNN, image[None], read=[site]).values[site][0])(INPUTS)
    np.testing.assert_allclose(batched, jnp.stack(one_by_one), atol=1e-6)


def test_sites_in_a_loop_are_stacked():
    sites = {site.name: site for site in hidden.taps(loop, 0.5)}
    assert sites["scan/sin"].shape == (3,)
    assert not any(name.startswith(("while/", "cond/")) for name in sites)
    reading = hidden.run(loop, 0.5, read=["scan/sin"])
    values, carry = [], 0.5
    for shift in range(3):
        carry = np.sin(carry + shift)
        values.append(carry)
    np.testing.assert_allclose(reading.values["scan/sin"], values, rtol=1e-6)
    np.testing.assert_allclose(reading.output[1], np.square(values), rtol=1e-6)
    again = hidden.run(loop, 0.5, set={"scan/sin": reading.values["scan/sin"]})
    np.testing.assert_array_equal(again.output[0], reading.output[0])
    given = hidden.run(loop, 0.5, read=["scan/add"], set={"scan/sin": [1.0, 2.0, 3.0]})
    np.testing.assert_array_equal(given.output[1], [1.0, 4.0, 9.0])
    np.testing.assert_array_equal(given.values["scan/add"], [0.5, 2.0, 4.0])
    halved = hidden.run(loop, 0.5, set={"scan/sin": lambda value: value / 2}).output[1]
    np.testing.assert_allclose(halved[0], (np.sin(0.5) / 2) ** 2, rtol=1e-6)


def test_loops_inside_loops_backwards_and_in_checkpoints():
    def step(carry, row):
        inner = jax.checkpoint(lambda total, value: (jnp.tanh(total + value), total))
        return jax.lax.scan(inner, carry, row, reverse=True)

    nested = lambda rows: jax.lax.scan(step, 0.0, rows)[0]  # noqa: E731
    rows = jnp.arange(6.0).reshape(2, 3)
    found = hidden.run(nested, rows, read=["scan/scan/tanh"]).values["scan/scan/tanh"]
    total, expected = 0.0, np.zeros((2, 3))
    for i in range(2):
        for j in (2, 1, 0):
            total = np.tanh(total + rows[i, j])
            expected[i, j] = total
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    held = {"scan/scan/tanh": found}
    np.testing.assert_allclose(hidden.run(nested, rows, set=held).output, total, rtol=1e-6)
    changed = jax.grad(lambda value: hidden.run(nested, rows, set={"tanh": value}).output)(found)
    np.testing.assert_array_equal(changed, [[0, 0, 0], [1, 0, 0]])  # the last step is all that counts


@pytest.mark.slow
def test_the_projects_own_flows_and_machines():
    half = bijectors.parallel_perceptrons(2, (4, 4))
    layer = bijectors.repeat(bijectors.affine_coupling((2, 2), [[True, True], [False, False]], half), 2)
    flow = flows.rg_flow((4, 4), disentangler=layer, decimator=layer)
    params, field = flow.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (4, 4))
    site = next(site for site in hidden.taps(flow.inverse, params, field) if site.kind in ("tanh", "relu"))
    assert site.shape[:2] == (2, 2)  # a loop over passes, in it one over layers
    reading = hidden.run(flow.inverse, params, field, read=[site.name])
    again = hidden.run(flow.inverse, params, field, set={site.name: reading.values[site.name]})
    jax.tree.map(np.testing.assert_array_equal, again.output, flow.inverse(params, field))
    machine = rbm.init(jax.random.key(2), num_visible=6, num_hidden=3, scale=1.0)
    spins = jnp.array([1, -1, 1, 1, -1, 1], jnp.int8)
    terms = hidden.run(rbm.visible_hamiltonian, machine, spins, read=["log_two_cosh"]).values["log_two_cosh"]
    values = spins.astype(jnp.float32)
    np.testing.assert_allclose(terms, np.log(2 * np.cosh(values @ machine.weights + machine.hidden_bias)), rtol=1e-5)
    expected = -jnp.sum(terms) - jnp.dot(values, machine.visible_bias)
    np.testing.assert_allclose(rbm.visible_hamiltonian(machine, spins), expected, rtol=1e-5)


def test_head_and_tail_make_the_function():
    head, tail = hidden.split(CNN, "relu_1")
    value = head(INPUTS)
    np.testing.assert_allclose(tail(value, INPUTS), CNN(INPUTS), atol=1e-6)
    np.testing.assert_array_equal(tail(value, jnp.zeros_like(INPUTS)), tail(value, INPUTS))  # nothing goes past it
    skip, after = hidden.split(lambda x: x + jnp.sin(x), "sin")
    assert float(after(skip(1.0), 2.0)) == pytest.approx(2 + np.sin(1.0))


def test_rules_by_kind_and_by_site():
    net = lambda x: jnp.sin(jnp.sin(x))  # noqa: E731
    straight = lambda pullback, cotangent, x: cotangent  # noqa: E731
    assert float(jax.grad(hidden.with_rules(net, {"sin": straight}))(1.0)) == 1
    assert float(hidden.with_rules(net, {"sin": straight})(1.0)) == float(net(1.0))
    last = jax.grad(hidden.with_rules(net, {"sin_1": straight}))(1.0)
    assert float(last) == pytest.approx(np.cos(1.0))
    product = hidden.with_rules(jnp.dot, {"dot_general": lambda pullback, g, x, y: (pullback(g)[1], pullback(g)[0])})
    left, right = jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])
    np.testing.assert_array_equal(jax.grad(product)(left, right), left)
    in_loop = hidden.with_rules(lambda x: loop(x)[1].sum(), {"sin": straight})
    np.testing.assert_allclose(
        jax.jit(jax.grad(in_loop))(0.5), 2 * float(hidden.run(loop, 0.5, read="sin").values["sin"].sum())
    )
    branches = hidden.with_rules(lambda x: jax.lax.cond(x > 0, jnp.cos, jnp.tan, x), {"cos": straight})
    assert float(jax.grad(branches)(1.0)) == 1


def test_refusals_name_what_is_there():
    with pytest.raises(
        ValueError, match=r"site 'Conv_7/add': expected one of apply/_Cnn/broadcast_in_dim, .*not there"
    ):
        hidden.run(CNN, INPUTS, read=["Conv_7/add"])
    with pytest.raises(ValueError, match=r"site 'add': expected a name that one site has, got one of .*Conv_0/add, "):
        hidden.run(CNN, INPUTS, read=["add"])
    for name in ("while/exp", "cond/tan"):
        with pytest.raises(ValueError, match="expected one outside of branches and of loops of unknown length"):
            hidden.run(loop, 0.5, read=[name])
    with pytest.raises(
        ValueError, match=r"set\['Conv_0/add'\]: expected shape \(3, 6, 6, 2\) or one number, got shape"
    ):
        hidden.run(CNN, INPUTS, set={"Conv_0/add": jnp.zeros((6, 6, 2))})
    with pytest.raises(ValueError, match=r"set\['Conv_0/add'\]: expected shape \(3, 6, 6, 2\), got \(\)"):
        hidden.run(CNN, INPUTS, set={"Conv_0/add": jnp.sum})
    summed = hidden.with_rules(lambda x: jnp.sum(jnp.sin(x)), {"sin": lambda pullback, g, x: jnp.sum(g)})
    with pytest.raises(ValueError, match=r"rules: expected cotangents of shapes \[\(2,\)\], got \[\(\)\]"):
        jax.grad(summed)(jnp.ones(2))
    count = lambda x: jnp.sum(x > 0) * 2  # noqa: E731
    for name, value in (("gt", 0.5), ("mul", 2.7), ("mul", lambda value: value.astype(jnp.float32))):
        with pytest.raises(ValueError, match=rf"set\['{name}'\]: expected dtype (bool|int32), got float32"):
            hidden.run(count, jnp.ones(2), set={name: value})
    with pytest.raises(ValueError, match="set: expected one value for a site, got another one for 'apply/_Cnn/relu'"):
        hidden.run(CNN, INPUTS, set={"apply/_Cnn/relu": 0.0, "_Cnn/relu": 1.0})
    for function in (functools.partial(hidden.run, CNN), summed):
        with pytest.raises(ValueError, match=r"args\[0\]: expected arrays and functions, got 'image'"):
            function("image")
