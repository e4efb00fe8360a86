"""Likelihoods of machines of any units against exact ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rbm, samplers
from jaxrg.rbm import likelihood, tempering
from jaxrg.rbm.units import Binary, Gaussian, GreyLevels, Potts, Spins


def random_machine(visible, hidden, seed: int = 0, scale: float = 0.5) -> rbm.RBM:
    generator = np.random.default_rng(seed)
    shape = 5 * visible.num_features, 4 * hidden.num_features
    arrays = (jnp.asarray(scale * generator.normal(size=size), jnp.float32) for size in (shape, shape[:1], shape[1:]))
    return rbm.RBM(*arrays, visible, hidden)


@pytest.mark.parametrize(
    ("visible", "hidden"),
    [
        pytest.param(Binary(), Binary(), marks=pytest.mark.exhaustive),
        (Potts(3), Spins()),
        pytest.param(GreyLevels(8), Spins(), marks=pytest.mark.exhaustive),
        pytest.param(Gaussian(0.25), Spins(), marks=pytest.mark.slow),
    ],
)
def test_annealing_both_ways_covers_the_exact_value(visible, hidden):
    machine = random_machine(visible, hidden)
    data = visible.sample(jax.random.key(5), jnp.broadcast_to(machine.visible_bias, (40, *machine.visible_bias.shape)))
    reference = tempering.independent_units(machine, data)
    features = np.asarray(visible.features(data, jnp.float32)).mean(0)
    np.testing.assert_allclose(visible.mean(reference.visible_bias), features, atol=0.08)
    exact = rbm.log_partition(machine)
    found = likelihood.annealed_importance(jax.random.key(1), machine, reference=reference, num_particles=1000)
    assert abs(found.log_partition.value - exact) < 4 * found.log_partition.error
    assert found.bound.value < exact + 3 * found.bound.error
    sampler = samplers.thin(samplers.replicas(rbm.gibbs_sampler(machine), 50), 5)
    run = samplers.run(jax.random.key(2), sampler, sampler.init(jax.random.key(3)), 30, observe=lambda layer: layer)
    back = likelihood.reverse_annealed_importance(
        jax.random.key(4), machine, run.trace[:, 10:], found.inverse_temperatures, reference=reference
    )
    assert abs(back.log_partition.value - exact) < 4 * back.log_partition.error
    assert back.bound.value > exact - 3 * back.bound.error


def test_a_ladder_of_potts_units_moves_and_swaps():
    machine = random_machine(Potts(3), Spins(), scale=1.0)
    ladder = tempering.tempered(machine, tempering.independent_units(machine), [0.0, 0.4, 0.7, 1.0])
    sampler = samplers.replicas(tempering.tempered_gibbs_sampler(ladder), 64)
    start = sampler.init(jax.random.key(0))
    run = samplers.run(jax.random.key(1), sampler, start, 400, observe=lambda layer: layer)
    drawn = np.asarray(run.trace[:, 40::4]).reshape(-1, 5)
    counts = np.bincount(drawn @ 3 ** np.arange(5), minlength=243) / len(drawn)
    expected = np.asarray(rbm.visible_distribution(machine))
    assert 0.5 * np.abs(counts - expected).sum() < 0.06


def test_ladders_of_several_precisions_are_refused():
    machines = [random_machine(Gaussian(value), Spins()) for value in (0.0, 0.5)]
    with pytest.raises(ValueError, match="real units of one log_precision"):
        tempering.tempered_gibbs_sampler(machines)
    with pytest.raises(ValueError, match="reference: expected real units of the log_precision"):
        tempering.tempered(machines[0], tempering.independent_units(machines[1]), [0.0, 1.0])
    with pytest.raises(ValueError, match="one shape and units"):
        tempering.tempered_gibbs_sampler([random_machine(Binary(), Spins()), random_machine(Spins(), Spins())])


def test_a_ladder_keeps_the_precision_of_its_machine():
    machine = random_machine(Gaussian(0.3), Spins(), scale=0.2)
    ladder = tempering.tempered(machine, tempering.independent_units(machine), jnp.linspace(0, 1, 30))
    assert jnp.all(ladder.visible_units.log_precision == machine.visible_units.log_precision)
    tempering.tempered_gibbs_sampler(ladder)


def test_ladders_of_several_precisions_are_nan_inside_a_jit():
    machines = [random_machine(Gaussian(value), Spins(), scale=0.2) for value in (0.1, 0.1, 0.5)]

    @jax.jit
    def swaps(lower, upper):
        sampler = tempering.tempered_gibbs_sampler([lower, upper])
        return sampler.step(jax.random.key(1), sampler.init(jax.random.key(0)))[1].swap_acceptance

    assert np.all(np.isfinite(swaps(*machines[:2])))
    assert np.all(np.isnan(swaps(*machines[1:])))


def test_biases_of_grey_levels_give_the_means_of_white_data():
    machine = random_machine(GreyLevels(256), Spins())
    found = tempering.independent_units(machine, jnp.full((1000, 5), 255))
    np.testing.assert_allclose(found.visible_units.mean(found.visible_bias), 1000 / 1002, rtol=1e-5)
