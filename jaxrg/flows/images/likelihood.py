"""Images as levels of grey or colour under a density of real numbers: training, and bits per dimension with errors."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial, register_static

from jaxrg.base import Density, DensityLike, PyTree
from jaxrg.checks import as_count, as_floating_alike, check_key, check_number, check_shape, is_traced, kind_of
from jaxrg.closures import as_functions
from jaxrg.flows.images.dequantisation import Dequantisation, as_levels


class ImageParams(NamedTuple):
    """Parameters of a density of images and of the noise that images are dequantised with."""

    density: PyTree
    dequantisation: PyTree


class BitsPerDimension(NamedTuple):
    """How many bits a code made of a density needs for a pixel and channel.

    Attributes:
        mean: over the images.
        error: standard error of it, from image to image.
        of_images: ``[num_images]``.
    """

    mean: Array
    error: Array
    of_images: Array


@register_static
class _Levels(int):
    """A static number of levels."""


def _check_params(params: Any) -> None:
    if not isinstance(params, ImageParams):
        raise ValueError(f"params: expected ImageParams(density, dequantisation), got {kind_of(params)}")


def image_likelihood(
    density: Density | DensityLike, dequantisation: Dequantisation, *, num_levels: int = 256
) -> Partial:
    r"""Gradient of the bound on the mean of -ln P of images, a number for each dimension, for `jaxrg.training.fit`.

    Args:
        density: of dequantised images ``[num_images, *shape]`` in [0, 1]: a flow that ends in the inverse of
            ``bijectors.logit``, with a prior.
        dequantisation: of the levels.
        num_levels: that a pixel can have.

    Returns:
        A `GradientFn` of parameters `ImageParams`, with levels ``[num_images, *shape]``, integers, as data and the
        metrics ``loss``, in nats a dimension, and ``bits_per_dimension``.

    Raises:
        ValueError: no density, no dequantisation, or fewer than two levels.

    Example:
        >>> from jaxrg.base import Density
        >>> from jaxrg.flows.images.dequantisation import uniform_dequantisation
        >>> flat = Density(lambda key: (), lambda *_: None, lambda params, values: jnp.zeros(values.shape[0]))
        >>> gradient_fn = image_likelihood(flat, uniform_dequantisation())
        >>> levels = jnp.zeros((5, 2, 2), jnp.uint8)
        >>> float(gradient_fn(jax.random.key(0), ImageParams((), ()), None, levels)[2]["bits_per_dimension"])
        8.0

    Reference:
        Theis, van den Oord & Bethge, ICLR (2016).
    """
    count = _Levels(as_count("num_levels", num_levels, minimum=2))
    return Partial(
        _gradient,
        as_functions("density", density, Density),
        as_functions("dequantisation", dequantisation, Dequantisation),
        count,
    )


def _gradient(
    density: Density, dequantisation: Dequantisation, num_levels: _Levels, key: Array, params: Any, aux: Any, batch: Any
) -> tuple[PyTree, PyTree, PyTree]:
    _check_params(params)
    levels, _ = as_levels(batch, int(num_levels))

    def loss_fn(params: ImageParams) -> Array:
        bound = _bound(density, dequantisation, key, params, levels, int(num_levels))
        return -jnp.mean(bound) / np.prod(levels.shape[1:]).astype(bound.dtype)

    loss, gradients = jax.value_and_grad(loss_fn)(params)
    return gradients, aux, {"loss": loss, "bits_per_dimension": loss / np.log(2).astype(loss.dtype)}


def _bound(
    density: Density, dequantisation: Dequantisation, key: Array, params: ImageParams, levels: Array, num_levels: int
) -> Array:
    """``[num_images]`` of one draw of the noise."""
    noise, log_prob = dequantisation.sample(key, params.dequantisation, levels, num_levels)
    floors = levels.astype(noise.dtype)
    # Rounding must not take a value to the next level.
    values = jnp.minimum(floors + noise, jnp.nextafter(floors + 1, jnp.zeros_like(floors))) / num_levels
    num_dimensions = int(np.prod(levels.shape[1:]))
    volume = np.asarray(num_dimensions * np.log(num_levels), noise.dtype)
    return density.log_prob(params.density, values) - volume - log_prob


def bits_per_dimension(
    key: Array,
    density: Density | DensityLike,
    dequantisation: Dequantisation,
    params: ImageParams,
    levels: Array,
    *,
    num_levels: int = 256,
    num_draws: int = 1,
    batch_size: int = 64,
) -> BitsPerDimension:
    r"""Bits per dimension of images that were not trained on, with its error over images.

    .. math:: b = -\frac{1}{D \ln 2}\, \mathrm{E}\, \ln\frac1M\sum_{m=1}^M
        \frac{p((n + u_m)/K)}{K^D q(u_m|n)}, \qquad u_m \sim q(u|n)

    An upper bound of -log2 P(n)/D in the mean for every number M of draws, and the tighter the more of them.

    Args:
        key: typed key of the noise.
        density: of dequantised images ``[num_images, *shape]`` in [0, 1].
        dequantisation: of the levels.
        params: of both.
        levels: integers ``[num_images, *shape]``, two images at least.
        num_levels: that a pixel can have.
        num_draws: M, noise for each image.
        batch_size: images computed at once.

    Raises:
        ValueError: other parameters, levels out of range, or fewer than two images.

    Example:
        >>> from jaxrg.base import Density
        >>> from jaxrg.flows.images.dequantisation import uniform_dequantisation
        >>> flat = Density(lambda key: (), lambda *_: None, lambda params, values: jnp.zeros(values.shape[0]))
        >>> levels, params = jnp.zeros((5, 2, 2), jnp.uint8), ImageParams((), ())
        >>> found = bits_per_dimension(jax.random.key(0), flat, uniform_dequantisation(), params, levels)
        >>> float(found.mean), float(found.error)
        (8.0, 0.0)

    Reference:
        Burda, Grosse & Salakhutdinov, ICLR (2016); Ho, Chen, Srinivas, Duan & Abbeel, ICML (2019).
    """
    check_key("key", key)
    density, dequantisation = (
        as_functions("density", density, Density),
        as_functions("dequantisation", dequantisation, Dequantisation),
    )
    _check_params(params)
    levels, num_levels = as_levels(levels, num_levels)
    if levels.shape[0] < 2:
        raise ValueError(f"levels: expected two images at least, for an error, got shape {levels.shape}")
    num_draws, batch_size = as_count("num_draws", num_draws), as_count("batch_size", batch_size)
    if is_traced((key, levels, params)):
        raise ValueError("levels: expected numbers with values, as batches are made on the host, got a tracer")
    host, batch_size = np.asarray(levels), min(batch_size, levels.shape[0])
    parts = []
    for start in range(0, len(host), batch_size):
        # The last batch is filled with images of its own to the size of the others, which is compiled already.
        part = np.resize(host[start : start + batch_size], (batch_size, *host.shape[1:]))
        where = key, np.uint32(start)
        bits = _bits(density, dequantisation, *where, params, part, num_levels=num_levels, num_draws=num_draws)
        parts.append(np.asarray(bits))
    return _mean_of_bits(np.concatenate(parts)[: len(host)])


@functools.partial(jax.jit, static_argnames=("num_levels", "num_draws"))
def _bits(
    density: Density,
    dequantisation: Dequantisation,
    key: Array,
    start: Any,
    params: ImageParams,
    levels: Array,
    *,
    num_levels: int,
    num_draws: int,
) -> Array:
    bound = jax.lax.map(
        lambda draw_key: _bound(density, dequantisation, draw_key, params, levels, num_levels),
        jax.random.split(jax.random.fold_in(key, start), num_draws),
    )
    log_prob = jax.nn.logsumexp(bound, axis=0) - np.log(num_draws).astype(bound.dtype)
    return -log_prob / np.asarray(np.prod(levels.shape[1:]) * np.log(2), bound.dtype)


@jax.jit
def _mean_of_bits(bits: Any) -> BitsPerDimension:
    error = jnp.std(bits, ddof=1) / np.sqrt(bits.shape[0]).astype(bits.dtype)
    return BitsPerDimension(jnp.mean(bits), error, bits)


def peak_signal_to_noise(images: Array, reference: Array, *, peak: float = 1.0) -> Array:
    r"""Peak signal-to-noise ratio of images, in decibel.

    .. math:: \mathrm{PSNR} = 10 \log_{10} \frac{\mathrm{peak}^2}{\overline{(x - x_0)^2}}

    Args:
        images: ``[num_images, *shape]``.
        reference: of the same shape.
        peak: largest value that a pixel can have.

    Returns:
        ``[num_images]``, infinite for equal images.

    Raises:
        ValueError: other shapes, or no positive peak.

    Example:
        >>> peak_signal_to_noise(jnp.full((1, 4), 0.5), jnp.full((1, 4), 0.6)).round(3).tolist()
        [20.0]
    """
    found, given = as_floating_alike(images=images, reference=reference)
    check_shape("reference", given, found.shape)
    if found.ndim < 2:
        raise ValueError(f"images: expected [num_images, *shape], got shape {found.shape}")
    check_number("peak", peak, above=0.0)
    return _peak_signal_to_noise(found, given, jnp.asarray(peak, found.dtype))


@jax.jit
def _peak_signal_to_noise(images: Array, reference: Array, peak: Array) -> Array:
    error = jnp.mean(jnp.square(images - reference), axis=tuple(range(1, images.ndim)))
    return 20 * jnp.log10(peak) - 10 * jnp.log10(error)
