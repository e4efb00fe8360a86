"""Couplings in one operator basis: read exactly from a table of H, or measured from samples."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count, as_floating, as_spins, is_traced, kind_of
from jaxrg.lattice import Operators, evaluate
from jaxrg.transforms import moebius, walsh, zeta

# Newton's step in standard errors when it ends, and when it may count as ended although rounding stopped it before.
ENOUGH, MAX_STEP = 0.001, 0.05
MIN_SCALE = 2**-10  # of a step that rounding keeps from going up


class Projection(NamedTuple):
    """A Hamiltonian in a basis of operators.

    Attributes:
        couplings: ``[num_operators]`` K_a of :math:`H = -\\sum_a K_a O_a` + constant + rest.
        constant: the mean of H over all states; of occupations, H of the empty lattice.
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
    # Only tables, of at most 30 sites, are indexed by them; larger lattices need how often alone. JAX remembers how an
    # array is indexed, and of 64 bits not whether they were allowed.
    is_index = max(counts, default=0) < 2**31
    return np.array(list(counts), np.int32 if is_index else object), np.stack(list(counts.values()))


@functools.cache
def _patterns(operators: Operators) -> np.ndarray:
    """How often each operator holds every set of sites, ``[num_patterns, num_operators]``, sets up to translations."""
    lattice, counts = operators.lattice, {}
    wraps = np.where(lattice.periodic, lattice.shape, 0)
    for a, (orbit, products) in enumerate(zip(operators.terms, operators.site_products(), strict=True)):
        for term, sites in zip(orbit, products, strict=True):
            moved = [np.subtract(term, origin) for origin in term]
            wrapped = [np.where(wraps > 0, offsets % np.maximum(wraps, 1), offsets).tolist() for offsets in moved]
            pattern = min(tuple(sorted(map(tuple, offsets))) for offsets in wrapped)
            counts.setdefault(pattern, np.zeros(len(operators)))[a] += len(sites) > 0
    return np.stack(list(counts.values()))


def check_operators(operators: Operators) -> None:
    """Raise ValueError unless no operator is a combination of the others on this lattice."""
    if not isinstance(operators, Operators):
        raise ValueError(f"operators: expected lattice.Operators, got {kind_of(operators)}")
    multiplicity = _patterns(operators)
    for a in range(1, len(operators)):
        before, column = multiplicity[:, :a], multiplicity[:, a]
        combination = np.linalg.lstsq(before, column)[0]
        if np.allclose(before @ combination, column):
            raise ValueError(
                f"operators: expected independent ones on {operators.lattice.shape}, got {operators.names[a]} = "
                f"{_combined(combination, operators.names[:a])}"
            )


def _combined(coefficients: np.ndarray, names: tuple[str, ...]) -> str:
    """A linear combination in words."""
    terms = [f"{value:.4g} {name}" for value, name in zip(coefficients, names, strict=True) if abs(value) > 1e-6]
    return " + ".join(terms).replace("+ -", "- ")


def project(table: Array, operators: Operators) -> Projection:
    r"""Least-squares couplings of a Hamiltonian given on every state, exact if the basis is complete.

    The Walsh coefficients :math:`w_S` of H are minus its couplings, one for each set of sites; the basis holds the set
    S :math:`m_{aS}` times in operator a, and K minimises :math:`\sum_S (w_S + \sum_a K_a m_{aS})^2`, which is the mean
    square error over all states.

    Args:
        table: ``[2**num_sites]`` H in state-index order (site i is bit i, row-major).
        operators: the basis.

    Raises:
        ValueError: the table does not hold ``2**num_sites`` finite energies, or one operator is a combination of
            others on this lattice.

    Example:
        >>> from jaxrg import exact, lattice, models
        >>> chain = lattice.hypercubic((6,))
        >>> table = exact.energies(models.Ising(chain, 0.25).hamiltonian, (6,))
        >>> couplings = project(table, lattice.standard_operators(chain)).couplings
        >>> [round(abs(value), 6) for value in couplings.tolist()]
        [0.25, 0.0]
    """
    return _project(_as_table(table, operators), operators)


