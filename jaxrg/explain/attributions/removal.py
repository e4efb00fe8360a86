"""Attributions by removal, as their authors define them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.interactions.masking import num_players_of


def occlusion(function: Callable[[Array], Array], sample: Array, baseline: Array) -> Array:
    r"""Occlusion-1, :math:`a_i = f(x) - f(x_{\setminus i}, b_i)`.

    Example:
        >>> occlusion(lambda x: x[0] * x[1], jnp.array([2.0, 3.0]), jnp.zeros(2)).tolist()
        [6.0, 6.0]

    Reference:
        Zeiler & Fergus, ECCV 2014, arXiv:1311.2901.
    """
    return occlusion_patch(function, sample, baseline, np.arange(sample.shape[0]))


def occlusion_patch(
    function: Callable[[Array], Array], sample: Array, baseline: Array, assignment: np.ndarray
) -> Array:
    r"""Occlusion-patch: what a patch's removal costs, given to each of its entries,
    :math:`a_i = f(x) - f(x_{\setminus p}, b_p)` for i in p.

    Args:
        assignment: int ``[n]``, the patch of every entry, all of them numbered from 0.

    Raises:
        ValueError: an assignment of another shape.

    Reference:
        Zeiler & Fergus, ECCV 2014, arXiv:1311.2901.
    """
    if assignment.shape != sample.shape:
        raise ValueError(f"assignment: expected the sample's shape {sample.shape}, got {assignment.shape}")
    is_gone = np.arange(num_players_of(assignment))[:, None] == assignment[None]
    occluded = jnp.where(jnp.asarray(is_gone), baseline[None], sample[None])
    return (function(sample) - jax.vmap(function)(occluded))[assignment]


def prediction_difference(function: Callable[[Array], Array], sample: Array, backgrounds: Array) -> Array:
    r"""Prediction difference, :math:`a_i = f(x) - E_b f(x_{\setminus i}, b_i)`.

    The backgrounds are draws of what an input may be instead.

    Reference:
        Robnik-Šikonja & Kononenko, IEEE TKDE 20, 589 (2008); Zintgraf et al., ICLR 2017, arXiv:1702.04595, who draw
        from the conditional distribution.
    """
    return jnp.mean(jax.vmap(lambda baseline: occlusion(function, sample, baseline))(backgrounds), axis=0)
