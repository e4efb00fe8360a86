"""Where a line of couplings meets the critical surface of a fixed point."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from jaxrg.base import PyTree
from jaxrg.checks import check_function, is_traced, kind_of
from jaxrg.closures import as_partial
from jaxrg.rg.fixed_points import FixedPoint, as_couplings, check_flow, on_vectors, scaling

NUM_LEVELS = 60  # at most; the distance from the limit shrinks by a factor at every level


class CriticalCoupling(NamedTuple):
    """Where a line of couplings is critical.

    Attributes:
        value: scalar t, of couplings t times the direction.
        change: by how much the last level moved it, the error of stopping there.
        num_levels: times that the flow was followed.
    """

    value: Array
    change: Array
    num_levels: Array


def critical_coupling(flow: Callable[[Any], Any], fixed: FixedPoint, direction: Any) -> CriticalCoupling:
    r"""The t at which the flow from t times a direction ends in a fixed point: that axis's critical coupling.

    .. math:: u(R^n(t\, e)) = 0, \qquad n \to \infty

    with the relevant scaling field u of the fixed point, linear about it. Each level takes one step of Newton's in t,
    by forward-mode differentiation through n maps, and the error falls as :math:`(\lambda_2^2 / \lambda_1)^n`.

    Args:
        flow: K' = R(K), as given to `fixed_point`.
        fixed: the fixed point, with one relevant direction.
        direction: couplings e like those of the fixed point, such as 1 for one of them and 0 for the others.

    Raises:
        ValueError: a fixed point without exactly one relevant eigenvalue, or a direction that is not like it or runs
            along the critical surface.
        FloatingPointError: the flow from the line does not come to the fixed point.

    Example:
        >>> from jaxrg import rg
        >>> def flow(k):  # decimation of the square lattice to K and L, with plaquettes left out
        ...     return jnp.array([2 * k[0] ** 2 + k[1], k[0] ** 2])
        >>> fixed = rg.fixed_point(flow, [0.3, 0.1])
        >>> round(float(critical_coupling(flow, fixed, [1.0, 0.0]).value), 4)
        0.3921

    Reference:
        Wilson, Rev. Mod. Phys. 47, 773 (1975).
    """
    check_function("flow", flow, of="couplings")
    if not isinstance(fixed, FixedPoint):
        raise ValueError(f"fixed: expected a FixedPoint of rg.fixed_point, got {kind_of(fixed)}")
    line = as_couplings("direction", direction)
    shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (line, fixed.couplings)]
    if jax.tree.structure(line) != jax.tree.structure(fixed.couplings) or shapes[0] != shapes[1]:
        raise ValueError(f"direction: expected couplings like the fixed point's, {shapes[1]}, got {shapes[0]}")
    compiled = as_partial(flow)
    check_flow(compiled, line)
    found, relevance = _critical_coupling(compiled, fixed.couplings, fixed.matrix, line)
    if is_traced(found):
        return found
    if np.sum(np.abs(relevance.eigenvalues) > 1) != 1:
        raise ValueError(
            f"fixed: expected one relevant eigenvalue, got {np.asarray(relevance.eigenvalues)}; leave out the "
            "couplings of the others, as odd ones are in a symmetric model"
        )
    if not np.isfinite(relevance.start):
        raise ValueError("direction: expected one that leaves the critical surface, got one along it")
    dtype = np.asarray(found.value).dtype
    if not float(found.change) <= np.sqrt(np.finfo(dtype).eps) * max(1.0, abs(float(found.value))):
        raise FloatingPointError(
            f"direction: expected a line from which the flow comes to the fixed point, got one where level "
            f"{int(found.num_levels)} moved t = {float(found.value):.6g} by {float(found.change):.3g}"
        )
    return found


class _Relevance(NamedTuple):
    eigenvalues: Array  # [n] of the linearised flow
    start: Array  # scalar, t by the linear map alone


@jax.jit
def _critical_coupling(
    flow: Partial, couplings: PyTree, matrix: Array, direction: PyTree
) -> tuple[CriticalCoupling, _Relevance]:
    line, unravel = ravel_pytree(direction)
    fixed = ravel_pytree(couplings)[0].astype(line.dtype)
    flow = Partial(on_vectors, flow, Partial(unravel))
    modes = scaling(matrix, 2.0)
    field = modes.fields[0].real.astype(line.dtype)
    tiny = 4 * jnp.finfo(line.dtype).eps
    start = jnp.dot(field, fixed) / jnp.dot(field, line)

    def distance(t: Array, num_levels: Array) -> Array:
        end = jax.lax.fori_loop(0, num_levels, lambda _, k: flow(k), t * line)
        return jnp.dot(field, end - fixed)

    def goes_on(state) -> Array:
        found, before = state
        is_small = found.change <= tiny * jnp.maximum(1, jnp.abs(found.value))
        # Rounding grows as the eigenvalue does: what is small and no longer shrinks is as good as it gets.
        is_over = is_small | ((found.change >= before) & (before <= jnp.sqrt(tiny)))
        return ~is_over & (found.num_levels < NUM_LEVELS) & jnp.isfinite(found.value)

    def advance(state):
        found, _ = state
        level = found.num_levels + 1
        height, slope = jax.jvp(lambda t: distance(t, level), (found.value,), (jnp.ones_like(found.value),))
        step = height / slope
        is_better = ~((jnp.abs(step) >= found.change) & (found.change <= jnp.sqrt(tiny)))
        value = jnp.where(is_better, found.value - step, found.value)
        return CriticalCoupling(value, jnp.abs(step), level), found.change

    big = jnp.asarray(jnp.inf, line.dtype)
    init = CriticalCoupling(start, big, jnp.int32(0))
    found, before = jax.lax.while_loop(goes_on, advance, (init, big))
    found = found._replace(change=jnp.minimum(found.change, before))
    return found, _Relevance(modes.eigenvalues, start)
