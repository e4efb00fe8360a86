"""Decimation of images run backwards: probabilities of all images sum to one, and each is what a plain loop says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import logistic, norm

from jaxrg import flows
from jaxrg.flows.images import level_mixtures
from jaxrg.flows.images.decimation import ImagePlan
from jaxrg.flows.images.level_mixtures import LevelMixture


def loud(params, size=0.4):
    """Parameters under which no part of the network is idle."""
    generator = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: leaf + size * jnp.asarray(generator.standard_normal(leaf.shape), leaf.dtype), params
    )


WIDTHS = {"num_components": 2, "num_features": 3}
SMALL = flows.images.image_decimation((4, 4, 1), num_levels=2, **WIDTHS)
COLOUR = flows.images.image_decimation((8, 8, 2), num_levels=16, alone=4, **WIDTHS)


def log_probability(made, params, levels, num_levels, share=0.5):
    """``[num_images]`` ln P of levels, from the density at a share of their cells."""
    density = flows.density(made, flows.gaussian(flows.latent_shapes(made, levels.shape[1:])))
    found = density.log_prob(flows.FlowParams(params, ()), (levels + share) / num_levels)
    return found - np.prod(levels.shape[1:]) * np.log(num_levels)


@pytest.mark.parametrize(("is_double", "error"), [(False, 1e-6), (True, 1e-10)])
def test_probabilities_of_all_images_sum_to_one(is_double, error):
    bits = np.arange(2**16)[:, None] >> np.arange(16) & 1
    with jax.enable_x64(is_double):
        params = loud(SMALL.init(jax.random.key(0)))
        logs = log_probability(SMALL, params, jnp.asarray(bits.reshape(-1, 4, 4, 1), float), 2)
        logs = np.asarray(logs, np.float64)
    assert np.ptp(logs) > 5
    np.testing.assert_allclose(np.exp(logs).sum(), 1, rtol=error)


def plain_log_probability(plan, params, image, num_levels):
    """One image, one pixel after the other, with neighbours found by their distance."""
    seen, total = (2 * image + 1) / num_levels - 1, 0.0
    num_components, channels = plan.num_components, plan.channels
    for group, weights in zip(plan.groups, params, strict=True):
        for number, targets in enumerate(group.targets):
            of_pass = {name: np.asarray(leaf[number], float) for name, leaf in weights.items()}
            for place, target in enumerate(targets):
                inputs = np.zeros((channels, group.inputs.shape[1]))
                for slot, site in enumerate(group.inputs[number, :, place]):
                    if group.is_input[number, slot, place]:
                        inputs[:, slot] = seen[site // plan.side, site % plan.side]
                inputs = inputs.ravel()

                def silu(x):
                    return x / (1 + np.exp(-x))

                hidden = silu(of_pass["first"] @ inputs + of_pass["places"][:, place])
                hidden = hidden + silu(of_pass["second"] @ hidden)
                outputs = of_pass["head"] @ hidden + of_pass["constants"]
                logits, means, scales, slopes = np.split(outputs, np.cumsum(plan.num_outputs)[:3])
                means = (means + of_pass["linear"] @ inputs).reshape(num_components, channels)
                scales, slopes = (
                    np.exp(np.minimum(scales, 2)).reshape(num_components, channels),
                    slopes.reshape(num_components, -1),
                )
                row, column = divmod(int(target), plan.side)
                joint = np.exp(logits) / np.exp(logits).sum()
                for channel in range(channels):
                    centre = means[:, channel] + (slopes[:, 0] * seen[row, column, 0] if channel else 0)
                    edges = 2 * (image[row, column, channel] + np.arange(2)) / num_levels - 1
                    edges = np.where(np.abs(edges) == 1, np.copysign(np.inf, edges), edges)
                    below, above = (
                        fn(edges[:, None], centre, scales[:, channel]) for fn in (logistic.cdf, logistic.sf)
                    )
                    mass = np.where(below[1] < 0.5, below[1] - below[0], above[0] - above[1])
                    joint = joint * mass
                total += np.log(joint.sum())
    return total


def test_an_image_has_the_probability_of_a_plain_loop(x64):
    plan, params = ImagePlan(8, 2, 2, 3, 3.2, 4, 16), loud(COLOUR.init(jax.random.key(0)))
    levels = np.random.default_rng(1).integers(0, 16, (3, 8, 8, 2))
    levels[0, :2], levels[0, -2:] = 0, 15
    found = log_probability(COLOUR, params, jnp.asarray(levels, float), 16)
    expected = [plain_log_probability(plan, params, image, 16) for image in levels]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("alone", [4, 8])
def test_pixels_see_all_known_ones_in_reach_and_none_across_the_edge(alone):
    plan, known = ImagePlan(16, 1, 2, 3, 3.2, alone, 16), set()
    for number, group in enumerate(plan.groups):
        size = 4 << max(number - 1, 0) // 3
        for targets, inputs, is_input in zip(*group, strict=True):
            assert len(targets) == 1 or size > alone
            for place, target in enumerate(targets.tolist()):
                found = inputs[is_input[:, place], place].tolist()
                rows, columns = np.divmod(np.array(sorted(known), int), 16)
                distance = np.hypot(rows - target // 16, columns - target % 16)
                reach = 3.2 * 16 / size if size > alone else np.inf
                near = [site for site, far in zip(sorted(known), distance, strict=True) if far <= reach]
                assert sorted(found) == near
            known |= set(targets.tolist())
    assert sorted(plan.sites) == list(range(256)) == sorted(known)


@pytest.mark.slow
def test_noise_inside_a_level_changes_no_probability():
    params = loud(COLOUR.init(jax.random.key(0)))
    levels = jnp.asarray(np.random.default_rng(1).integers(0, 16, (3, 8, 8, 2)), jnp.float32)
    some, others = (log_probability(COLOUR, params, levels, 16, share) for share in (0.1, 0.8))
    np.testing.assert_allclose(some, others, rtol=1e-5)


@pytest.mark.slow
def test_there_and_back_by_level():
    flow, shapes = COLOUR, flows.latent_shapes(COLOUR, (8, 8, 2))
    params = loud(flow.init(jax.random.key(0)))
    keys = jax.random.split(jax.random.key(3), len(shapes))
    latents = {level: jax.random.normal(keys[level], (5, *shape)) for level, shape in shapes.items()}
    images, log_det = flows.decode(flow, params, latents)
    back, log_det_back = flows.encode(flow, params, images)
    for level, drawn in latents.items():
        np.testing.assert_allclose(back[level], drawn, atol=2e-3)
    np.testing.assert_allclose(log_det, -log_det_back, atol=1e-2)
    again, _ = flows.decode(flow, params, back)
    np.testing.assert_allclose(again, images, atol=1e-5)
    # The coarse pixels of an image are those of its coarse latents, whatever the fine ones are.
    mixed, _ = flows.decode(flow, params, flows.mix({key: -leaf for key, leaf in latents.items()}, latents, 1))
    np.testing.assert_array_equal(mixed[:, ::2, ::2], images[:, ::2, ::2])
    assert np.abs(np.asarray(mixed - images)).max() > 0.1


@pytest.mark.parametrize("x", [0.0, 0.001, 0.5, 0.99, 1.0])
def test_a_mixture_of_levels_is_that_of_logistic_distributions(x, x64):
    mixture = LevelMixture(jnp.log(jnp.array([[0.3], [0.7]])), jnp.array([[-0.8], [0.4]]), jnp.array([[-3.0], [-1.0]]))
    level = level_mixtures.level_of(jnp.array([x]), 16)
    cell = level_mixtures.cell_of(mixture, level, 16)
    edges = np.concatenate([[-np.inf], np.arange(1, 16) / 8 - 1, [np.inf]])
    cdf = 0.3 * logistic.cdf(edges, -0.8, np.exp(-3)) + 0.7 * logistic.cdf(edges, 0.4, np.exp(-1))
    number = min(int(16 * x), 15)
    np.testing.assert_allclose(np.exp(cell.log_mass), cdf[number + 1] - cdf[number], rtol=1e-10)
    z, log_slope = level_mixtures.to_normal(cell, level, jnp.array([x]), 16)
    share = np.clip(16 * x - number, 2**-15, 1 - 2**-15)
    np.testing.assert_allclose(z, norm.ppf(cdf[number] + share * (cdf[number + 1] - cdf[number])), atol=1e-9)
    drawn, back, log_det, _ = level_mixtures.from_normal(mixture, z, 16)
    np.testing.assert_allclose(
        [drawn[0], back[0], log_det[0]], [number, (number + share) / 16, -log_slope[0]], atol=1e-9
    )


def test_narrow_and_distant_components_have_finite_derivatives():
    def loss(mixture, level, x):
        cell = level_mixtures.cell_of(mixture, level, 256)
        z, log_slope = level_mixtures.to_normal(cell, level, x, 256)
        return jnp.sum(z + log_slope)

    levels = jnp.array([0.0, 3.0, 128.0, 255.0])
    for mean, log_scale in ((-1.0, -9.0), (1.0, -9.0), (30.0, -2.0), (-30.0, -9.0), (0.0, 2.0)):
        mixture = LevelMixture(jnp.zeros((1, 4)), jnp.full((1, 4), mean), jnp.full((1, 4), log_scale))
        found = jax.value_and_grad(loss)(mixture, levels, (levels + 0.5) / 256)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(found))


def test_completions_have_the_probabilities_of_all_images():
    """Of binary images the 2^5 ways to fill in five pixels are listed."""
    params = loud(SMALL.init(jax.random.key(0)), 0.3)
    given = np.random.default_rng(2).integers(0, 2, (4, 4, 1))
    gone = np.array([0, 5, 6, 9, 10])
    mask = np.isin(np.arange(16), gone).reshape(4, 4)
    bits = np.arange(32)[:, None] >> np.arange(5) & 1
    images = np.repeat(given.reshape(1, 16), 32, axis=0)
    images[:, gone] = bits
    logs = np.asarray(log_probability(SMALL, params, jnp.asarray(images.reshape(-1, 4, 4, 1), float), 2))
    shares, exact = np.exp(logs - np.logaddexp.reduce(logs)), np.logaddexp.reduce(logs)
    runs = [
        flows.images.complete(jax.random.key(number), SMALL, params, given, mask, num_particles=512)
        for number in range(24)
    ]
    assert all(bool((np.asarray(run.levels) == given)[:, ~mask].all()) for run in runs)
    ratios = np.exp(np.array([float(run.log_prob) for run in runs]) - exact)
    assert abs(ratios.mean() - 1) < 4 * ratios.std(ddof=1) / np.sqrt(len(ratios)) < 0.2
    found = np.stack(
        [np.bincount(np.asarray(run.levels).reshape(-1, 16)[:, gone] @ 2 ** np.arange(5), minlength=32) for run in runs]
    )
    weighted = (found / 512 * ratios[:, None]).mean(0) / ratios.mean()
    error = (found / 512).std(0, ddof=1) / np.sqrt(len(runs)) + 1e-3
    assert np.max(np.abs(weighted - shares) / error) < 5
    assert np.abs(weighted - 1 / 32).max() > 0.05  # and these are not equal


@pytest.mark.slow
def test_training_lowers_the_bits():
    """Stripes of one level an image: three pixels of four are known from the first."""
    made = flows.images.image_decimation((4, 4, 1), num_levels=4, num_components=3, num_features=8)
    density = flows.density(made, flows.gaussian(flows.latent_shapes(made, (4, 4, 1))))
    levels = jnp.broadcast_to(jax.random.randint(jax.random.key(0), (256, 1, 1, 1), 0, 4), (256, 4, 4, 1))
    gradient_fn = flows.images.image_likelihood(density, flows.images.uniform_dequantisation(), num_levels=4)
    params = flows.images.ImageParams(density.init(jax.random.key(1)), ())
    optimizer = optax.adam(0.03)

    @jax.jit
    def train(params):
        def step(number, carry):
            params, state, _ = carry
            gradient, _, metrics = gradient_fn(jax.random.key(number), params, (), levels)
            with jax.numpy_dtype_promotion("standard"):
                updates, state = optimizer.update(gradient, state)
            return optax.apply_updates(params, updates), state, metrics["bits_per_dimension"]

        return jax.lax.fori_loop(0, 200, step, (params, optimizer.init(params), jnp.float32(0)))

    bits = float(train(params)[2])
    assert 2 / 16 - 0.01 < bits < 0.25  # the entropy of an image is 2 bits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (6, 6, 1)}, "power of two"),
        ({"shape": (8, 4, 1)}, "power of two"),
        ({"shape": (8, 8)}, "channels"),
        ({"radius": 4.0}, "radius"),
        ({"num_levels": 1}, "num_levels"),
        ({"alone": 2}, "alone"),
        ({"num_components": 0}, "num_components"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        flows.images.image_decimation(**{"shape": (8, 8, 1)} | change)


def test_bad_values_are_refused():
    flow, shapes = SMALL, flows.latent_shapes(SMALL, (4, 4, 1))
    params = flow.init(jax.random.key(0))
    with pytest.raises(ValueError, match="from 0 to 1"):
        flow.inverse(params, jnp.full((4, 4, 1), 1.5))
    with pytest.raises(ValueError, match=r"image: expected shape \(4, 4, 1\)"):
        flow.inverse(params, jnp.zeros((8, 8, 1)))
    with pytest.raises(ValueError, match="params"):
        flow.inverse({}, jnp.zeros((4, 4, 1)))
    with pytest.raises(ValueError, match="levels"):
        flow.forward(params, {0: jnp.zeros(shapes[0])})
    with pytest.raises(ValueError, match=r"expected values from 0 to 1, got some from 0 to 200"):
        flow.inverse(params, jnp.zeros((4, 4, 1)).at[0].set(200.0))
    density = flows.density(flow, flows.gaussian(shapes))
    assert bool(jnp.isnan(density.log_prob(flows.FlowParams(params, ()), jnp.full((2, 4, 4, 1), 200.0))).all())
    with pytest.raises(ValueError, match="at least one sample"):
        density.log_prob(flows.FlowParams(params, ()), jnp.zeros((0, 4, 4, 1)))
    wider = flows.images.image_decimation((4, 4, 1), num_levels=2, num_components=3, num_features=3)
    others = wider.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"params.*expected shape"):
        flow.inverse(others, jnp.zeros((4, 4, 1)))


@pytest.mark.parametrize("num_levels", [2, 49, 100, 256])
def test_a_value_on_an_edge_belongs_to_the_level_that_begins_there(num_levels):
    levels = jnp.arange(num_levels, dtype=jnp.float32)
    np.testing.assert_array_equal(level_mixtures.level_of(levels / num_levels, num_levels), levels)
    np.testing.assert_array_equal(level_mixtures.level_of((levels + 0.999) / num_levels, num_levels), levels)


def test_levels_far_out_have_finite_derivatives():
    mixture = LevelMixture(jnp.log(jnp.full((2, 1), 0.5)), jnp.array([[-0.5], [0.5]]), jnp.full((2, 1), -5.0))
    for z in (-12.0, -9.0, 0.0, 9.0):
        found = jax.grad(lambda z: jnp.sum(level_mixtures.from_normal(mixture, z, 256)[1]))(jnp.array([z]))
        assert bool(jnp.isfinite(found).all())


@pytest.mark.slow
def test_completions_of_colours_know_what_is_known():
    made = flows.images.image_decimation((4, 4, 2), num_levels=3, **WIDTHS)
    params = loud(made.init(jax.random.key(0)), 0.3)
    levels = jnp.asarray(np.random.default_rng(3).integers(0, 3, (1, 4, 4, 2)))
    arguments = jax.random.key(1), made, params
    found = flows.images.complete(*arguments, levels[0], np.zeros((4, 4), bool), num_particles=4)
    expected = log_probability(made, params, levels.astype(jnp.float32), 3)[0]
    np.testing.assert_allclose(found.log_prob, expected, rtol=1e-5)
    mask = np.arange(16).reshape(4, 4) == 6
    hidden = levels[0].at[1, 2].set(-1)  # is not looked at
    one = flows.images.complete(*arguments, hidden, mask, num_particles=256)
    every = jnp.stack([levels[0].at[1, 2].set(jnp.array([n // 3, n % 3])) for n in range(9)]).astype(jnp.float32)
    logs = np.asarray(log_probability(made, params, every, 3), np.float64)
    np.testing.assert_allclose(np.exp(float(one.log_prob) - np.logaddexp.reduce(logs)), 1, atol=0.04)
    for bad, message in (
        ((levels[0], mask.astype(int)), "is_missing: expected booleans"),
        ((levels[0] + 1, mask), "levels: expected integers from 0 to 2"),
        ((levels[0, :3], mask), "levels: expected shape"),
    ):
        with pytest.raises(ValueError, match=message):
            flows.images.complete(*arguments, *bad)
    with pytest.raises(ValueError, match="expected a flow that image_decimation made"):
        flows.images.complete(jax.random.key(1), flows.decimation_flow((4, 4)), params, levels[0], mask)
