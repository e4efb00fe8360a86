"""What depends on what: the latents behind a region of the field, and the sites that a latent moves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import Bijector, PyTree
from jaxrg.checks import as_array, is_traced
from jaxrg.closures import as_functions
from jaxrg.flows.hierarchy import geometry
from jaxrg.flows.latents import as_batch, as_level, as_levels, one_latent, to_lanes
from jaxrg.flows.passes import Geometry, generate, renormalise


def _spread(level: int, number: int, blocks: np.ndarray) -> tuple[np.ndarray, None]:
    """Every site of a block depends on every other."""
    inside = tuple(range(blocks.ndim // 2))
    return np.broadcast_to(blocks.any(axis=inside, keepdims=True), blocks.shape), None


def causal_cone(flow: Bijector, sites: Any) -> dict[int, np.ndarray]:
    """The latents that a region of the field depends on, and that depend on it; exact by indices.

    All other latents of a field are what they are whatever the values in the region. In each level the cone holds the
    latents near the region; one site has a cone of O(log L) latents, of L^d.

    Args:
        flow: from `rg_flow`.
        sites: ``[*sides]`` booleans, the region.

    Returns:
        ``{level: booleans}`` in the shapes of the latents, as NumPy arrays; every variable of a block counts as
        dependent on every other.

    Raises:
        ValueError: no such booleans.

    Example:
        >>> from jaxrg.flows import bijectors, rg_flow
        >>> layer = bijectors.permutation((2, 2), [[3, 2], [1, 0]])
        >>> flow = rg_flow((32, 32), disentangler=layer, decimator=layer)
        >>> cone = causal_cone(flow, np.arange(1024).reshape(32, 32) == 0)
        >>> {level: int(mask.sum()) for level, mask in cone.items()}
        {0: 12, 1: 12, 2: 12, 3: 12, 4: 4}
    """
    tree = geometry(flow)
    mask = as_region(tree, sites)
    cone, _ = renormalise(tree.without_channels(), _spread, mask)
    _spread_top(tree, cone)
    return {level: _with_channels(part, tree.channels) for level, part in cone.items()}


def as_region(tree: Geometry, sites: Any) -> np.ndarray:
    """Booleans of the lattice whose values can be seen."""
    if is_traced(sites):
        raise ValueError("sites: expected booleans whose values can be seen, got traced ones")
    mask = np.asarray(as_array("sites", sites))
    if mask.dtype != bool or mask.shape != tree.sides:
        raise ValueError(f"sites: expected booleans of shape {tree.sides}, got {mask.dtype} of shape {mask.shape}")
    return mask


def _spread_top(tree: Geometry, masks: dict[int, np.ndarray]) -> None:
    top = tree.num_levels - 1
    if tree.has_top:
        masks[top] = np.broadcast_to(masks[top].any(), masks[top].shape)


def _with_channels(mask: np.ndarray, channels: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(mask[..., None], mask.shape + channels).copy() if channels else mask.copy()


def receptive_field(flow: Bijector, level: int, index: Any = ...) -> np.ndarray:
    """The sites that latents of one level can move, exact by indices; about twice as wide at every level.

    Args:
        flow: from `rg_flow`.
        level: of the latents.
        index: which of them, as NumPy indexes an array of the shape of that level; all of them unless given.

    Returns:
        ``[*sides]`` booleans.

    Raises:
        ValueError: no such level, or an index outside its latents.
    """
    tree = geometry(flow)
    level = as_level(tree.latent_shapes, level)
    masks = {key: np.zeros(shape, bool) for key, shape in tree.latent_shapes.items()}
    try:
        masks[level][index] = True
    except (IndexError, TypeError) as error:
        shape = masks[level].shape
        raise ValueError(f"index: expected an index of an array of shape {shape}, got {index!r}") from error
    if tree.channels:
        masks = {key: mask.any(axis=-1) for key, mask in masks.items()}
    _spread_top(tree, masks)
    return generate(tree.without_channels(), _spread, masks)[0].copy()


def sensitivity(flow: Bijector, params: PyTree, latents: PyTree, level: int, index: Any) -> Array:
    r"""How far one latent moves the field: the receptive field with its strength.

    .. math:: \mathrm{RF}(x) = \mathbb E_z \left|\frac{\partial G(z)_x}{\partial z_l}\right|

    Args:
        flow: any flow with latents by level, of `rg_flow`, `decimation_flow` or `flows.images.image_decimation`.
        params: of the flow.
        latents: ``{level: [num_samples, ...]}``, as from a prior or from `encode`.
        level: of the latent.
        index: of the latent, one number an axis; another one, of any level, does not compile anew.

    Returns:
        ``[*shape]`` of the field, its channels included; mean over the samples.

    Raises:
        ValueError: latents that do not fit, no such level, or an index that is not of one latent.

    Reference:
        Hu, Wu, You, Olshausen & Chen, arXiv:2010.00029 (2020).
    """
    flow = as_functions("flow", flow, Bijector)
    batch = as_batch("latents", as_levels("latents", latents))
    masks = one_latent({key: leaf.shape[1:] for key, leaf in batch.items()}, level, index)
    return _sensitivity(flow, params, batch, masks)


@jax.jit
def _sensitivity(flow: Bijector, params: PyTree, latents: PyTree, masks: PyTree) -> Array:
    lanes = to_lanes(latents)
    tangents = jax.tree.map(
        lambda leaf, mask: jnp.broadcast_to(mask[..., None].astype(leaf.dtype), leaf.shape), lanes, masks
    )
    _, moved = jax.jvp(lambda z: flow.forward(params, z)[0], (lanes,), (tangents,))
    return jnp.mean(jnp.abs(moved), axis=-1)
