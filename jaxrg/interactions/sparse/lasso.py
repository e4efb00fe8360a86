"""Least squares with an l1 penalty over all spin products of low degree, by accelerated proximal gradient."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_floating
from jaxrg.interactions.games import check_values
from jaxrg.interactions.indices.contexts import num_subsets_up_to, subsets_up_to
from jaxrg.interactions.sparse.terms import SparseFit, Terms, as_subsets, held_out_r_squared
from jaxrg.tables import MAX_BYTES, check_bytes


class LassoSolution(NamedTuple):
    """Coefficients and a certificate."""

    coefficients: Array  # [num_features]
    gap: Array  # duality gap: the objective is at most this far from its minimum


def lasso(features: Array, targets: Array, penalty: Array, *, num_steps: int = 500) -> LassoSolution:
    r"""Minimise :math:`\frac{1}{2m} \|y - \Phi c\|_2^2 + \lambda \|c\|_1` by FISTA with restarts.

    Args:
        features: Φ, ``[m, num_features]``.
        targets: y, ``[m]``.
        penalty: λ, scalar; may be traced and vmapped.
        num_steps: proximal steps.

    Example:
        >>> solution = lasso(jnp.eye(2) * 2**0.5, jnp.array([2.0, 0.1]), jnp.asarray(0.5))
        >>> bool(jnp.allclose(solution.coefficients, jnp.array([2**0.5 - 0.5, 0.0]), atol=1e-6))  # soft threshold
        True

    Reference:
        Beck & Teboulle, SIAM J. Imaging Sci. 2, 183 (2009); restarts: O'Donoghue & Candès, Found. Comput. Math. 15,
        715 (2015), arXiv:1204.3982.
    """
    count = features.shape[0]
    # Power iteration on the Gram matrix; a fifth more than its result bounds the largest eigenvalue in practice, and
    # restarts undo a step that was too long.
    vector = jnp.sum(features, axis=0) + 1

    def power(vector, _):
        image = features.T @ (features @ vector)
        return image / jnp.linalg.norm(image), None

    vector, _ = jax.lax.scan(power, vector / jnp.linalg.norm(vector), length=30)
    step = count / (1.2 * jnp.linalg.norm(features.T @ (features @ vector)))

    def proximal_step(state, _):
        current, ahead, momentum = state
        gradient = features.T @ (features @ ahead - targets) / count
        moved = ahead - step * gradient
        following = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - step * penalty, 0)
        is_uphill = jnp.sum((ahead - following) * (following - current)) > 0
        momentum = jnp.where(is_uphill, 1, momentum)
        next_momentum = 0.5 * (1 + jnp.sqrt(1 + 4 * momentum**2))
        ahead = following + (momentum - 1) / next_momentum * (following - current)
        return (following, ahead, next_momentum), None

    start = (jnp.zeros_like(vector), jnp.zeros_like(vector), jnp.ones((), features.dtype))
    (coefficients, _, _), _ = jax.lax.scan(proximal_step, start, length=num_steps)
    residual = targets - features @ coefficients
    largest = jnp.max(jnp.abs(features.T @ residual)) / count
    dual = residual * jnp.minimum(1, penalty / jnp.maximum(largest, jnp.finfo(features.dtype).tiny))
    primal_objective = jnp.sum(residual**2) / (2 * count) + penalty * jnp.sum(jnp.abs(coefficients))
    dual_objective = (jnp.sum(targets**2) - jnp.sum((targets - dual) ** 2)) / (2 * count)
    return LassoSolution(coefficients, primal_objective - dual_objective)


def _refit(features: Array, targets: Array, is_chosen: Array) -> Array:
    """Least squares on the chosen features alone, with a ridge at the rounding of the dtype."""
    chosen = features * is_chosen.astype(features.dtype).reshape(1, -1)
    ridge = jnp.diag(jnp.where(is_chosen, 10 * jnp.finfo(features.dtype).eps, 1.0))
    return jnp.linalg.solve(chosen.T @ chosen / len(features) + ridge, chosen.T @ targets / len(features))


def recover_low_degree(
    masks: ArrayLike, values: ArrayLike, degree: int, *, num_penalties: int = 12, max_bytes: int = MAX_BYTES
) -> SparseFit:
    """Fourier coefficients of a function that is sparse among all products of at most ``degree`` spins.

    The last fifth of the coalitions is held out for R², the fifth before it chooses the penalty from a path; the
    function returned is fitted without penalty to the first four fifths on the chosen support.

    Args:
        masks: ``bool[m, n]``, in random order; uniform coalitions make the basis orthogonal.
        values: ``[m]``.
        degree: of the basis.
        num_penalties: on the path, from the one that suppresses everything down by factors of 2.
        max_bytes: for the matrix of features.

    Returns:
        A `SparseFit` of the features in the support alone, so this is no traced code.

    Reference:
        Stobbe & Krause, AISTATS 2012 (learning Fourier sparse set functions).
    """
    masks, values = as_subsets("masks", masks), as_floating("values", values)
    count, num_players = masks.shape
    degree, num_penalties = as_count("degree", degree), as_count("num_penalties", num_penalties)
    if count < 20:
        raise ValueError(f"masks: expected at least 20 coalitions, got {count}")
    degree = min(degree, num_players)
    num_features = num_subsets_up_to(num_players, degree)
    needed = num_features * (count + num_features) * values.dtype.itemsize
    what = f"features, {num_features:,} products of at most {degree} of {num_players} spins"
    check_bytes("degree", needed, max_bytes, what)
    check_values(values, count)
    subsets = subsets_up_to(num_players, degree)
    coefficients, r_squared, error = _fit_path(masks, values, subsets, num_penalties)
    found = np.asarray(coefficients)
    support = np.flatnonzero(found)
    terms = Terms(jax.device_put(subsets[support]), jax.device_put(found[support]))
    return SparseFit(terms, r_squared, error, count)


@jax.jit(static_argnames="num_penalties")
def _fit_path(masks: Array, values: Array, subsets: Array, num_penalties: int) -> tuple[Array, Array, Array]:
    count, dtype = masks.shape[0], values.dtype
    num_train, num_fit = 3 * count // 5, 4 * count // 5
    parities = jnp.mod((~masks).astype(dtype) @ subsets.astype(dtype).T, 2)
    features = 1 - 2 * parities
    train, seen = features[:num_train], features[:num_fit]
    offset = jnp.mean(values[:num_train])  # the empty product is in the basis; centring only scales the path
    targets = values - offset
    largest = jnp.max(jnp.abs(train.T @ targets[:num_train])) / num_train
    penalties = largest * 0.5 ** jnp.arange(1, num_penalties + 1).astype(dtype)

    def supported(penalty: Array) -> tuple[Array, Array]:
        is_chosen = lasso(train, targets[:num_train], penalty).coefficients != 0
        # Ordinary least squares wants more samples than features.
        is_chosen = is_chosen & (jnp.sum(is_chosen) < num_train // 2)
        fitted = _refit(train, targets[:num_train], is_chosen)
        missed = targets[num_train:num_fit] - features[num_train:num_fit] @ fitted
        return jnp.mean(missed**2), is_chosen

    errors, choices = jax.lax.map(supported, penalties)
    chosen = choices[jnp.argmin(errors)]
    coefficients = _refit(seen, targets[:num_fit], chosen)
    r_squared, error = held_out_r_squared(targets[num_fit:], features[num_fit:] @ coefficients)
    return coefficients.at[0].add(offset), r_squared, error
