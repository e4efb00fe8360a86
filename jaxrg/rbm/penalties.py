"""Penalties on the weights, as optax transformations that leave the biases alone."""

import jax.numpy as jnp
import optax
from jax import Array

from jaxrg.checks import as_floating, check_shape, is_traced, kind_of
from jaxrg.rbm.energy import RBM


def _as_strength(name: str, value: float | Array) -> Array:
    strength = as_floating(name, value)
    check_shape(name, strength, ())
    if not is_traced(strength) and not 0 <= float(strength) < float("inf"):
        raise ValueError(f"{name}: expected a finite value >= 0, got {value}")
    return strength


def _on_weights(rule) -> optax.GradientTransformation:
    """A transformation without state that replaces the update of the weights by ``rule(update, weights)``."""

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("params: expected the machine as third argument of update, got None")
        for name, value in (("updates", updates), ("params", params)):
            if not isinstance(value, RBM):
                raise ValueError(f"{name}: expected an RBM, got {kind_of(value)}")
        return updates._replace(weights=rule(updates.weights, params.weights)), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def l1_penalty(strength: float | Array) -> optax.GradientTransformation:
    r"""Add the gradient of :math:`\lambda \sum_{ia} |W_{ia}|`, which is :math:`\lambda\, \mathrm{sign}(W)`.

    Put it before the optimiser: ``optax.chain(l1_penalty(2e-4), optax.sgd(0.01, momentum=0.9))``. Weights then hover
    around zero at the size of a step; `soft_threshold` makes them exactly zero. For L2 on the weights alone there is
    ``optax.add_decayed_weights(strength, mask=RBM(True, False, False))``.

    Args:
        strength: :math:`\lambda`, per sample as the gradient is.

    Returns:
        A transformation of gradients shaped like an `RBM`; it needs the parameters.

    Raises:
        ValueError: a negative or infinite strength.

    Example:
        >>> from jaxrg.rbm import RBM
        >>> machine = RBM(jnp.array([[2.0, -3.0]]), jnp.zeros(1), jnp.zeros(2))
        >>> penalty = l1_penalty(0.5)
        >>> gradients, _ = penalty.update(jax.tree.map(jnp.zeros_like, machine), penalty.init(machine), machine)
        >>> gradients.weights.tolist()
        [[0.5, -0.5]]
    """
    value = _as_strength("strength", strength)
    return _on_weights(lambda gradient, weights: gradient + value.astype(weights.dtype) * jnp.sign(weights))


def soft_threshold(threshold: float | Array) -> optax.GradientTransformation:
    r"""Shrink the weights towards zero after a step: the proximal form of an L1 penalty, with exact zeros.

    .. math:: W \leftarrow \mathrm{sign}(W + u) \max(|W + u| - t, 0)

    Put it last in the chain, with :math:`t` the learning rate times the strength of the penalty. It is exact for plain
    gradient descent.

    Args:
        threshold: t, in units of a weight.

    Returns:
        A transformation of updates shaped like an `RBM`; it needs the parameters.

    Raises:
        ValueError: a negative or infinite threshold.

    Reference:
        Parikh & Boyd, Foundations and Trends in Optimization 1, 127 (2014), section 4.2.
    """
    value = _as_strength("threshold", threshold)

    def shrink(update: Array, weights: Array) -> Array:
        moved = weights + update
        # Only -W cancels W exactly, so that a shrunk weight is zero and not a rounding error.
        return jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - value.astype(weights.dtype), 0) - weights

    return _on_weights(shrink)