def _as_table(table: Array, operators: Operators) -> Array:
    """Finite energies of every state of the operators' lattice, and operators that can be told apart."""
    check_operators(operators)
    table = as_floating("table", table)
    num_sites = operators.lattice.num_sites
    if table.shape != (2**num_sites,):
        raise ValueError(
            f"table: expected 2**{num_sites} states of a lattice {operators.lattice.shape}, got {table.shape}"
        )
    if not is_traced(table) and not np.all(np.isfinite(np.asarray(table))):
        raise ValueError("table: expected finite energies, got NaN or infinity, which no finite couplings give")
    return table


@functools.partial(jax.jit, static_argnums=1)
def _project(table: Array, operators: Operators) -> Projection:
    subsets, multiplicity = _multiplicities(operators)
    coefficients = walsh(table)
    weights = jnp.asarray(np.linalg.pinv(multiplicity), table.dtype)
    couplings = -(weights @ coefficients[subsets])
    left = coefficients.at[subsets].add(jnp.asarray(multiplicity, table.dtype) @ couplings).at[0].set(0)
    return Projection(couplings, coefficients[0], jnp.sqrt(jnp.sum(left**2)))


def project_lattice_gas(table: Array, operators: Operators) -> Projection:
    r"""Couplings of occupations n = (1 + s)/2 of a Hamiltonian given on every state.

    The Harsanyi dividends of -H are its couplings J, one for each set of sites; the basis holds the set S
    :math:`m_{aS}` times in operator a, and J minimises :math:`\sum_S (J_S - \sum_a J_a m_{aS})^2` over the sets it
    holds. Unlike those of spins, they do not depend on what else the basis holds.

    Args:
        table: ``[2**num_sites]`` H in state-index order.
        operators: the basis, products of occupations in place of spins.

    Returns:
        Couplings of :math:`H = -\sum_a J_a O_a(n)` + constant + rest; the constant is H of the empty lattice, and the
        residual the standard deviation of the rest over all states.

    Raises:
        ValueError: as `project`.

    Example:
        >>> from jaxrg import lattice
        >>> pair = lattice.standard_operators(lattice.hypercubic((3,)), ["field", "nearest_neighbour"])
        >>> occupied = jnp.array([0, 1, 1, 2, 1, 2, 2, 3], jnp.float32)
        >>> project_lattice_gas(-0.5 * occupied, pair).couplings.tolist()
        [0.5, 0.0]

    Reference:
        Kennedy, J. Stat. Phys. 140, 409 (2010), arXiv:0905.2601.
    """
    return _project_lattice_gas(_as_table(table, operators), operators)


@functools.partial(jax.jit, static_argnums=1)
def _project_lattice_gas(table: Array, operators: Operators) -> Projection:
    subsets, multiplicity = _multiplicities(operators)
    dividends = moebius(-table)
    couplings = jnp.asarray(np.linalg.pinv(multiplicity), table.dtype) @ dividends[subsets]
    rest = zeta(dividends.at[subsets].add(-jnp.asarray(multiplicity, table.dtype) @ couplings))
    return Projection(couplings, -dividends[0], jnp.std(rest))


class MeasuredCouplings(NamedTuple):
    """Couplings inferred from samples.

    Attributes:
        couplings: ``[num_operators]``.
        errors: ``[num_operators]`` one standard deviation, from the scatter between groups of samples.
        gradient_norm: largest component of the remaining gradient per site.
        is_converged: whether Newton's method came within a twentieth of an error of the maximum. Outside of a
            transformation it did, or an error was raised; inside, all numbers are NaN where it did not.
    """

    couplings: Array
    errors: Array
    gradient_norm: Array
    is_converged: Array


