"""Where the critical point is, by two lattices that are blocked to one size, and the critical manifold around it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxrg.checks import as_count, kind_of
from jaxrg.rg.monte_carlo.linearised import Jacobian, as_moments, as_which, jackknife_error, left_out, left_out_means
from jaxrg.rg.monte_carlo.moments import Moments


class MatchedLattices(NamedTuple):
    """How far the simulated coupling is from the critical one, by each operator and together; of NumPy.

    Attributes:
        shifts: ``[num_operators]`` :math:`K_c - K` from each operator alone.
        shift_errors: of these, one standard deviation.
        shift: their mean, weighted by the squared errors.
        shift_error: of it, with their correlations.
    """

    shifts: np.ndarray
    shift_errors: np.ndarray
    shift: float
    shift_error: float


def match_lattices(
    large: Moments, small: Moments, *, level: int, coupling: int = 0, which: Sequence[int] | np.ndarray | None = None
) -> MatchedLattices:
    r"""Critical coupling by matching a lattice after n steps with one of 1/b of its side after n - 1.

    .. math:: \langle S_a^{(n)} \rangle_L - \langle S_a^{(n-1)} \rangle_{L/b}
        + \delta K \left( \langle S_a^{(n)}; S^{(0)} \rangle_L - \langle S_a^{(n-1)}; S^{(0)} \rangle_{L/b} \right) = 0

    Both have the same number of block spins, so that finite sizes cancel, and at the critical point the same
    Hamiltonian but for what is irrelevant, which another level shows.

    Args:
        large: moments of the large lattice, from `measure` at the coupling K.
        small: of the small one, from another run at the same K; with the same operators.
        level: n, of the large lattice.
        coupling: index of the operator whose coupling is K.
        which: indices of the even operators to be matched, all by default.

    Raises:
        ValueError: no moments, levels or operators that they do not have.

    Reference:
        Wilson, in Recent Developments in Gauge Theories (Plenum, 1980); Swendsen, Phys. Rev. B 30, 3866 (1984).
    """
    big, little = as_moments("large", large), as_moments("small", small)
    level = as_count("level", level)
    if big.means.shape[2] != little.means.shape[2]:
        raise ValueError(f"small: expected {big.means.shape[2]} operators as in large, got {little.means.shape[2]}")
    if not (level < big.means.shape[1] and level <= little.means.shape[1]):
        raise ValueError(
            f"level: expected one below {big.means.shape[1]} whose finer one is below {little.means.shape[1]}, "
            f"got {level}"
        )
    chosen = as_which(which, big.means.shape[2])
    source = 0, as_which([coupling], big.means.shape[2])
    means, slopes = [], []
    for moments, place in ((big, level), (little, level - 1)):
        means.append(left_out_means(moments, place, chosen))
        slopes.append(left_out(moments, (place, chosen), source, False)[:, :, 0])
    # One run is held at its mean while the bins of the other are left out: the runs are independent.
    from_large = (means[1][0] - means[0]) / (slopes[0] - slopes[1][0])
    from_small = (means[1] - means[0][0]) / (slopes[0][0] - slopes[1])
    errors = np.hypot(jackknife_error(from_large), jackknife_error(from_small))
    weights = 1 / errors**2 / np.sum(1 / errors**2)
    together = np.hypot(jackknife_error(from_large @ weights), jackknife_error(from_small @ weights))
    return MatchedLattices(from_large[0], errors, float(from_large[0] @ weights), float(together))


class CriticalManifold(NamedTuple):
    """The directions in which couplings leave the critical manifold, and those along it; of NumPy.

    Attributes:
        normal: ``[num_operators]`` of unit length, its largest component positive.
        errors: of its components, one standard deviation.
        tangents: ``[num_operators - 1, num_operators]`` orthonormal, along the manifold.
        singular_values: ``[num_operators]`` of the rows in units of their errors; all but the first are of the order of
            one where the rows are parallel within their errors.
    """

    normal: np.ndarray
    errors: np.ndarray
    tangents: np.ndarray
    singular_values: np.ndarray


def critical_manifold(jacobian: Jacobian) -> CriticalManifold:
    r"""Tangent space of the critical manifold of one relevant coupling, from a Jacobian over enough steps.

    Changes of the first couplings along the manifold are forgotten,
    :math:`\sum_b \partial K_a^{(n)}/\partial K_b^{(0)}\, \delta K_b \to 0`, so that all rows of the Jacobian become
    parallel to its normal. Truncation of the operators does no harm.

    Args:
        jacobian: from `jacobian` with ``fine=0``, of the even sector.

    Raises:
        ValueError: no `Jacobian`, or one without errors.

    Reference:
        Wu & Car, Phys. Rev. E 100, 022138 (2019).
    """
    if not isinstance(jacobian, Jacobian):
        raise ValueError(f"jacobian: expected a Jacobian of rg.monte_carlo.jacobian, got {kind_of(jacobian)}")
    weights = np.sqrt(np.mean(np.asarray(jacobian.errors, np.float64) ** 2, axis=1))
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError("jacobian: expected rows with errors above zero")
    matrices = np.concatenate([jacobian.matrix[None], jacobian.replicates]) / weights[:, None]
    _, values, directions = np.linalg.svd(matrices)
    normals = directions[:, 0]
    largest = np.argmax(np.abs(normals[0]))
    normals = normals * np.sign(normals[:, largest])[:, None]
    return CriticalManifold(normals[0], jackknife_error(normals), directions[0, 1:], values[0])
