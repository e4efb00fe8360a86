"""What sparse recovery returns, with its error on coalitions that the recovery has not seen."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxrg.interactions.sparse.terms import Terms


class SparseFit(NamedTuple):
    """A recovered function and how well it predicts."""

    terms: Terms
    r_squared: Array  # share of the variance explained on held-out coalitions
    r_squared_error: Array  # its standard error
    num_evaluations: int  # of the game, held-out ones included


def held_out_r_squared(values: Array, predictions: Array) -> tuple[Array, Array]:
    r"""Coefficient of determination and its standard error by the delta method.

    .. math:: R^2 = 1 - \frac{\sum_i (v_i - \hat v_i)^2}{\sum_i (v_i - \bar v)^2}

    Of values ``[batch]`` of coalitions that were not used to fit, and their predictions; nan where they do not vary.

    Example:
        >>> held_out_r_squared(jnp.array([0.0, 1.0, 2.0]), jnp.array([0.0, 1.0, 2.0]))[0].item()
        1.0
    """
    count = values.shape[0]
    errors = (values - predictions) ** 2
    deviations = (values - jnp.mean(values)) ** 2
    ratio = jnp.mean(errors) / jnp.mean(deviations)
    influences = (errors - ratio * deviations) / jnp.mean(deviations)
    return 1 - ratio, jnp.std(influences) / count**0.5
