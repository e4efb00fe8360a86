"""Couplings in one operator basis: read exactly from a table of H, or measured from samples."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import check_count, check_shape, check_spins, is_traced
from jaxrg.lattice import Operators, evaluate
from jaxrg.transforms import num_bits, walsh

MAX_GRADIENT = 1e-4  # per site: float32 sums of a converged fit leave about 1e-7


class Projection(NamedTuple):
    """A Hamiltonian in a basis of operators.

    Attributes:
        couplings: ``[num_operators]`` K_a of :math:`H = -\\sum_a K_a O_a` + constant + rest.
        constant: the mean of H over all states.
        residual: standard deviation over all states of what the basis leaves out; 0 if it is complete.
    """

    couplings: Array
    constant: Array
    residual: Array


@functools.cache
def _multiplicities(operators: Operators) -> tuple[np.ndarray, np.ndarray]:
    """Distinct site sets as state-table indices ``[num_sets]``, and how often each operator holds them."""
    counts: dict[int, np.ndarray] = {}
    for a, terms in enumerate(operators.site_products()):
        for products in terms:
            for sites in products.tolist():
                subset = sum(1 << site for site in sites)
                counts.setdefault(subset, np.zeros(len(operators)))[a] += 1
    return np.array(list(counts), np.int64), np.stack(list(counts.values()))


def project(table: Array, operators: Operators) -> Projection:
    r"""Least-squares couplings of a Hamiltonian given on every state, exact if the basis is complete.

    The Walsh coefficients :math:`w_S` of H are minus its couplings, one for each set of sites; the basis holds the set
    S :math:`m_{aS}` times in operator a, and K minimises :math:`\sum_S (w_S + \sum_a K_a m_{aS})^2`, which is the mean
    square error over all states.

    Args:
        table: ``[2**num_sites]`` H in state-index order (site i is bit i, row-major).
        operators: the basis.

    Raises:
        ValueError: the table does not hold ``2**num_sites`` finite energies, or two operators are proportional on
            this lattice.

    Example:
        >>> from jaxrg import exact, lattice, models
        >>> chain = lattice.hypercubic((6,))
        >>> table = exact.energies(models.Ising(chain, 0.25).hamiltonian, (6,))
        >>> couplings = project(table, lattice.standard_operators(chain)).couplings
        >>> [round(abs(value), 6) for value in couplings.tolist()]
        [0.25, 0.0]
    """
    num_sites = operators.lattice.num_sites
    if num_bits(table) != num_sites:
        raise ValueError(
            f"table: expected 2**{num_sites} states of a lattice {operators.lattice.shape}, got {table.shape}"
        )
    if not is_traced(table) and not np.all(np.isfinite(np.asarray(table))):
        raise ValueError("table: expected finite energies, got NaN or infinity, which no finite couplings give")
    _, multiplicity = _multiplicities(operators)
    if np.linalg.matrix_rank(multiplicity) < len(operators):
        raise ValueError(f"operators: expected independent ones on {operators.lattice.shape}, got {operators.names}")
    return _project(table, operators)


@functools.partial(jax.jit, static_argnums=1)
def _project(table: Array, operators: Operators) -> Projection:
    subsets, multiplicity = _multiplicities(operators)
    coefficients = walsh(table)
    weights = jnp.asarray(np.linalg.pinv(multiplicity), table.dtype)
    couplings = -(weights @ coefficients[subsets])
    left = coefficients.at[subsets].add(jnp.asarray(multiplicity, table.dtype) @ couplings).at[0].set(0)
    return Projection(couplings, coefficients[0], jnp.sqrt(jnp.sum(left**2)))


class MeasuredCouplings(NamedTuple):
    """Couplings inferred from samples.

    Attributes:
        couplings: ``[num_operators]``.
        errors: ``[num_operators]`` one standard deviation, from the scatter between groups of samples.
        gradient_norm: largest component of the remaining gradient per site; small when Newton's method has converged.
    """

    couplings: Array
    errors: Array
    gradient_norm: Array


def pseudo_likelihood_couplings(
    samples: Array, operators: Operators, *, num_groups: int = 32, num_iterations: int = 12
) -> MeasuredCouplings:
    r"""Couplings that maximise the pseudo-likelihood of equilibrium samples.

    .. math:: \ln PL(K) = -\sum_{samples} \sum_x \ln\left(1 + e^{-2 s_x \sum_a K_a \partial O_a/\partial s_x}\right)

    It is concave, its maximum is consistent for samples of :math:`e^{\sum_a K_a O_a}`, and Newton's method finds it.
    Errors are the sandwich estimate from ``num_groups`` groups of consecutive samples: they hold if a group outlasts
    the autocorrelation time.

    Args:
        samples: ``[num_samples, *shape]`` ±1.
        operators: the basis.
        num_groups: groups of consecutive samples taken as independent.
        num_iterations: Newton steps from zero couplings.

    Raises:
        ValueError: samples of another shape, not ±1, or fewer than ``num_groups``.
        FloatingPointError: Newton's method did not converge, as on samples without any disorder.

    Reference:
        Besag, J. R. Stat. Soc. B 36, 192 (1974); Aurell & Ekeberg, Phys. Rev. Lett. 108, 090201 (2012).
    """
    if samples.ndim != operators.lattice.ndim + 1:
        raise ValueError(f"samples: expected shape [num_samples, *{operators.lattice.shape}], got {samples.shape}")
    check_shape("samples[0]", samples[0], operators.lattice.shape)
    check_spins("samples", samples)
    check_count("num_groups", num_groups, minimum=2)
    check_count("num_iterations", num_iterations)
    if len(samples) < num_groups:
        raise ValueError(f"samples: expected at least num_groups = {num_groups} samples, got {len(samples)}")
    found = _fit_pseudo_likelihood(samples, operators, num_groups, num_iterations)
    if not is_traced(found) and not float(found.gradient_norm) < MAX_GRADIENT:
        raise FloatingPointError(
            f"samples: expected a pseudo-likelihood with a maximum, got a gradient of {float(found.gradient_norm)} "
            f"after {num_iterations} steps; ordered samples have none"
        )
    return found


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _fit_pseudo_likelihood(samples: Array, operators: Operators, num_groups: int, num_iterations: int):
    dtype = jnp.result_type(float)
    num_operators = len(operators)
    per_group = samples.shape[0] // num_groups
    grouped = samples[: num_groups * per_group].reshape((num_groups, per_group, *operators.lattice.shape))

    def site_terms(spins: Array) -> Array:
        """``[num_operators, num_sites]`` s_x dO_a/ds_x."""
        values = spins.astype(dtype)
        slopes = jax.jacrev(functools.partial(evaluate, operators))(values)
        return (slopes * values[None]).reshape(num_operators, -1)

    def gradient_and_hessian(couplings: Array):
        """Per group: gradient ``[num_groups, a]`` and minus the Hessian ``[num_groups, a, a]``, per site and sample."""

        def one_sample(carry, spins):
            gradient, hessian = carry
            terms = site_terms(spins)
            wrong = jax.nn.sigmoid(-2 * (couplings @ terms))
            gradient = gradient + 2 * jnp.mean(terms * wrong[None, :], axis=1)
            weighted = terms * (wrong * (1 - wrong))[None, :]
            return (gradient, hessian + 4 * (weighted @ terms.T) / terms.shape[1]), None

        def one_group(group):
            start = (jnp.zeros((num_operators,), dtype), jnp.zeros((num_operators, num_operators), dtype))
            (gradient, hessian), _ = jax.lax.scan(one_sample, start, group)
            return gradient / per_group, hessian / per_group

        return jax.lax.map(one_group, grouped)

    def newton(couplings, _):
        gradients, hessians = gradient_and_hessian(couplings)
        return couplings + jnp.linalg.solve(jnp.mean(hessians, 0), jnp.mean(gradients, 0)), None

    couplings, _ = jax.lax.scan(newton, jnp.zeros((num_operators,), dtype), length=num_iterations)
    gradients, hessians = gradient_and_hessian(couplings)
    inverse = jnp.linalg.inv(jnp.mean(hessians, 0))
    centred = gradients - jnp.mean(gradients, 0)[None, :]
    covariance = inverse @ (centred.T @ centred) @ inverse / (num_groups * (num_groups - 1))
    return MeasuredCouplings(couplings, jnp.sqrt(jnp.diag(covariance)), jnp.max(jnp.abs(jnp.mean(gradients, 0))))