def pseudo_likelihood_couplings(
    samples: Array, operators: Operators, *, num_groups: int = 32, num_iterations: int = 50
) -> MeasuredCouplings:
    r"""Couplings that maximise the pseudo-likelihood of equilibrium samples.

    .. math:: \ln PL(K) = -\sum_{samples} \sum_x \ln\left(1 + e^{-2 s_x \sum_a K_a \partial O_a/\partial s_x}\right)

    It is concave, its maximum is consistent for samples of :math:`e^{\sum_a K_a O_a}`, and Newton's method with
    backtracking finds it, if there is one: samples may be so ordered that a combination of the operators never opposes
    a spin, and the pseudo-likelihood grows for ever along it. Those are refused.

    Errors are those of a jackknife over ``num_groups`` groups of consecutive samples, whose sizes differ by one at
    most, and never less than those of independent sites. They hold if a group outlasts the autocorrelation time. Where
    few samples decide, as in an ordered phase, they are a little too small, and the couplings of those sets that have a
    maximum are biased: of 512 samples of a 4x4 torus at K = 0.6, half of the sets have none and the mean square of the
    others' deviations is 1.6 squared errors at most; it is 1.3 of 2,048 samples and 1.1 of 8,192.

    Args:
        samples: ``[num_samples, *shape]`` ±1.
        operators: the basis.
        num_groups: groups of consecutive samples taken as independent.
        num_iterations: steps of Newton's method at most, halved ones included.

    Raises:
        ValueError: samples of another shape, not ±1, or fewer than ``num_groups``; or operators of which one is a
            combination of others on this lattice.
        FloatingPointError: the pseudo-likelihood has no maximum, and along which combination it grows for ever; or
            Newton's method did not come to its end.

    Reference:
        Besag, J. R. Stat. Soc. B 36, 192 (1974); Aurell & Ekeberg, Phys. Rev. Lett. 108, 090201 (2012); Albert &
        Anderson, Biometrika 71, 1 (1984) for the maximum.
    """
    check_operators(operators)
    spins = as_spins("samples", samples)
    lattice = operators.lattice
    if spins.ndim != lattice.ndim + 1 or spins.shape[1:] != lattice.shape:
        raise ValueError(f"samples: expected shape [num_samples, *{lattice.shape}], got {spins.shape}")
    num_groups, num_iterations = (
        as_count("num_groups", num_groups, minimum=2),
        as_count("num_iterations", num_iterations),
    )
    if len(spins) < num_groups:
        raise ValueError(f"samples: expected at least num_groups = {num_groups} samples, got {len(spins)}")
    found = _fit_pseudo_likelihood(spins, np.int32(num_iterations), operators, num_groups)
    if not is_traced(found) and not bool(found.is_converged):
        raise FloatingPointError(_why_not(spins, operators, num_iterations))
    return found


def _why_not(spins: Array, operators: Operators, num_iterations: int) -> str:
    """Why there is no maximum, in words."""
    from scipy.optimize import linprog  # a dependency of JAX, needed here alone

    # A direction d with d t >= 0 for the terms t of all sites of all samples, and not always zero, is one along which
    # the pseudo-likelihood grows for ever; the linear programme finds one if there is any.
    terms = np.unique(np.asarray(_all_terms(spins, operators)).reshape(-1, len(operators)), axis=0)
    solution = linprog(-np.sum(terms, axis=0), A_ub=-terms, b_ub=np.zeros(len(terms)), bounds=(-1, 1))
    if solution.status == 0 and -solution.fun > 1e-6:
        return (
            f"samples: expected a pseudo-likelihood with a maximum, got one that grows for ever along "
            f"{_combined(solution.x / np.max(np.abs(solution.x)), operators.names)}, which opposes no spin of any "
            "sample: take more samples, or fewer operators"
        )
    return f"num_iterations: expected enough steps of Newton's method to converge, got {num_iterations}"


def _site_terms(spins: Array, operators: Operators, dtype: np.dtype) -> Array:
    """``[num_operators, num_sites]`` s_x dO_a/ds_x of one configuration."""
    values = spins.astype(dtype)
    values = jnp.where(jnp.abs(values) == 1, values, jnp.nan)  # inside a jit nobody can look at the values
    slopes = jax.jacrev(functools.partial(evaluate, operators))(values)
    return (slopes * values[None]).reshape(len(operators), -1)


@functools.partial(jax.jit, static_argnums=1)
def _all_terms(samples: Array, operators: Operators) -> Array:
    """``[num_samples, num_sites, num_operators]``, small integers."""
    return jax.lax.map(lambda spins: _site_terms(spins, operators, jnp.float32).T.astype(jnp.int16), samples)


