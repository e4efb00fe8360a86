"""Objectives: the mean of every gradient is the exact derivative, by enumeration of draws and by quadrature."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from jaxrg import flows, lattice, models, samplers, stats, training
from jaxrg.base import Density
from jaxrg.flows import bijectors
from tests.flows.test_densities import affine_flow

STATES = jnp.asarray(list(itertools.product([-1.0, 1.0], repeat=3)))
LOGITS = jnp.asarray([0.3, -1.0, 0.5, 0.0, 1.2, -0.4, 0.1, 0.7])


def hamiltonian(spins):
    return -0.7 * (spins[0] * spins[1] + spins[1] * spins[2]) - 0.2 * spins[0]


def spin_density(draws) -> Density:
    """A softmax over all states of three spins that draws what it is told to, so that all draws can be enumerated."""

    def log_prob(params, spins):
        number = jnp.sum((spins > 0).astype(jnp.int32) * jnp.array([[4, 2, 1]]), axis=1)
        return jax.nn.log_softmax(params)[number]

    def sample(key, params, num_samples):
        return draws, log_prob(params, draws)

    return Density(lambda key: LOGITS, sample, log_prob)


def free_energy(params):
    log_q = jax.nn.log_softmax(params)
    return jnp.sum(jnp.exp(log_q) * (log_q + jax.vmap(hamiltonian)(STATES)))


def test_the_gradient_of_fixed_draws_is_without_bias_for_spins():
    pairs = STATES[np.asarray(list(itertools.product(range(8), repeat=2)))]
    probabilities = jax.nn.softmax(LOGITS)
    joint = jnp.outer(probabilities, probabilities).ravel()

    @jax.jit
    @jax.vmap
    def gradient(draws):
        gradient_fn = flows.log_variance(spin_density(draws), hamiltonian, 2)
        gradients, _, metrics = gradient_fn(jax.random.key(0), LOGITS, None, None)
        return gradients, metrics["loss"]

    gradients, losses = gradient(pairs)
    np.testing.assert_allclose(joint @ gradients, jax.grad(free_energy)(LOGITS), atol=1e-6)
    np.testing.assert_allclose(joint @ losses, free_energy(LOGITS), atol=1e-6)


def test_the_gradient_of_fixed_draws_vanishes_at_the_target():
    exact = -jax.vmap(hamiltonian)(STATES)
    gradient_fn = flows.log_variance(spin_density(STATES[jnp.array([1, 4, 6])]), hamiltonian, 3)
    gradients, _, metrics = gradient_fn(jax.random.key(0), exact, None, None)
    np.testing.assert_allclose(gradients, 0, atol=1e-6)
    np.testing.assert_allclose(metrics["log_weight_variance"], 0, atol=1e-10)
    np.testing.assert_allclose(metrics["loss"], -jax.nn.logsumexp(exact), rtol=1e-6)


def gaussian_of(latents) -> Density:
    """x = m + s z with the latents z it is told to take."""
    prior = flows.gaussian((1,))
    told = prior._replace(sample=lambda key, params, num_samples: (latents, prior.log_prob(params, latents)))
    return flows.density(affine_flow(1), told)


MEAN, DEVIATION, TARGET_MEAN, TARGET_DEVIATION = 0.7, 0.8, -0.5, 1.5
GAUSSIAN_PARAMS = flows.FlowParams((jnp.array([MEAN]), jnp.array([np.log(DEVIATION)])), ())


def gaussian_action(x):
    return jnp.sum((x - TARGET_MEAN) ** 2) / (2 * TARGET_DEVIATION**2)


@pytest.mark.parametrize("objective", [flows.reverse_kl, flows.path_gradient, flows.log_variance])
def test_gradients_between_gaussians_are_the_closed_form(objective, x64):
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)  # exact for the polynomials that these gradients are
    pairs = jnp.asarray(np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2, 1))
    joint = np.outer(weights, weights).ravel() / (2 * np.pi)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), GAUSSIAN_PARAMS)
    params = params._replace(flow=(params.flow[0], jnp.log(jnp.array([DEVIATION]))))

    @jax.jit
    @jax.vmap
    def gradient(latents):
        gradients, _, metrics = objective(gaussian_of(latents), gaussian_action, 2)(
            jax.random.key(0), params, None, None
        )
        return gradients.flow, metrics["loss"]

    (by_mean, by_log_scale), losses = gradient(pairs)
    np.testing.assert_allclose(joint @ by_mean, [(MEAN - TARGET_MEAN) / TARGET_DEVIATION**2], atol=1e-12)
    np.testing.assert_allclose(joint @ by_log_scale, [DEVIATION**2 / TARGET_DEVIATION**2 - 1], atol=1e-12)
    log_partition = np.log(2 * np.pi * TARGET_DEVIATION**2) / 2
    kl = np.log(TARGET_DEVIATION / DEVIATION) - 0.5
    kl += (DEVIATION**2 + (MEAN - TARGET_MEAN) ** 2) / (2 * TARGET_DEVIATION**2)
    np.testing.assert_allclose(joint @ losses, kl - log_partition, atol=1e-12)


def test_gradients_without_the_score_have_no_variance_at_the_target():
    density = flows.density(affine_flow(3), flows.gaussian((3,)))
    params = density.init(jax.random.key(0))

    def norm(objective):
        gradients, _, _ = objective(density, lambda x: jnp.sum(x**2) / 2, 16)(jax.random.key(1), params, None, None)
        return float(optax.tree.norm(gradients))

    assert norm(flows.path_gradient) < 1e-5
    assert norm(flows.log_variance) < 1e-5
    assert norm(flows.reverse_kl) > 0.1


def test_the_forward_divergence_is_the_cross_entropy_with_its_derivative():
    density = flows.density(affine_flow(1), flows.gaussian((1,)))
    samples, weights = jnp.array([[0.5], [2.0], [-1.0]]), jnp.array([0.5, 2.0, 0.5])
    gradient_fn = flows.forward_kl(density)
    for batch, shares in ((samples, np.ones(3)), ((samples, weights), np.asarray(weights))):
        gradients, _, metrics = gradient_fn(jax.random.key(0), GAUSSIAN_PARAMS, None, batch)
        x = np.asarray(samples)[:, 0]
        by_mean = np.mean(shares * (MEAN - x)) / DEVIATION**2
        by_log_scale = np.mean(shares * (1 - (x - MEAN) ** 2 / DEVIATION**2))
        np.testing.assert_allclose(gradients.flow[0], [by_mean], rtol=1e-5)
        np.testing.assert_allclose(gradients.flow[1], [by_log_scale], rtol=1e-5)
        log_q = -0.5 * ((x - MEAN) / DEVIATION) ** 2 - np.log(DEVIATION) - np.log(2 * np.pi) / 2
        np.testing.assert_allclose(metrics["loss"], -np.mean(shares * log_q), rtol=1e-5)
    with pytest.raises(ValueError, match=r"data: expected samples of the target"):
        gradient_fn(jax.random.key(0), GAUSSIAN_PARAMS, None, None)


PRIOR = flows.gaussian((2,), is_learned=True)
START = (jnp.zeros((1,)),)


def test_a_mixture_is_the_weighted_sum_of_its_objectives():
    objectives = [flows.reverse_kl(PRIOR, lambda x: jnp.sum(x**2), 4), flows.forward_kl(PRIOR)]
    key, batch = jax.random.key(0), jnp.ones((3, 2))
    gradients, aux, metrics = flows.mixture(objectives, [0.25, 2.0])(key, START, None, batch)
    alone = [fn(k, START, None, batch) for fn, k in zip(objectives, jax.random.split(key), strict=True)]
    np.testing.assert_allclose(gradients[0], 0.25 * alone[0][0][0] + 2 * alone[1][0][0], rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], 0.25 * alone[0][2]["loss"] + 2 * alone[1][2]["loss"], rtol=1e-6)
    assert aux is None


def test_an_annealed_coupling_follows_the_steps_of_a_run_that_is_resumed(tmp_path):
    schedule = optax.linear_schedule(0.0, 1.0, 6)
    gradient_fn = flows.annealed(lambda beta: flows.path_gradient(PRIOR, lambda x: beta * jnp.sum(x**2), 8), schedule)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1), training.moving_average(0.9))

    def train(num_epochs, folder):
        arguments = {"aux": flows.Annealing(), "num_epochs": num_epochs, "steps_per_epoch": 3, "checkpoint_dir": folder}
        return training.fit(jax.random.key(0), gradient_fn, optimizer, START, **arguments)

    train(1, tmp_path)
    run, whole = train(3, tmp_path), train(3, None)
    assert int(run.aux.step) == 9
    np.testing.assert_allclose(run.metrics["value"], [1 / 6, 4 / 6, 1], rtol=1e-6)  # means of three steps
    np.testing.assert_array_equal(run.params[0], whole.params[0])
    np.testing.assert_array_equal(
        training.averaged_params(run.optimizer_state)[0], training.averaged_params(whole.optimizer_state)[0]
    )


def test_training_finds_a_gaussian():
    density = flows.density(affine_flow(2), flows.gaussian((2,)))
    gradient_fn = flows.path_gradient(density, lambda x: jnp.sum((x - 1) ** 2) * 2, 32)
    params = density.init(jax.random.key(0))
    run = training.fit(jax.random.key(1), gradient_fn, optax.adam(0.1), params, num_epochs=2, steps_per_epoch=100)
    np.testing.assert_allclose(run.params.flow[0], 1, atol=1e-2)
    np.testing.assert_allclose(run.params.flow[1], np.log(0.5), atol=1e-2)
    assert float(run.metrics["loss"][-1]) < -np.log(2 * np.pi * 0.25) + 0.01  # two numbers of variance 1/4


def test_a_nan_stops_the_run_with_the_state_before():
    gradient_fn = flows.annealed(
        lambda beta: flows.reverse_kl(PRIOR, lambda x: jnp.sum(x**2) / beta, 4), optax.linear_schedule(2.0, 0.0, 4)
    )
    with pytest.raises(training.NonFiniteError) as raised:
        training.fit(
            jax.random.key(0),
            gradient_fn,
            optax.sgd(1e-3),
            START,
            aux=flows.Annealing(),
            num_epochs=5,
            steps_per_epoch=2,
        )
    assert raised.value.fit.epoch == 2
    assert int(raised.value.fit.aux.step) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flows.reverse_kl(PRIOR, 3, 4), r"action: expected a function of one configuration"),
        (lambda: flows.reverse_kl(PRIOR, jnp.sum, 1), r"num_samples: expected an integer >= 2"),
        (lambda: flows.forward_kl(3), r"density: expected a Density"),
        (lambda: flows.mixture([], []), r"objectives: expected gradient functions"),
        (lambda: flows.mixture([flows.forward_kl(PRIOR)], [1.0, 2.0]), r"weights: expected one for each of the 1"),
        (
            lambda: flows.annealed(lambda b: flows.forward_kl(PRIOR), lambda s: s)(
                jax.random.key(0), START, None, None
            ),
            r"aux: expected Annealing\(\), got None",
        ),
        (
            lambda: flows.reverse_kl(PRIOR, lambda x: x, 4)(jax.random.key(0), START, None, None),
            r"action: expected one number of one configuration",
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def on_the_circle(shapes) -> Density:
    """Independent uniform angles by level."""

    def sample(key, params, num_samples):
        keys = dict(zip(shapes, jax.random.split(key, len(shapes)), strict=True))
        angles = {
            level: jax.random.uniform(keys[level], (num_samples, *shape), minval=-np.pi, maxval=np.pi)
            for level, shape in shapes.items()
        }
        return angles, log_prob(params, angles)

    def log_prob(params, angles):
        size = sum(int(np.prod(shape)) for shape in shapes.values())
        return jnp.full(len(angles[0]), -size * np.log(2 * np.pi), angles[0].dtype)

    return Density(lambda key: (), sample, log_prob)


@pytest.mark.exhaustive
def test_a_flow_of_angles_learns_a_chain_of_planar_spins():
    """Z of a ring of n planar spins is (2 pi)^n sum_m I_m(K)^n, which the weights of the draws give."""
    model, net = models.XY(lattice.hypercubic((4,)), 1.0), bijectors.perceptron((16,))
    pair = [bijectors.circular_spline_coupling((2,), mask, net, num_bins=8) for mask in ([True, False], [False, True])]
    flow = flows.rg_flow((4,), disentangler=bijectors.chain(pair), decimator=bijectors.chain(pair))
    density = flows.density(flow, on_the_circle(flows.geometry(flow).latent_shapes))
    gradient_fn = flows.path_gradient(density, model.action, 512)
    start = density.init(jax.random.key(0))
    run = training.fit(
        jax.random.key(1), gradient_fn, optax.adam(5e-3), start, aux=(), num_epochs=1, steps_per_epoch=400
    )
    found = {}
    for name, params in (("start", start), ("end", run.params)):
        draws = samplers.weighted_draws(jax.random.key(2), density, params, model.action, 20_000, batch_size=2_000)
        found[name] = stats.importance(draws.log_weights)
    exact = 4 * np.log(2 * np.pi) + np.log(np.sum(scipy.special.iv(np.arange(-30, 31), 1.0) ** 4))
    for one in found.values():
        assert abs(float(one.log_partition) - exact) < 4 * float(one.error)
    assert float(found["end"].ess) > 0.9 > 0.5 > float(found["start"].ess)
