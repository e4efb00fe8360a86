"""Changes of gauge that change no distribution, and machines that differ by a gauge alone brought together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rbm
from jaxrg.rbm.exact import visible_energies
from jaxrg.rbm.units import Binary, Gaussian, GreyLevels, Potts, Spins

KINDS = {
    "spins": (Spins(), Spins()),
    "binary": (Binary(), Binary()),
    "potts": (Potts(3), Spins()),
    "hidden potts": (Spins(), Potts(3)),
    "hidden grey levels": (Spins(), GreyLevels(5)),
    "hidden gaussian": (Spins(), Gaussian(jnp.array([0.1, -0.2, 0.3, 0.0]))),
}


def random_machine(name: str, seed: int = 0) -> rbm.RBM:
    visible, hidden = KINDS[name]
    generator = np.random.default_rng(seed)
    shape = 3 * visible.num_features, 4 * hidden.num_features
    arrays = (jnp.asarray(0.8 * generator.normal(size=size), jnp.float32) for size in (shape, shape[:1], shape[1:]))
    return rbm.RBM(*arrays, visible, hidden)


def shuffled(machine: rbm.RBM, seed: int) -> rbm.RBM:
    """The hidden units of a machine in another order, with other signs where that changes nothing."""
    generator = np.random.default_rng(seed)
    size = machine.hidden_units.num_features
    order = generator.permutation(machine.num_hidden)
    columns = (order[:, None] * size + np.arange(size)).ravel()
    is_symmetric = isinstance(machine.hidden_units, Spins | Gaussian | GreyLevels)
    signs = generator.choice([-1, 1], size=len(columns)) if is_symmetric else np.ones(len(columns))
    signs = jnp.asarray(signs, jnp.float32)
    units = machine.hidden_units
    if isinstance(units, Gaussian):
        units = Gaussian(units.log_precision[order])
    weights, bias = machine.weights[:, columns] * signs[None, :], machine.hidden_bias[columns] * signs
    return machine._replace(weights=weights, hidden_bias=bias, hidden_units=units)


def leaves_are_close(machine: rbm.RBM, other: rbm.RBM, tolerance: float) -> None:
    for found, expected in zip(jax.tree.leaves(machine), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.parametrize("name", KINDS)
def test_a_gauge_is_fixed_without_a_change_of_the_distribution(name):
    machine = random_machine(name)
    fixed, shift = rbm.fix_gauge(machine)
    np.testing.assert_allclose(visible_energies(machine) - shift, visible_energies(fixed), atol=3e-6)
    again, none = rbm.fix_gauge(fixed)
    leaves_are_close(again, fixed, 1e-6)
    assert abs(float(none)) < 1e-6
    leaves_are_close(rbm.fix_gauge(shuffled(machine, 1))[0], fixed, 1e-6)
    norms = jnp.sum(fixed.weights**2, axis=0).reshape(4, -1).sum(1)
    assert np.all(np.diff(norms) <= 0)
    if name == "potts":
        np.testing.assert_allclose(fixed.weights.reshape(3, 3, 4).sum(1), 0, atol=1e-6)
        np.testing.assert_allclose(fixed.visible_bias.reshape(3, 3).sum(1), 0, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_a_shuffled_machine_is_aligned(name):
    machine = random_machine(name)
    other = shuffled(machine, 2)
    leaves_are_close(rbm.align(other, machine), machine, 0)
    near = jax.tree.map(lambda leaf: leaf + 0.05, other)
    aligned = rbm.align(near, machine)
    np.testing.assert_allclose(visible_energies(aligned), visible_energies(near), atol=3e-6)
    assert float(jnp.sum(aligned.weights * machine.weights)) > float(jnp.sum(near.weights * machine.weights))


def test_machines_that_do_not_correspond_are_refused():
    machine = random_machine("spins")
    with pytest.raises(ValueError, match="reference: expected weights"):
        rbm.align(machine, random_machine("binary"))
    with pytest.raises(ValueError, match="reference: expected weights"):
        rbm.align(machine, rbm.init(jax.random.key(0), 3, 5))
    broken = machine._replace(weights=machine.weights.at[0, 0].set(jnp.nan))
    for pair in ((broken, machine), (machine, broken)):
        with pytest.raises(ValueError, match="weights: expected finite values"):
            rbm.align(*pair)
    with pytest.raises(ValueError, match="expected arrays with values, got tracers"):
        jax.jit(rbm.align)(machine, machine)
