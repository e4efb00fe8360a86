"""Functions as pytrees: what they hold is looked at anew, and other arrays of the same code are the same program."""

import functools

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxrg import flows, lattice, nets
from jaxrg.closures import as_partial

INPUTS = jnp.arange(8.0).reshape(2, 4)
WEIGHTS = jnp.ones(4)
PARAMETERS = {"weights": jnp.ones(4)}


class Plain:
    def __init__(self, weights):
        self.weights = weights

    def __call__(self, inputs):
        return inputs @ self.weights

    apply = __call__


def by_a_global(inputs):
    return inputs @ WEIGHTS


def by_a_dictionary(inputs):
    return inputs @ PARAMETERS["weights"]


def closed_over(scale):
    weights = scale * jnp.ones(4)
    return lambda inputs: inputs @ weights


def network(scale):
    net = nets.mlp((5, 3))
    params = jax.tree.map(lambda leaf: scale * leaf, net.init(jax.random.key(0), INPUTS))
    return functools.partial(net.apply, params)


def equinox_network(scale):
    model = equinox.nn.MLP(4, 3, 5, 1, key=jax.random.key(2))
    return jax.vmap(jax.tree.map(lambda leaf: scale * leaf if equinox.is_array(leaf) else leaf, model))


def nnx_network(scale):
    model = nnx.Linear(4, 3, rngs=nnx.Rngs(1))
    model.kernel[...] = scale * model.kernel[...]
    return model


# Functions of a scale, and whether another scale is the same program.
MADE = {
    "lambda": (closed_over, True),
    "partial": (network, True),
    "equinox": (equinox_network, False),
    "nnx": (nnx_network, True),
    "object": (lambda scale: Plain(scale * jnp.ones(4)), False),
    "method": (lambda scale: Plain(scale * jnp.ones(4)).apply, False),
}


@pytest.mark.parametrize("name", MADE)
def test_other_arrays_give_other_answers(name):
    make, is_one_program = MADE[name]
    call = jax.jit(lambda fn, inputs: fn(inputs))
    for scale in (1.0, 2.0):
        fn = make(scale)
        np.testing.assert_allclose(call(as_partial(fn), INPUTS), fn(INPUTS), rtol=1e-5, atol=1e-5)
    if is_one_program:
        assert call._cache_size() == 1


def test_functions_that_close_over_a_lattice_are_one_program():
    def function_on(square):
        return lambda inputs: inputs * square.num_sites

    call = jax.jit(lambda fn, inputs: fn(inputs))
    for side, size in ((2, 1), (2, 1), (3, 2)):
        square = lattice.hypercubic((side, side))
        np.testing.assert_allclose(call(as_partial(function_on(square)), INPUTS), side**2 * INPUTS)
        assert call._cache_size() == size


OBJECT, LAYER = Plain(jnp.ones(4)), nnx.Linear(4, 3, rngs=nnx.Rngs(1))


def double_the_object():
    OBJECT.weights = 2 * OBJECT.weights


def double_the_layer():
    LAYER.kernel[...] = 2 * LAYER.kernel[...]


CHANGED_BEHIND = {
    "object": (lambda: OBJECT, double_the_object),
    "method": (lambda: OBJECT.apply, double_the_object),
    "global": (lambda: by_a_global, lambda: globals().update(WEIGHTS=2 * WEIGHTS)),
    "dictionary": (lambda: by_a_dictionary, lambda: PARAMETERS.update(weights=2 * PARAMETERS["weights"])),
    "nnx": (lambda: LAYER, double_the_layer),
}


@pytest.mark.parametrize("name", CHANGED_BEHIND)
def test_what_changes_behind_the_name_of_a_function_is_seen(name):
    get, change = CHANGED_BEHIND[name]
    call = jax.jit(lambda fn, inputs: fn(inputs))
    before = call(as_partial(get()), INPUTS)
    change()
    after = call(as_partial(get()), INPUTS)
    np.testing.assert_allclose(after, get()(INPUTS), rtol=1e-5, atol=1e-5)
    assert not np.allclose(after, before)


def test_a_function_without_arrays_stays_one_for_who_asks_a_pytree():
    """optax takes a mask that is a function for one only if it is a leaf; another one of the same line is the same."""

    def frozen():
        return optax.masked(optax.set_to_zero(), lambda params: {"kept": True, "free": False})

    @jax.jit
    def updates_of(update, updates):
        optimiser = frozen()
        return update(updates, optimiser.init(updates), updates)[0]

    gradients = {"kept": jnp.ones(2), "free": jnp.ones(2)}
    for _ in range(2):
        found = updates_of(as_partial(frozen().update), gradients)
        np.testing.assert_array_equal(found["kept"], 0)
        np.testing.assert_array_equal(found["free"], 1)
    assert updates_of._cache_size() == 1


def test_a_flow_inside_an_inner_function_stays_one():
    flow = flows.decimation_flow((4, 4), num_pairs=1, num_features=2)
    params, field = flow.init(jax.random.key(0)), jnp.ones((1, 4, 4))
    inner = lambda field: flows.encode(flow, params, field)[1]  # noqa: E731
    np.testing.assert_allclose(jax.jit(lambda fn, field: fn(field))(as_partial(inner), field), inner(field), rtol=1e-6)
