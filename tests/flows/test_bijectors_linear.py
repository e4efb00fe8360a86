"""Linear and fixed maps, against their matrices."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg.flows import bijectors


def matrix_of(layer, params, shape):
    """The matrix of a linear bijector: every column is what becomes of one entry."""
    size = int(np.prod(shape))
    columns, _ = layer.forward(params, jnp.eye(size).reshape(*shape, size))
    return np.asarray(columns).reshape(-1, size)


def test_a_convolution_starts_as_a_permuted_rotation_of_the_channels():
    layer = bijectors.invertible_convolution((48,), order=np.roll(np.arange(48), 5))
    params = layer.init(jax.random.key(0))
    matrix = matrix_of(layer, params, (48,))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(48), atol=1e-5)
    assert np.mean(np.abs(matrix) > 0.01) > 0.5  # it mixes
    values = jax.random.normal(jax.random.key(1), (48, 9))
    there, log_det = layer.forward(params, values)
    np.testing.assert_allclose(log_det, 0, atol=1e-4)
    np.testing.assert_allclose(layer.inverse(params, there)[0], values, atol=1e-5)


def test_a_convolution_is_the_product_of_its_factors():
    lower, upper, log_diagonal = (
        jax.random.normal(jax.random.key(seed), shape) for seed, shape in enumerate([(3, 3), (3, 3), (3,)])
    )
    layer = bijectors.invertible_convolution((3, 2), order=[2, 0, 1])
    params = bijectors.Plu(lower, upper, log_diagonal)
    product = (np.tril(lower, -1) + np.eye(3)) @ (np.triu(upper, 1) + np.diag(np.exp(log_diagonal)))
    np.testing.assert_allclose(
        matrix_of(layer, params, (3, 2)), np.kron(product[[2, 0, 1]], np.eye(2)), rtol=1e-5, atol=1e-5
    )
    log_det = layer.forward(params, jnp.ones((3, 2)))[1]
    np.testing.assert_allclose(log_det, 2 * np.linalg.slogdet(product)[1], rtol=1e-5)


def test_actnorm_starts_from_data():
    scale = jnp.array([0.1, 5.0, 1.0])[:, None, None]
    samples = scale * jax.random.normal(jax.random.key(0), (3, 4, 500)) + 7 * scale
    layer = bijectors.actnorm((3, 4))
    params = bijectors.actnorm_params(samples, (3, 4))
    latents, log_det = layer.inverse(params, samples)
    np.testing.assert_allclose(jnp.mean(latents, axis=(1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(jnp.std(latents, axis=(1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(log_det, -4 * jnp.sum(params.log_scale), rtol=1e-5)
    assert jax.tree.structure(params) == jax.tree.structure(layer.init(jax.random.key(0)))


def test_wavelets_are_orthogonal_and_begin_with_averages():
    layer = bijectors.haar((1, 4, 2))
    matrix = matrix_of(layer, (), (1, 4, 2))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(8), atol=1e-6)
    found, log_det = layer.forward((), jnp.full((1, 4, 2), 3.0))
    np.testing.assert_allclose(found[0], 6.0, rtol=1e-6)  # half the sum of four
    np.testing.assert_allclose(found[1:], 0, atol=1e-6)
    assert log_det == 0


def test_cells_become_channels_index_by_index():
    image = jnp.arange(2 * 4 * 6, dtype=jnp.float32).reshape(2, 4, 6)
    found, _ = bijectors.squeeze((2, 4, 6)).forward((), image)
    for column, row, channel in np.ndindex(2, 2, 2):
        np.testing.assert_array_equal(found[4 * column + 2 * row + channel], image[channel, row::2, column::2])


def test_the_logit_of_both_ends_is_finite_with_a_margin():
    values = jnp.array([0.0, 1.0, 0.5])
    layer = bijectors.logit((3,), margin=0.05)
    found, log_det = layer.forward((), values)
    np.testing.assert_allclose(found, [np.log(0.05 / 0.95), np.log(0.95 / 0.05), 0.0], rtol=1e-5)
    np.testing.assert_allclose(layer.inverse((), found)[0], values, atol=1e-6)
    assert np.isfinite(log_det)
    outside, _ = bijectors.logit((2,)).forward((), jnp.array([-0.1, 1.1]))
    assert np.all(np.isnan(outside))
    # Far out, where the sigmoid is 1 in float32, the volume is still known.
    _, log_det = bijectors.invert(bijectors.logit((1,))).forward((), jnp.array([40.0]))
    np.testing.assert_allclose(log_det, -40.0)


def test_a_free_field_has_the_covariance_of_its_action():
    shape, mass_squared, stiffness = (4, 3), 0.7, 1.3
    sites = np.arange(12).reshape(shape)
    precision = mass_squared * np.eye(12)
    for axis in (0, 1):
        for a, b in zip(sites.ravel(), np.roll(sites, -1, axis).ravel(), strict=True):
            precision[[a, b], [a, b]] += stiffness
            precision[[a, b], [b, a]] -= stiffness
    layer = bijectors.free_field(shape, mass_squared, stiffness)
    matrix = matrix_of(layer, (), shape)
    np.testing.assert_allclose(matrix @ matrix.T, np.linalg.inv(precision), atol=1e-6)
    log_det = layer.forward((), jnp.ones(shape))[1]
    np.testing.assert_allclose(log_det, -0.5 * np.linalg.slogdet(precision)[1], rtol=1e-5)


def test_its_mass_may_be_learned():
    gradient = jax.grad(lambda mass: bijectors.free_field((4,), mass).forward((), jnp.ones(4))[1])(jnp.float32(2.0))
    waves = 4 * np.sin(np.pi * np.arange(4) / 4) ** 2
    np.testing.assert_allclose(gradient, -0.5 * np.sum(1 / (waves + 2)), rtol=1e-5)


def test_modes_of_odd_and_even_sides_are_scaled():
    for side in (4, 5):
        wave = np.minimum(np.arange(side), side - np.arange(side))
        amplitude = (1.0 + wave).astype(np.float32)
        field = np.random.default_rng(0).normal(size=(side, 2)).astype(np.float32)
        found, _ = bijectors.fourier_scaling(amplitude).forward((), field)
        expected = np.fft.ifft(amplitude[:, None] * np.fft.fft(field, axis=0), axis=0)
        np.testing.assert_allclose(found, expected.real, atol=1e-5)
