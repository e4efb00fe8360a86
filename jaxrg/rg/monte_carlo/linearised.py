"""The linearised flow of couplings from covariances of operators: Swendsen's equations, exponents and their errors."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrg.checks import as_count, check_number, kind_of
from jaxrg.rg.fixed_points import Scaling, scaling
from jaxrg.rg.monte_carlo.moments import Moments

MAX_CONDITION = 1e10  # of covariances of operators of unit variance, beyond which rounding has eaten the digits


class Jacobian(NamedTuple):
    """Derivatives of the couplings of one level by those of a finer one; of NumPy, in float64.

    Attributes:
        matrix: ``[num_operators, num_operators]`` :math:`\\partial K_a^{(n)} / \\partial K_b^{(m)}`.
        errors: of its entries, one standard deviation.
        replicates: ``[num_bins, num_operators, num_operators]`` the matrix without each bin.
        condition_number: of the covariances that are inverted, of operators scaled to unit variance.
    """

    matrix: np.ndarray
    errors: np.ndarray
    replicates: np.ndarray
    condition_number: float


class Linearised(NamedTuple):
    """The linearised flow of one step, its eigenvalues and their jackknife errors.

    Attributes:
        jacobian: the matrix with its errors and conditioning.
        scaling: eigenvalues, exponents, scaling operators and fields, as `jaxrg.rg.scaling` gives them; complex pairs
            stay complex.
        eigenvalue_errors: ``[num_operators]`` of complex numbers the root mean square distance.
        exponent_errors: ``[num_operators]``.
    """

    jacobian: Jacobian
    scaling: Scaling
    eigenvalue_errors: np.ndarray
    exponent_errors: np.ndarray


def jacobian(
    moments: Moments,
    *,
    fine: int = 0,
    coarse: int = 1,
    which: Sequence[int] | np.ndarray | None = None,
    is_odd: bool = False,
) -> Jacobian:
    r"""Swendsen's equations for the flow from one level to a coarser one.

    .. math::
        \sum_c \langle S_a^{(n)}; S_c^{(n)} \rangle \frac{\partial K_c^{(n)}}{\partial K_b^{(m)}}
        = \langle S_a^{(n)}; S_b^{(m)} \rangle, \qquad H = -\sum_a K_a S_a

    The average may be the one of the model, or that of any bias on the coarse spins, as `renormalise` makes it. Errors
    are those of a jackknife over the bins.

    Args:
        moments: from `measure` or `moments`.
        fine: m, the level of the couplings that are changed.
        coarse: n, the level of those that change.
        which: indices of the operators that take part, all by default; even and odd ones do not mix, so take them one
            after the other.
        is_odd: whether the operators change their sign with the spins and there is no field: their means are zero, and
            are not measured.

    Raises:
        ValueError: no moments, levels or operators they do not have, a level that is not coarser, or operators that
            depend on each other in these samples.

    Reference:
        Swendsen, Phys. Rev. Lett. 42, 859 (1979).
    """
    return _jacobian(as_moments("moments", moments), fine, coarse, which, is_odd)


def _jacobian(
    moments: Moments, fine: int, coarse: int, which: Sequence[int] | np.ndarray | None, is_odd: bool
) -> Jacobian:
    _, num_levels, num_operators = moments.means.shape
    fine, coarse = as_count("fine", fine, minimum=0), as_count("coarse", coarse)
    if not fine < coarse < num_levels:
        raise ValueError(f"coarse: expected a level above fine = {fine} and below {num_levels}, got {coarse}")
    chosen = as_which(which, num_operators)
    same = left_out(moments, (coarse, chosen), (coarse, chosen), is_odd)
    across = left_out(moments, (coarse, chosen), (fine, chosen), is_odd)
    scales = np.sqrt(np.maximum(np.diagonal(same[0]), np.finfo(float).tiny))
    spectrum = np.linalg.eigvalsh(same[0] / scales[:, None] / scales)
    condition = spectrum[-1] / spectrum[0] if spectrum[0] > 0 else np.inf
    if not condition < MAX_CONDITION:
        raise ValueError(
            f"moments: expected operators that vary independently at level {coarse}, got covariances with a condition "
            f"number of {condition:.3g}; leave operators out, or take more samples than operators in a bin"
        )
    try:
        matrices = np.linalg.solve(same, across)
    except np.linalg.LinAlgError as error:
        raise ValueError("moments: expected operators that vary without any one bin, got singular ones") from error
    return Jacobian(matrices[0], jackknife_error(matrices), matrices[1:], float(condition))


def linearise(
    moments: Moments,
    rescaling: float,
    *,
    level: int = 1,
    which: Sequence[int] | np.ndarray | None = None,
    is_odd: bool = False,
) -> Linearised:
    r"""One step of the flow, from level n - 1 to level n, and its exponents.

    .. math:: T^{(n)} = \partial K^{(n)} / \partial K^{(n-1)}, \qquad y_i = \ln \lambda_i / \ln b

    :math:`y_T` is the largest of the even sector, :math:`y_h` that of the odd one. The errors of eigenvalues are to
    first order in those of the matrix, :math:`\delta\lambda_i = f_i\, \delta T\, e_i`, of jackknife replicates, so that
    none is taken for another.

    Args:
        moments: from `measure` or `moments`.
        rescaling: b, by which a step shrinks lengths.
        level: n, at least one.
        which: as for `jacobian`.
        is_odd: as for `jacobian`.

    Raises:
        ValueError: as `jacobian`, or a rescaling of at most one.
    """
    check_number("rescaling", rescaling, above=1)
    moved = _jacobian(as_moments("moments", moments), as_count("level", level) - 1, level, which, is_odd)
    found = scaling(jnp.asarray(moved.matrix), rescaling)
    fields, operators = np.asarray(found.fields), np.asarray(found.operators)
    changes = np.einsum("ia,bac,ic->bi", fields, moved.replicates - moved.matrix, operators)
    errors = np.sqrt((len(changes) - 1) * np.mean(np.abs(changes - changes.mean(axis=0)) ** 2, axis=0))
    relative = errors / np.maximum(np.abs(np.asarray(found.eigenvalues)), np.finfo(float).tiny)
    return Linearised(moved, found, errors, relative / np.log(float(rescaling)))


def as_moments(name: str, value: object) -> Moments:
    """`Moments` whose numbers are finite, or ValueError."""
    if not isinstance(value, Moments):
        raise ValueError(f"{name}: expected Moments of rg.monte_carlo.measure, got {kind_of(value)}")
    found = Moments(*(np.asarray(part, np.float64) for part in value))
    if len(found.counts) < 2:
        raise ValueError(f"{name}: expected at least two bins, got {len(found.counts)}")
    if not all(np.isfinite(part).all() for part in found):
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    return found


def as_which(which: Sequence[int] | np.ndarray | None, num_operators: int) -> np.ndarray:
    """Different indices of operators."""
    if which is None:
        return np.arange(num_operators)
    chosen = np.asarray(which)
    is_index = chosen.ndim == 1 and chosen.size and chosen.dtype.kind in "iu"
    if not is_index or len(set(chosen.tolist())) < len(chosen) or chosen.min() < 0 or chosen.max() >= num_operators:
        raise ValueError(f"which: expected different indices of {num_operators} operators, got {which!r}")
    return chosen


Part = tuple[int, np.ndarray]  # operators of a level


def left_out(moments: Moments, rows: Part, columns: Part, is_odd: bool) -> np.ndarray:
    """``[1 + num_bins, rows, columns]`` covariances of all bins together, and of all but each one."""
    weights = moments.counts / moments.counts.sum()
    covariances = moments.covariances[:, rows[0]][:, rows[1]][:, :, columns[0]][:, :, columns[1]]
    first, second = (moments.means[:, level][:, chosen] for level, chosen in (rows, columns))
    if not is_odd:
        first, second = first - weights @ first, second - weights @ second
    products = covariances + first[:, :, None] * second[:, None, :]
    together = np.tensordot(weights, products, 1)
    rest = (1 - weights)[:, None, None]
    others = (together - weights[:, None, None] * products) / rest
    if not is_odd:
        shift, other = (-(weights[:, None] * part) / rest[:, 0] for part in (first, second))
        others = others - shift[:, :, None] * other[:, None, :]
    return np.concatenate([together[None], others])


def left_out_means(moments: Moments, level: int, chosen: np.ndarray) -> np.ndarray:
    """``[1 + num_bins, operators]`` means of all bins together, and of all but each one."""
    weights = moments.counts / moments.counts.sum()
    means = moments.means[:, level][:, chosen]
    together = weights @ means
    return np.concatenate([together[None], together + weights[:, None] / (1 - weights)[:, None] * (together - means)])


def jackknife_error(replicates: np.ndarray) -> np.ndarray:
    """One standard deviation of the first entry, from the others, which leave one bin out each."""
    others = replicates[1:]
    return np.sqrt((len(others) - 1) * np.mean((others - others.mean(axis=0)) ** 2, axis=0))