class _Point(NamedTuple):
    """Where Newton's method stands; all per site and sample."""

    couplings: Array  # [a]
    gradients: Array  # [num_groups, a]
    hessians: Array  # [num_groups, a, a] minus the second derivative
    inverse: Array  # [a, a] of their sum
    step: Array  # [a] that Newton's method takes next

    def is_within(self, num_errors: float) -> Array:
        """Whether the next step is small against the errors from the scatter of the groups' gradients.

        Where there is no maximum the groups agree on the direction, and these errors stay below a step.
        """
        errors = jnp.sqrt(jnp.sum((self.gradients @ self.inverse) ** 2, axis=0))
        return jnp.all(jnp.abs(self.step) <= num_errors * errors)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _fit_pseudo_likelihood(
    samples: Array, num_iterations: Array | np.int32, operators: Operators, num_groups: int
) -> MeasuredCouplings:
    dtype = jnp.result_type(float)
    num_samples, num_operators = len(samples), len(operators)
    group_of = jnp.asarray(np.arange(num_samples) * num_groups // num_samples, jnp.int32)  # sizes differ by one at most

    def point(couplings: Array) -> _Point:
        def one_sample(sums, sample):
            spins, group = sample
            terms = _site_terms(spins, operators, dtype)
            wrong = jax.nn.sigmoid(-2 * (couplings @ terms))
            weighted = terms * (wrong * (1 - wrong))[None, :]
            gradients, hessians = sums
            return (
                gradients.at[group].add(2 * jnp.mean(terms * wrong[None, :], axis=1)),
                hessians.at[group].add(4 * (weighted @ terms.T) / terms.shape[1]),
            ), None

        shapes = (num_groups, num_operators), (num_groups, num_operators, num_operators)
        sums, _ = jax.lax.scan(one_sample, tuple(jnp.zeros(shape, dtype) for shape in shapes), (samples, group_of))
        gradients, hessians = (leaf / num_samples for leaf in sums)
        inverse = jnp.linalg.inv(jnp.sum(hessians, 0))
        return _Point(couplings, gradients, hessians, inverse, inverse @ jnp.sum(gradients, 0))

    def goes_on(state: tuple[_Point, Array, Array]) -> Array:
        here, scale, count = state
        is_done = here.is_within(ENOUGH) | (scale < MIN_SCALE) | ~jnp.all(jnp.isfinite(here.step))
        return (count == 0) | ((count <= num_iterations) & ~is_done)

    def advance(state: tuple[_Point, Array, Array]) -> tuple[_Point, Array, Array]:
        here, scale, count = state
        there = point(here.couplings + scale * here.step)
        # The slope along the step, of which rounding leaves more than of the value; a half beyond the top is near it.
        before, after = (jnp.sum(place.gradients, 0) @ here.step for place in (here, there))
        is_better = (count == 0) | (after >= -before / 2)
        kept = jax.tree.map(lambda new, old: jnp.where(is_better, new, old), there, here)
        return kept, jnp.where(is_better, 1, scale / 2).astype(dtype), count + 1

    # The first pass is at zero couplings.
    start = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, dtype), jax.eval_shape(point, jax.ShapeDtypeStruct((num_operators,), dtype))
    )
    here, *_ = jax.lax.while_loop(goes_on, advance, (start, jnp.ones((), dtype), jnp.int32(0)))
    total = jnp.sum(here.hessians, 0)
    # Leaving a group out moves the maximum by this, to first order in the group's gradient.
    moves = jax.vmap(lambda hessian, gradient: jnp.linalg.solve(total - hessian, gradient))(
        here.hessians, here.gradients
    )
    scatter = jnp.sum((moves - jnp.mean(moves, 0)[None, :]) ** 2, axis=0) * (num_groups - 1) / num_groups
    independent = jnp.diag(here.inverse) / (num_samples * operators.lattice.num_sites)
    errors = jnp.sqrt(jnp.maximum(scatter, independent))
    is_converged = here.is_within(MAX_STEP) & jnp.all(jnp.isfinite(errors))
    left = jnp.max(jnp.abs(jnp.sum(here.gradients, 0)))
    couplings, errors, left = (jnp.where(is_converged, value, jnp.nan) for value in (here.couplings, errors, left))
    return MeasuredCouplings(couplings, errors, left, is_converged)
