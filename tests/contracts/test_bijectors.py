"""What every bijector has to do: go there and back, know its volume, treat lanes as vmap does, compile once."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tests.contracts.bijector_table import BIJECTORS, Row, events, is_shape, parameters
from tests.contracts.test_first_calls import compilations
from tests.rows import some_now

LANES = (3,)
QUICKLY = {"xla_backend_optimization_level": 0}  # compiling is all the time that these tests take


@functools.partial(jax.jit, static_argnums=3, compiler_options=QUICKLY)
def _there_and_back(bijector, params, values, is_estimate):
    """Events side by side, and one of them alone with its Jacobian, as one program."""
    there, log_det = bijector.forward(params, values)
    entries, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[..., 0], values))

    def flat(entries):
        alone = ravel_pytree(bijector.forward(params, unravel(entries))[0])[0]
        return alone, alone

    jacobian, alone = (
        (jnp.eye(entries.size), flat(entries)[0]) if is_estimate else jax.jacfwd(flat, has_aux=True)(entries)
    )
    return (there, log_det), bijector.inverse(params, there), jacobian, alone


NOW = (
    "affine",
    "affine_conditional",
    "chain_and_repeat",
    "circular_spline",
    "haar",
    "invertible_convolution",
    "residual",
)


@pytest.mark.parametrize("name", some_now(BIJECTORS, *NOW))
def test_there_and_back_with_the_volume_of_the_jacobian(name):
    _check(BIJECTORS[name], jnp.float32, BIJECTORS[name].errors[0])


@pytest.mark.parametrize("name", some_now(BIJECTORS, "affine", "spline"))
def test_there_and_back_in_float64(name, x64):
    _check(BIJECTORS[name], jnp.float64, BIJECTORS[name].errors[1])


def _check(row: Row, dtype, error: float) -> None:
    bijector, params, values = row.make(), parameters(row, 0, dtype), events(row, LANES, dtype)
    there, back, jacobian, alone = _there_and_back(bijector, params, values, row.is_estimate)
    chex.assert_trees_all_close(back[0], values, atol=error, rtol=error)
    assert there[1].shape == back[1].shape == LANES
    assert {leaf.dtype for leaf in jax.tree.leaves((there, back))} == {np.dtype(dtype)}
    lane = ravel_pytree(jax.tree.map(lambda leaf: leaf[..., 0], there[0]))[0]
    chex.assert_trees_all_close(lane, alone, atol=error, rtol=error)
    if not row.is_estimate:
        chex.assert_trees_all_close(-back[1], there[1], atol=error, rtol=error)
        expected = np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]
        np.testing.assert_allclose(there[1][0], expected, atol=error, rtol=error)


@functools.partial(jax.jit, compiler_options=QUICKLY)
def _gradients(bijector, params, events):
    """Of both maps, each at an event of its own, and what they make of lanes one by one."""

    def loss(params, events):
        found = [map_(params, event) for map_, event in zip((bijector.forward, bijector.inverse), events, strict=True)]
        return sum(jnp.sum(leaf**2) for values, _ in found for leaf in jax.tree.leaves(values)) + sum(
            jnp.sum(log_det) for _, log_det in found
        )

    mapped = [
        jax.vmap(functools.partial(map_, params), -1, -1)(event)
        for map_, event in zip((bijector.forward, bijector.inverse), events, strict=True)
    ]
    return jax.grad(loss, (0, 1))(params, events), mapped


@pytest.mark.parametrize("name", some_now(BIJECTORS, "affine"))
def test_gradients_are_finite_and_lanes_are_what_vmap_does(name):
    row = BIJECTORS[name]
    bijector, params, values = row.make(), parameters(row, 0, jnp.float32), events(row, LANES, jnp.float32)
    there, _ = bijector.forward(params, values)
    gradients, mapped = _gradients(bijector, params, (values, there))
    chex.assert_tree_all_finite(gradients)
    pairs = ((bijector.forward, values), (bijector.inverse, there))
    for (lanes, log_det), (map_, event) in zip(mapped, pairs, strict=True):
        expected = map_(params, event)
        chex.assert_trees_all_close(lanes, expected[0], atol=row.errors[0], rtol=row.errors[0])
        if not row.is_estimate:
            chex.assert_trees_all_close(log_det, expected[1], atol=row.errors[0], rtol=row.errors[0])


@pytest.mark.parametrize("name", some_now(BIJECTORS, "affine"))
def test_it_compiles_once(name):
    """Neither new parameters nor another bijector made alike compile anything."""
    row = BIJECTORS[name]
    values = events(row, LANES, jnp.float32)
    starts = parameters(row, 0, jnp.float32), parameters(row, 5, jnp.float32)
    with compilations() as found:
        there, _ = row.make().forward(starts[0], values)
    assert found[0] <= 1
    jax.block_until_ready((row.make().inverse(starts[0], there), row.make().init(jax.random.key(6))))
    with compilations() as found:
        row.make().inverse(starts[1], row.make().forward(starts[1], values)[0])
        row.make().init(jax.random.key(7))
    assert found[0] == 0


@pytest.mark.parametrize("name", BIJECTORS)
def test_an_event_of_another_shape_is_refused(name):
    row = BIJECTORS[name]
    wrong = jax.tree.map(lambda shape: jnp.ones((shape[0] + 1, *shape[1:], 3)), row.shape, is_leaf=is_shape)
    params = jax.eval_shape(row.make().init, jax.random.key(0))
    with pytest.raises(ValueError, match="expected"):
        jax.eval_shape(row.make().forward, params, wrong)
