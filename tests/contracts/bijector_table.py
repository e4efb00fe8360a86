"""Every bijector with events of a few numbers, for the contract: adding one is adding a row."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg import flows
from jaxrg.base import Bijector
from jaxrg.flows import bijectors as b
from jaxrg.nets import mlp
from tests.contracts.skeleton_bijector import shear


class Row(NamedTuple):
    """A bijector, its events, and what holds of it."""

    make: Callable[[], Bijector]
    shape: Any  # of an event; a tuple of shapes for one of several parts
    draw: Callable = np.random.Generator.standard_normal  # values of an event: (generator, shape)
    # Largest error of a round trip and of the log-determinant, in float32 and in float64.
    errors: tuple[float, float] = (3e-5, 1e-10)
    is_estimate: bool = False  # the log-determinant is right on average only


def angles(generator, shape):
    return generator.uniform(-np.pi, np.pi, shape)


def unit(generator, shape):
    return generator.uniform(0.01, 0.99, shape)


HALF = [True, False, False, True]
PAIR = [True, False]
NET = b.perceptron((6,))


def waves(inputs):
    """A bare function: two outputs for every input."""
    return jnp.concatenate([jnp.sin(inputs), inputs**2])


def layers() -> Bijector:
    other = [not keep for keep in HALF]
    parts = [b.affine_coupling((4,), HALF, NET), b.spline_coupling((4,), other, NET, num_bins=4)]
    return b.repeat(b.chain([*parts, b.permutation((4,), [0, 2, 3, 1])]), 2)


def hierarchy() -> Bijector:
    pair = [
        b.affine_coupling((2, 2), np.reshape(mask, (2, 2)).astype(bool), NET) for mask in ([1, 0, 0, 1], [0, 1, 1, 0])
    ]
    return flows.rg_flow((4, 4), disentangler=b.chain(pair), decimator=b.chain(pair))


def decimation() -> Bijector:
    return flows.decimation_flow((4, 4), num_pairs=1, num_features=2)


def image_decimation() -> Bijector:
    return flows.images.image_decimation((4, 4, 2), num_components=2, num_features=4, num_levels=8)


BIJECTORS = {
    "actnorm": Row(lambda: b.actnorm((3, 2)), (3, 2)),
    "affine": Row(lambda: b.affine_coupling((4,), HALF, NET), (4,)),
    "affine_channels": Row(lambda: b.affine_coupling((2, 2, 3), PAIR, NET), (2, 2, 3)),
    "affine_conditional": Row(lambda: b.affine_coupling((4,), HALF, NET, condition_shape=(2,)), ((4,), (2,))),
    "affine_function": Row(lambda: b.affine_coupling((2, 2), [PAIR, PAIR], waves), (2, 2)),
    "affine_network": Row(lambda: b.affine_coupling((4,), HALF, mlp((5, 4))), (4,)),
    "affine_of_condition": Row(lambda: b.affine_coupling((2,), [False] * 2, NET, condition_shape=(1,)), ((2,), (1,))),
    "chain_and_repeat": Row(layers, (4,)),
    "circular_spline": Row(lambda: b.circular_spline_coupling((4,), HALF, NET, num_bins=5), (4,), angles),
    "circular_spline_conditional": Row(
        lambda: b.circular_spline_coupling((4,), HALF, NET, num_bins=4, condition_shape=(2,)), ((4,), (2,)), angles
    ),
    "continuous": Row(lambda: b.continuous((3,), NET, num_steps=16), (3,), errors=(3e-4, 1e-4)),
    "decimation_flow": Row(decimation, {0: (3, 2, 2), 1: (2, 2)}, errors=(1e-3, 1e-9)),
    "fourier": Row(lambda: b.fourier_scaling(np.array([2.0, 1.0, 0.5, 1.0])), (4,)),
    "free_field": Row(lambda: b.free_field((2, 3), 0.5), (2, 3)),
    "haar": Row(lambda: b.haar((2, 4, 2)), (2, 4, 2)),
    "invertible_convolution": Row(lambda: b.invertible_convolution((3, 2)), (3, 2)),
    "image_decimation": Row(image_decimation, {0: (3, 2, 2, 2), 1: (2, 2, 2)}, errors=(1e-2, 1e-8)),
    "inverted": Row(lambda: b.invert(b.affine_coupling((4,), HALF, NET)), (4,)),
    "joint": Row(lambda: b.joint([b.actnorm((2,)), b.logit((1,))]), ((2,), (1,)), unit),
    "logit": Row(lambda: b.logit((2, 2), margin=0.05), (2, 2), unit),
    "permutation": Row(lambda: b.permutation((3, 2), [2, 0, 1]), (3, 2)),
    "rg_flow": Row(hierarchy, {0: (3, 2, 2), 1: (2, 2)}),
    "residual": Row(lambda: b.residual((3,), b.lipschitz_perceptron((6,))), (3,)),
    "residual_larger": Row(lambda: b.residual((14,), b.lipschitz_perceptron((6,), bound=0.6)), (14,)),
    "shear": Row(lambda: shear(3), (3,)),
    "spline": Row(lambda: b.spline_coupling((4,), HALF, NET, num_bins=5), (4,)),
    "spline_conditional": Row(
        lambda: b.spline_coupling((4,), HALF, NET, num_bins=4, condition_shape=(2,)), ((4,), (2,))
    ),
    "split": Row(lambda: b.split((3, 2), [[True, False], [False, False], [True, True]]), (3, 2)),
    "squeeze": Row(lambda: b.squeeze((1, 2, 4)), (1, 2, 4)),
    "stochastic_residual": Row(
        lambda: b.stochastic_residual(jax.random.key(3), (3,), b.lipschitz_perceptron((6,), bound=0.5)),
        (3,),
        is_estimate=True,
    ),
}  # fmt: skip


def is_shape(tree: Any) -> bool:
    return isinstance(tree, tuple) and all(isinstance(side, int) for side in tree)


def events(row: Row, lanes: tuple[int, ...], dtype: Any) -> Any:
    """Events of a row, with lanes; drawn without JAX, which would compile."""
    generator = np.random.default_rng(len(str(row.shape)))

    def draw(shape):
        return jnp.asarray(row.draw(generator, (*shape, *lanes)), dtype)

    return jax.tree.map(draw, row.shape, is_leaf=is_shape)


def parameters(row: Row, seed: int, dtype: Any) -> Any:
    """Parameters some way from the identity."""
    generator = np.random.default_rng(seed)
    shapes = jax.eval_shape(row.make().init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * generator.standard_normal(leaf.shape), dtype), shapes)
