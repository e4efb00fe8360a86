"""Centred and standardised gradients: what they are by definition, and that the choice of states does not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rbm
from jaxrg.rbm.units import Binary, Gaussian, GreyLevels, Potts, Spins


def machine_of(seed: int, num_visible: int = 4, num_hidden: int = 3) -> rbm.RBM:
    generator = np.random.default_rng(seed)
    shapes = (num_visible, num_hidden), (num_visible,), (num_hidden,)
    return rbm.RBM(*(jnp.asarray(generator.normal(size=shape)) for shape in shapes))


def spins_of(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).choice([-1, 1], p=[0.3, 0.7], size=shape), jnp.int8)


def exact_gradient(key, machine, aux, batch):
    """Of the likelihood, for machines of any units."""
    return jax.grad(rbm.negative_log_likelihood)(machine, batch), aux, {"one": jnp.float32(1)}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("combinator", [rbm.centred, rbm.standardized])
def test_machines_of_spins_and_of_zeros_and_ones_learn_alike(combinator):
    spins, data = machine_of(0), spins_of(1, 7, 4)
    binary, _ = rbm.to_binary(spins)
    of_spins = combinator(exact_gradient, data)(jax.random.key(0), spins, None, data)[0]
    occupied = (data + 1) // 2
    of_binary = combinator(exact_gradient, occupied, units=Binary())(jax.random.key(0), binary, None, occupied)[0]
    # A step of the machine of spins, written for 0/1 units, points along the other's: 16 and 4 times as far if only
    # centred, since weights and fields of 0/1 units count for less; to standardised units it is all the same.
    ahead, _ = rbm.to_binary(jax.tree.map(lambda a, b: a - b, spins, of_spins))
    step = jax.tree.map(lambda a, b: a - b, binary, ahead)
    scale = 1 if combinator is rbm.standardized else 16
    np.testing.assert_allclose(scale * of_binary.weights, step.weights, atol=1e-12)
    centre = np.asarray(occupied, float).mean(0)
    means = np.asarray(jax.vmap(rbm.hidden_mean, (None, 0))(binary, occupied)).mean(0)
    # Biases once what the weights do to the means is taken out.
    scale = 1 if combinator is rbm.standardized else 4
    for found, wanted, moved in (
        (of_binary.visible_bias + of_binary.weights @ means, step.visible_bias + step.weights @ means, "visible"),
        (of_binary.hidden_bias + centre @ of_binary.weights, step.hidden_bias + centre @ step.weights, "hidden"),
    ):
        np.testing.assert_allclose(scale * found, wanted, atol=1e-12, err_msg=moved)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("combinator", [rbm.centred, rbm.standardized])
def test_a_step_descends_along_the_exact_gradient(combinator):
    machine, data = machine_of(2), spins_of(3, 9, 4)
    plain = exact_gradient(None, machine, None, data)[0]
    moved, aux, metrics = combinator(exact_gradient, data)(jax.random.key(0), machine, "aux", data)
    assert sum(float(jnp.sum(a * b)) for a, b in zip(*map(jax.tree.leaves, (plain, moved)), strict=True)) > 0
    assert (aux, list(metrics)) == ("aux", ["one"])
    flipped = machine._replace(weights=-machine.weights, visible_bias=-machine.visible_bias)
    of_flipped = combinator(exact_gradient, -data)(jax.random.key(0), flipped, None, -data)[0]
    np.testing.assert_allclose(of_flipped.weights, -moved.weights, atol=1e-13)
    np.testing.assert_allclose(of_flipped.hidden_bias, moved.hidden_bias, atol=1e-13)


@pytest.mark.parametrize("units", [Spins(), Binary(), Potts(3), GreyLevels(5), Gaussian(0.25)])
def test_variances_of_all_units(units):
    field = jnp.linspace(-2, 2, 4 * units.num_features)
    draws = units.sample(jax.random.key(0), jnp.broadcast_to(field, (20_000, *field.shape)))
    features = np.asarray(units.features(draws, jnp.float32))
    np.testing.assert_allclose(units.variance(field), features.var(0), rtol=0.12, atol=0.01)


def test_a_unit_that_never_changes_does_no_harm():
    data = spins_of(4, 6, 4).at[:, 0].set(1)
    machine = rbm.init(jax.random.key(0), 4, 3)
    gradient_fn = rbm.standardized(rbm.contrastive_divergence_gradient(), data)
    gradients, *_ = gradient_fn(jax.random.key(1), machine, None, data)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradients))
    with pytest.raises(ValueError, match=r"data: expected spins"):
        rbm.centred(rbm.contrastive_divergence_gradient(), (data + 1) // 2)
    with pytest.raises(ValueError, match="gradient_fn: expected a function"):
        rbm.standardized(None, data)
    with pytest.raises(ValueError, match="units: expected units such as"):
        rbm.centred(rbm.contrastive_divergence_gradient(), data, units=Spins)
    with pytest.raises(ValueError, match=r"data.*: expected shape \(3,\), got \(4,\)"):
        gradient_fn(jax.random.key(1), rbm.init(jax.random.key(0), 3, 3), None, data[:, :3])
