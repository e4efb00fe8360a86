"""The fourteen of the study in pairs: by their own definition, and as re-allocations of interactions."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.explain import attributions as by_definition
from jaxrg.explain import reallocations as of
from jaxrg.interactions import harsanyi
from jaxrg.tables import all_bits


class Pair(NamedTuple):
    """One attribution twice."""

    original: Array
    reallocated: Array


def polynomial(coefficients: Sequence[float]) -> Callable[[Array], Array]:
    r"""The activation :math:`\sum_k c_k y^k`; on networks of these the Taylor identities are exact."""
    highest_first = np.asarray(coefficients, float)[::-1].tolist()

    def activation(values: Array) -> Array:
        result = jnp.zeros_like(values)
        for coefficient in highest_first:
            result = result * values + coefficient
        return result

    return activation


def _by_presence(
    function: Callable[[Array], Array],
    sample: Array,
    backgrounds: Array,
    assignment: np.ndarray,
    first: of.TaylorTerms,
    mean: of.TaylorTerms,
) -> dict[str, Pair]:
    """The four that ask only which inputs are present, from terms about the first baseline and their mean over all."""
    baseline, whole = backgrounds[0], of.occlusion_shares(first.powers)
    return {
        "Occlusion-1": Pair(by_definition.occlusion(function, sample, baseline).values, of.reallocate(first, whole)),
        "Occlusion-patch": Pair(
            by_definition.occlusion_patch(function, sample, baseline, assignment).values,
            of.reallocate(first, of.patch_shares(first.powers, assignment)),
        ),
        "Prediction Difference": Pair(
            by_definition.prediction_difference(function, sample, backgrounds).values, of.reallocate(mean, whole)
        ),
        "Shapley": Pair(
            by_definition.shapley(function, sample, baseline).values,
            of.reallocate(first, of.shapley_shares(first.powers)),
        ),
    }


def fourteen_pairs(
    layers: Sequence[by_definition.Layer],
    sample: Array,
    backgrounds: Array,
    *,
    output: int,
    assignment: np.ndarray,
    features: Array,
    head_of_means: Callable[[Array], Array],
    max_degree: int,
    neuron_degree: int,
    epsilon: float = 0.0,
) -> dict[str, Pair]:
    """All fourteen, of one network and one sample; equal where the network is a polynomial within the degrees.

    Args:
        layers: the network; activations are 0 at 0.
        sample: x ``[inputs]``.
        backgrounds: ``[num_backgrounds, inputs]``; the first is the baseline of the methods that have one.
        output: which output is explained.
        assignment: int ``[inputs]``, patches for Occlusion-patch.
        features: ``[rows, columns, channels]`` for Grad-CAM.
        head_of_means: scalar of channel means, the head of Grad-CAM.
        max_degree: of the Taylor terms of the network and of the head.
        neuron_degree: of those of a neuron.
        epsilon: of LRP-ε.

    Returns:
        Pairs by name.
    """
    function = lambda inputs: by_definition.forward(layers, inputs)[output]  # noqa: E731
    network, baseline = (layers, sample), backgrounds[0]
    powers = of.multi_indices(sample.shape[0], max_degree)
    points = jnp.concatenate([backgrounds, jnp.zeros_like(backgrounds[:1])])
    values = jax.vmap(lambda b: of.taylor_terms(function, sample, b, max_degree=max_degree).values)(points)
    first, mean, about_zero = (
        of.TaylorTerms(powers, part) for part in (values[0], jnp.mean(values[:-1], 0), values[-1])
    )
    neurons = {"output": output, "max_degree": neuron_degree}

    def relevance(shares: Callable) -> Array:
        return of.reallocate_relevance(*network, shares=shares, **neurons).values

    def differences(shares: Callable, reference: Array) -> Array:
        return of.reallocate_differences(*network, reference, shares=shares, **neurons).values

    integrated, equal = of.integrated_shares(powers), of.fixed_shares(of.shapley_shares)
    return _by_presence(function, sample, backgrounds, assignment, first, mean) | {
        "Gradient x Input": Pair(
            by_definition.gradient_times_input(function, sample).values,
            of.reallocate(about_zero, of.gradient_shares(powers)),
        ),
        "Grad-CAM": Pair(
            by_definition.grad_cam(lambda maps: head_of_means(jnp.mean(maps, axis=(0, 1))), features).scores,
            of.reallocate_grad_cam(head_of_means, features, max_degree=max_degree),
        ),
        "LRP-epsilon": Pair(
            by_definition.lrp_epsilon(*network, output=output, epsilon=epsilon).values,
            relevance(of.epsilon_shares(epsilon)),
        ),
        "LRP-alpha-beta": Pair(
            by_definition.lrp_alpha_beta(*network, output=output).values,
            relevance(of.alpha_beta_shares()),
        ),
        "Deep Taylor": Pair(
            by_definition.deep_taylor(*network, output=output).values, relevance(of.deep_taylor_shares)
        ),
        "DeepLIFT Rescale": Pair(
            by_definition.deeplift_rescale(*network, baseline, output=output).values,
            differences(of.fixed_shares(of.integrated_shares), baseline),
        ),
        "DeepLIFT RevealCancel": Pair(
            by_definition.deeplift_reveal_cancel(*network, baseline, output=output).values,
            differences(of.reveal_cancel_shares, baseline),
        ),
        "Deep SHAP": Pair(
            by_definition.deep_shap(*network, backgrounds, output=output).values,
            jnp.mean(jax.vmap(lambda b: differences(equal, b))(backgrounds), axis=0),
        ),
        "Integrated Gradients": Pair(
            by_definition.integrated_gradients(function, sample, baseline).values,
            of.reallocate(first, integrated),
        ),
        "Expected Gradients": Pair(
            by_definition.expected_gradients(function, sample, backgrounds).values,
            of.reallocate(mean, integrated),
        ),
    }


def harsanyi_pairs(
    function: Callable[[Array], Array],
    sample: Array,
    backgrounds: Array,
    assignment: np.ndarray,
) -> dict[str, Pair]:
    """The four that ask only which inputs are present, by Harsanyi interactions: equal for every function."""
    n = sample.shape[0]
    masks = all_bits(n)
    powers = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1  # the same, known while traced

    def dividends(baseline: Array) -> Array:
        return harsanyi(jax.vmap(lambda mask: function(jnp.where(mask, sample, baseline)))(masks))[1:]

    values = jax.lax.map(dividends, backgrounds)
    first, mean = of.TaylorTerms(powers, values[0]), of.TaylorTerms(powers, jnp.mean(values, axis=0))
    return _by_presence(function, sample, backgrounds, assignment, first, mean)
