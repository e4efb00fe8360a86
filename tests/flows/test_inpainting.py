"""Missing sites: the density on the causal cone is that of the whole flow, and its best values those of Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import flows, samplers
from jaxrg.flows import bijectors
from tests.flows.test_hierarchy import TREES, flow_of, linear


def made(name: str, **options) -> tuple:
    flow = flow_of(TREES[name], **options)
    prior = flows.gaussian(flows.geometry(flow).latent_shapes)
    density = flows.density(flow, prior)
    return flow, prior, density, density.init(jax.random.key(0))


def missing_of(flow, seed: int = 0) -> tuple:
    tree = flows.geometry(flow)
    field = np.random.default_rng(seed).normal(size=tree.shape).astype(np.float32)
    is_missing = np.zeros(tree.sides, bool)
    is_missing[tuple(slice(1, 3) for _ in tree.sides)] = True
    return field, is_missing


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("open chain", {}),
        pytest.param("chain", {"top": linear((2,))}, marks=pytest.mark.slow),
        pytest.param("image", {}, marks=pytest.mark.slow),
        pytest.param("two components", {"is_shared": True}, marks=pytest.mark.slow),
        pytest.param("neuralrg code", {}, marks=pytest.mark.slow),
    ],
)
def test_the_action_on_the_cone_is_that_of_the_whole_field(name, options):
    flow, prior, density, params = made(name, **options)
    field, is_missing = missing_of(flow)
    model = flows.missing_sites(flow, prior, params, field, is_missing)
    assert model.shape == (int(is_missing.sum()), *flows.geometry(flow).channels)
    np.testing.assert_array_equal(model.filled(model.start), field)
    values = model.start + 0.5
    action, gradient = jax.jit(jax.value_and_grad(model.action))(values)
    whole = lambda values: -density.log_prob(params, model.filled(values)[None])[0]  # noqa: E731
    expected, of_whole = jax.jit(jax.value_and_grad(whole))(values)
    np.testing.assert_allclose(action, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, of_whole, rtol=1e-4, atol=1e-5)


def conditional(flow, params, field, is_missing) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of missing sites of a linear flow, whose fields are Gaussian."""
    size = field.size
    latents, _ = flow.inverse(params.flow, np.eye(size, dtype=np.float32).reshape(*field.shape, size))
    inverse = np.concatenate([np.asarray(part).reshape(-1, size) for part in latents.values()])
    precision = inverse.T.astype(np.float64) @ inverse
    gone, known = np.flatnonzero(is_missing), np.flatnonzero(~is_missing)
    covariance = np.linalg.inv(precision[np.ix_(gone, gone)])
    return -covariance @ precision[np.ix_(gone, known)] @ field.ravel()[known], covariance


def test_inpainting_finds_the_conditional_mean_of_a_gaussian_field():
    flow, prior, _, params = made("chain")
    field, is_missing = missing_of(flow)
    found = flows.inpaint(flow, prior, params, field, is_missing, num_steps=400, learning_rate=0.05)
    mean, _ = conditional(flow, params, field, is_missing)
    np.testing.assert_array_equal(found.field[~is_missing], field[~is_missing])
    np.testing.assert_allclose(found.field[is_missing], mean, atol=2e-3)
    assert found.action < found.action_at_start


@pytest.mark.slow
def test_draws_of_missing_sites_have_the_conditional_distribution():
    flow, prior, _, params = made("chain")
    field, is_missing = missing_of(flow)
    model = flows.missing_sites(flow, prior, params, field, is_missing)
    sampler = samplers.replicas(samplers.hmc(model, step_size=0.25, num_leapfrog=8), 64)
    observe = lambda values: {"x": values, "xx": values[:, None] * values[None, :]}  # noqa: E731
    state = sampler.init(jax.random.key(1))
    state = samplers.run(jax.random.key(2), sampler, state, 100).state
    trace = samplers.run(jax.random.key(3), sampler, state, 500, observe=observe).trace
    mean, covariance = conditional(flow, params, field, is_missing)
    for name, expected in (("x", mean), ("xx", covariance + np.outer(mean, mean))):
        chains = np.asarray(trace[name]).mean(axis=1)
        z = (chains.mean(axis=0) - expected) / (chains.std(axis=0, ddof=1) / np.sqrt(len(chains)))
        assert np.abs(z).max() < 5


def test_another_field_compiles_nothing():
    flow, prior, _, params = made("chain")
    first, is_missing = missing_of(flow)
    second, _ = missing_of(flow, 1)
    compiled = jax.jit(lambda model: model.action(model.start))
    for field in (first, second):
        compiled(flows.missing_sites(flow, prior, params, field, is_missing))
    assert compiled._cache_size() == 1


def test_what_cannot_be_inpainted_is_refused():
    flow, prior, _, params = made("chain")
    field, is_missing = missing_of(flow)
    turn = bijectors.permutation((2,), [1, 0])
    for arguments, options, message in (
        ((flow, prior, params, field, np.zeros(8, bool)), {}, "is_missing: expected True somewhere"),
        ((flow, prior, params, field * np.nan, is_missing), {}, "field: expected finite"),
        ((flow, prior, params, field[:4], is_missing), {}, "field: expected shape"),
        ((flow, prior, params, field, is_missing[:4]), {}, "sites: expected booleans"),
        ((flow, prior, params.flow, field, is_missing), {}, "params: expected FlowParams"),
        ((flow, flow, params, field, is_missing), {}, "prior: expected a Density"),
        ((turn, prior, params, field, is_missing), {}, "flow: expected a flow that rg_flow made"),
        ((flow, prior, params, field, is_missing), {"num_steps": 0}, "num_steps: expected"),
        ((flow, prior, params, field, is_missing), {"learning_rate": -1.0}, "learning_rate: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            flows.inpaint(*arguments, **options)
    model = flows.missing_sites(flow, prior, params, field, is_missing)
    with pytest.raises(ValueError, match="values: expected shape"):
        model.action(jnp.zeros(5))
