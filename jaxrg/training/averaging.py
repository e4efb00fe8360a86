"""Averages of the parameters along a run, kept in the state of the optimiser, so that checkpoints hold them too."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import check_number


class AverageState(NamedTuple):
    """State of `moving_average`."""

    weight: Array  # [] of all steps together, 1 - d^t
    average: PyTree  # of the parameters after each step


def moving_average(decay: float) -> optax.GradientTransformation:
    r"""The moving average of the parameters: a last link for ``optax.chain`` that changes no update.

    .. math:: \bar\theta_t = \bar\theta_{t-1} + \frac{1 - d}{1 - d^t} (\theta_t - \bar\theta_{t-1})

    This is the exponential average with its start divided out, so the first steps do not weigh more than others.

    Args:
        decay: d, between 0 and 1; the average reaches back about 1/(1 - d) steps.

    Raises:
        ValueError: a decay outside (0, 1), or, in use, an update without parameters.

    Example:
        >>> import optax
        >>> optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.5), moving_average(0.9))
        >>> params = jnp.float32(2)
        >>> state = optimizer.init(params)
        >>> updates, state = optimizer.update(jnp.float32(1), state, params)
        >>> float(averaged_params(state))
        1.5

    Reference:
        Polyak & Juditsky, SIAM J. Control Optim. 30, 838 (1992); the correction is that of Kingma & Ba (2015).
    """
    check_number("decay", decay, above=0, below=1)
    kept = float(decay)

    def init(params: PyTree) -> AverageState:
        return AverageState(jnp.zeros((), jnp.float32), params)

    def update(updates: PyTree, state: Any, params: PyTree = None) -> tuple[PyTree, AverageState]:
        if params is None:
            raise ValueError("params: expected the parameters besides the updates, got None")
        own = jnp.float32(1 - kept)
        weight = kept * state.weight + own
        share = own / weight  # exactly one at the first step

        def averaged(average: Array, param: Array, step: Array) -> Array:
            return average + share.astype(average.dtype) * (param + step.astype(param.dtype) - average)

        return updates, AverageState(weight, jax.tree.map(averaged, state.average, params, updates))

    return optax.GradientTransformation(init, update)


def averaged_params(optimizer_state: PyTree) -> PyTree:
    """The average that `moving_average` keeps in the state of an optimiser, as in ``run.optimizer_state`` of a `Fit`.

    Raises:
        ValueError: no such average in the state, or more than one.
    """
    nodes = jax.tree.leaves(optimizer_state, is_leaf=lambda node: isinstance(node, AverageState))
    found = [node for node in nodes if isinstance(node, AverageState)]
    if len(found) != 1:
        raise ValueError(
            f"optimizer_state: expected the state of one moving_average, got {len(found)}; add it with optax.chain"
        )
    return found[0].average
