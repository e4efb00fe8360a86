r"""Couplings in the zero-sum gauge, which of spins are those of products, exactly and for layers of any size.

A hidden unit adds :math:`g(x_S + X) = \ln 2\cosh(b + \sum_{i \in S} W_i s_i + X)` to -H, where X is the field of the
other units. Its coupling to the set S is the mean over all other units, alternating in those of S. With the Fourier
transform :math:`-\pi / (t \sinh(\pi t / 2))` of g and independent units the mean over :math:`2^N` states is a product,

.. math:: K_S = -\int_{-\infty}^\infty \frac{dt}{2\pi}\, \frac{\pi\, e^{ibt}}{t \sinh(\pi t/2)}
    \prod_{j \in S} i \sin(W_j t) \prod_{i \notin S} \cos(W_i t),

and the midpoint rule sums it with an error that falls exponentially: aliases of g are as far away as 2π over the step.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.checks import as_integers, check_number, is_traced
from jaxrg.rbm.energy import RBM, as_machine
from jaxrg.rbm.units.gaussian import Gaussian
from jaxrg.rbm.units.spins import Binary, Spins

ELEMENTS = 2**22  # numbers of one array at once
TAIL = 8  # standard deviations beyond which a Gaussian is below rounding


def of_sets(machine: RBM, sets: Any, *, max_field: float | None = None) -> Array:
    r"""Couplings of sets of visible units in H of the visible layer, exact whatever the size of the layers.

    .. math:: H(v) = -\sum_S K_S \prod_{i \in S} v_i + \text{constant}

    of spins. For Potts units :math:`-H = \sum_S K_S(v_S)` with :math:`\sum_{v_i} K_S(v_S) = 0` for every i of S: the
    zero-sum gauge, in which a coupling is what no smaller set explains in the mean over all states. The cost is
    ``num_sets * num_hidden`` times some tens of nodes of a quadrature, more the larger the fields.

    Args:
        machine: of visible `Spins`, `Binary` or other units of few states, hidden `Spins`, `Binary` or `Gaussian`.
            `Binary` units are read as the spins 2 v - 1; see `lattice_gas` for their own products.
        sets: ``[num_sets, k]`` indices of k different visible units each; k = 1 gives the fields.
        max_field: a bound on :math:`|b_a| + \sum_i \max |W_{ia} \phi|` over the hidden units, which decides the number
            of nodes; needed, and then checked, where the machine is traced. Without it the bound is a power of two, and
            a machine beyond it compiles anew.

    Returns:
        ``[num_sets]`` K of spins, or ``[num_sets, q, ..., q]`` of units of q states, whose couplings sum to zero over
        every axis. In float32 they are good to about 1e-6 of the largest weight. NaN where, inside a jit, ``max_field``
        is exceeded or a set is not of different units.

    Raises:
        ValueError: sets that are not of different units, units of other kinds, or no ``max_field`` inside a jit.

    Example:
        >>> machine = RBM(jnp.array([[0.5], [0.5], [0.5]]), jnp.zeros(3), jnp.zeros(1))
        >>> [round(coupling, 5) for coupling in of_sets(machine, [[0, 1], [0, 2]]).tolist()]
        [0.18383, 0.18383]

    Reference:
        Decelle, Furtlehner, Gómez & Seoane, SciPost Phys. 16, 095 (2024), for the sum over states, in its limit of
        large layers; Jansma, Phys. Rev. Res. 5, 023016 (2023), for what the gauge means.
    """
    machine, bound = _as_problem(machine, max_field)
    return _of_sets(machine, as_sets(sets, machine), bound, num_nodes=_num_nodes(machine, bound))


def gaussian_approximation(machine: RBM, sets: Any, *, max_field: float | None = None) -> Array:
    r"""`of_sets` with the field of all other units taken for a Gaussian: what its error is, the difference says.

    .. math:: \prod_{i \notin S} \cos(W_i t) \to e^{-t^2 \sum_{i \notin S} W_i^2 / 2}

    It is right for many small weights, as of a fully connected machine, and wrong for few large ones, as local
    receptive fields have. Spins or Binary units only.

    Raises:
        ValueError: as `of_sets`, and units of other kinds.

    Example:
        >>> machine = RBM(jnp.full((6, 1), 0.5), jnp.zeros(6), jnp.zeros(1))
        >>> exact, found = of_sets(machine, [[0, 1]]), gaussian_approximation(machine, [[0, 1]])
        >>> round(float(exact[0]), 4), round(float(found[0]), 4)
        (0.1414, 0.1443)

    Reference:
        Decelle, Furtlehner, Gómez & Seoane, SciPost Phys. 16, 095 (2024).
    """
    machine, bound = _as_problem(machine, max_field)
    if not isinstance(machine.visible_units, Spins) or not isinstance(machine.hidden_units, Spins):
        raise ValueError(
            f"machine: expected Spins or Binary in both layers, got {machine.visible_units} and {machine.hidden_units}"
        )
    bound = TAIL * bound  # a Gaussian has no largest value, and its deviation is at most the largest field
    return _gaussian_approximation(machine, as_sets(sets, machine), bound, num_nodes=_num_nodes(machine, bound))


def pairs(machine: RBM, *, max_field: float | None = None) -> Array:
    """`of_sets` of all pairs of visible units, as matrix products.

    Returns:
        ``[num_visible, num_visible]`` symmetric, with zeros on the diagonal; of units of q states
        ``[num_visible, q, num_visible, q]``.

    Raises:
        ValueError: as `of_sets`.

    Example:
        >>> machine = RBM(jnp.array([[0.5], [0.5], [0.5]]), jnp.zeros(3), jnp.zeros(1))
        >>> [round(coupling, 5) for coupling in pairs(machine)[0].tolist()]
        [0.0, 0.18383, 0.18383]
    """
    machine, bound = _as_problem(machine, max_field)
    return _pairs(machine, bound, num_nodes=_num_nodes(machine, bound))


def _as_problem(machine: Any, max_field: float | None) -> tuple[RBM, np.ndarray]:
    """A machine of visible spins or states and hidden Spins or Gaussian, and a bound on its hidden fields."""
    machine = as_machine(machine)
    if machine.visible_units.num_states is None or not isinstance(machine.hidden_units, Spins | Binary | Gaussian):
        raise ValueError(
            "machine: expected visible units of few states and hidden Spins, Binary or Gaussian, got "
            f"{machine.visible_units} and {machine.hidden_units}"
        )
    if max_field is not None:
        check_number("max_field", max_field, above=0)
    elif is_traced(machine):
        raise ValueError("max_field: expected a bound on the hidden fields where the machine is traced, got None")
    machine, largest = _as_plain(machine)
    found = max_field if is_traced(largest) else float(largest)
    if found is None or not math.isfinite(found):
        raise ValueError("machine: expected finite parameters, got NaN or infinity")
    if max_field is not None and found > max_field:
        raise ValueError(f"max_field: expected at least the largest hidden field, {found}, got {max_field}")
    # A power of two, so that most machines of one shape share a program.
    bound = 2.0 ** math.ceil(math.log2(max(found if max_field is None else max_field, 1)))
    return machine, np.asarray(bound, machine.weights.dtype)


def as_sets(sets: Any, machine: RBM) -> Array:
    sets = as_integers("sets", sets, minimum=0, maximum=machine.num_visible - 1)
    if sets.ndim != 2 or not sets.size:
        raise ValueError(f"sets: expected [num_sets, k] indices of visible units, got shape {tuple(sets.shape)}")
    if not is_traced(sets):
        ordered = np.sort(np.asarray(sets), axis=1)
        is_wrong = np.any(ordered[:, 1:] == ordered[:, :-1], axis=1)
        if np.any(is_wrong):
            raise ValueError(f"sets: expected different units in a set, got {np.asarray(sets)[is_wrong][0].tolist()}")
    return sets


def of_known(values: Array, sets: Array, num_visible: int) -> Array:
    """Couplings ``[num_sets, ...]``, NaN of sets that are none: inside a jit nobody can look at them."""
    ordered = jnp.sort(sets, axis=1)
    is_known = (ordered[:, 0] >= 0) & (ordered[:, -1] < num_visible)
    is_known &= jnp.all(ordered[:, 1:] != ordered[:, :-1], axis=1)
    return jnp.where(is_known.reshape(-1, *[1] * (values.ndim - 1)), values, jnp.nan)


def _num_nodes(machine: RBM, bound: np.ndarray) -> int:
    """Midpoints up to where exp(-π t / 2) falls below rounding."""
    reach = 4 / math.pi * _margin(machine)
    return math.ceil(reach * (float(bound) + _margin(machine)) / (2 * math.pi))


def _margin(machine: RBM) -> float:
    """Half the logarithm of rounding: as far beyond the largest field g is linear, exp(-2 x) aside."""
    return -math.log(float(jnp.finfo(machine.weights.dtype).eps) / 64) / 2


@jax.jit
def _as_plain(machine: RBM) -> tuple[RBM, Array]:
    """Binary units written as spins, up to constants in H, and the largest hidden field there can be."""
    if isinstance(machine.hidden_units, Binary):  # softplus x = x/2 + ln 2cosh(x/2)
        machine = machine._replace(
            weights=machine.weights / 2,
            hidden_bias=machine.hidden_bias / 2,
            visible_bias=machine.visible_bias + jnp.sum(machine.weights, axis=1) / 2,
            hidden_units=Spins(),
        )
    if isinstance(machine.visible_units, Binary):
        machine = machine._replace(
            weights=machine.weights / 2,
            hidden_bias=machine.hidden_bias + jnp.sum(machine.weights, axis=0) / 2,
            visible_bias=machine.visible_bias / 2,
            visible_units=Spins(),
        )
    return machine, _largest_field(machine)


def _by_state(machine: RBM, of_features: Array) -> Array:
    """``[..., num_visible, q]`` what a visible unit in each of its states contributes."""
    features = machine.visible_units.state_features(machine.weights.dtype)
    by_unit = of_features.reshape(*of_features.shape[:-1], machine.num_visible, -1)
    return jnp.einsum("qf,...nf->...nq", features, by_unit, precision="highest")


def _largest_field(machine: RBM) -> Array:
    largest = jnp.sum(jnp.max(jnp.abs(_by_state(machine, machine.weights.T)), axis=2), axis=1)
    return jnp.max(jnp.abs(machine.hidden_bias) + largest)


class _Nodes(NamedTuple):
    """Products over all units at some nodes of some hidden units, and what a unit of a set changes in one."""

    common: Array  # [block] weight of the quadrature times the characteristic function of all units
    ratios: Array  # [block, num_visible, q], or [block, num_visible] of spins


def _midpoints(machine: RBM, bound: Array, index: Array, num_nodes: int) -> tuple[Array, Array, Array]:
    """Hidden unit, t and weight of nodes ``index`` of ``num_hidden * num_nodes``; those beyond have no weight."""
    num_hidden = machine.weights.shape[1]
    unit, node = jnp.minimum(index // num_nodes, num_hidden - 1), index % num_nodes
    step = 2 * jnp.pi / (bound + _margin(machine))
    t = (node.astype(machine.weights.dtype) + 0.5) * step
    # Both signs of t together; the transform of g is that of its second derivative, sech², over -t².
    weight = -step / (t * jnp.sinh(jnp.pi * t / 2))
    return unit, t, jnp.where(index < num_hidden * num_nodes, weight, 0)


def _nodes(machine: RBM, bound: Array, index: Array, num_nodes: int, order: int) -> _Nodes:
    """What the nodes contribute to couplings of this order."""
    unit, t, weight = _midpoints(machine, bound, index, num_nodes)
    bias = machine.hidden_bias[unit]
    if isinstance(machine.visible_units, Spins):
        angles = machine.weights.T[unit] * t[:, None]
        cosines = jnp.cos(angles)
        common = weight * jnp.cos(bias * t + order * jnp.pi / 2)
        return _Nodes(common * jnp.prod(cosines, axis=1), jnp.sin(angles) / cosines)
    angles = _by_state(machine, machine.weights.T)[unit] * t[:, None, None]
    # exp(i x) - 1, without the cancellation that small t would bring
    shifted = jax.lax.complex(-2 * jnp.sin(angles / 2) ** 2, jnp.sin(angles))
    mean = jnp.mean(shifted, axis=2, keepdims=True)
    phase = jax.lax.complex(weight * jnp.cos(bias * t), weight * jnp.sin(bias * t))
    common = phase * jnp.prod(1 + mean[..., 0], axis=1)
    return _Nodes(common, (shifted - mean) / (1 + mean))


def _sum_of_nodes(add: Callable, init: Array, num_nodes: int, block: int) -> Array:
    """``total = add(total, index [block])`` over all nodes of all hidden units; derivatives recompute the blocks."""
    num_blocks = -(-num_nodes // block)
    body = jax.checkpoint(lambda total, start: (add(total, start + jnp.arange(block, dtype=jnp.int32)), None))  # type: ignore
    return lax.scan(body, init, jnp.arange(num_blocks, dtype=jnp.int32) * block)[0]


def _of_each(ratios: Array, sets: Array) -> Array:
    """``[block, num_sets, q, ..., q]`` products of what the units of a set change."""
    product = ratios[:, sets[:, 0]]
    for column in range(1, sets.shape[1]):
        of_next = ratios[:, sets[:, column]]
        if ratios.ndim == 3:
            of_next = of_next.reshape(*of_next.shape[:2], *(1,) * (product.ndim - 2), -1)
            product = product[..., None]
        product = product * of_next
    return product


def _centred(values: Array) -> Array:
    return values - jnp.mean(values, axis=-1, keepdims=True)


@functools.partial(jax.jit, static_argnames="num_nodes")
def _of_sets(machine: RBM, sets: Array, bound: Array, *, num_nodes: int) -> Array:
    num_sets, order = sets.shape
    is_spin = isinstance(machine.visible_units, Spins)
    num_states = 1 if is_spin else machine.visible_units.num_states or 1
    shape = (num_sets,) if is_spin else (num_sets,) + (num_states,) * order
    total = jnp.zeros(shape, machine.weights.dtype)
    if isinstance(machine.hidden_units, Gaussian):
        total = total + _of_gaussian_units(machine, sets)
    else:
        block = max(1, ELEMENTS // max(machine.num_visible * num_states, num_sets * num_states**order))
        all_nodes = machine.weights.shape[1] * num_nodes

        def add(total: Array, index: Array) -> Array:
            common, ratios = _nodes(machine, bound, index, num_nodes, order)
            return total + jnp.tensordot(common, _of_each(ratios, sets), 1, precision="highest").real

        total = _sum_of_nodes(add, total, all_nodes, min(block, all_nodes))
    if order == 1:
        bias = machine.visible_bias if is_spin else _centred(_by_state(machine, machine.visible_bias))
        total = total + bias[sets[:, 0]]
    return of_known(jnp.where(_largest_field(machine) <= bound, total, jnp.nan), sets, machine.num_visible)


@functools.partial(jax.jit, static_argnames="num_nodes")
def _gaussian_approximation(machine: RBM, sets: Array, bound: Array, *, num_nodes: int) -> Array:
    num_sets, order = sets.shape

    def add(total: Array, index: Array) -> Array:
        unit, t, weight = _midpoints(machine, bound, index, num_nodes)
        angles = machine.weights.T[unit] * t[:, None]
        of_sets = angles[:, sets]
        spread = jnp.sum(angles**2, axis=1)[:, None] - jnp.sum(of_sets**2, axis=2)
        common = weight * jnp.cos(machine.hidden_bias[unit] * t + order * jnp.pi / 2)
        means = jnp.exp(-spread / 2) * jnp.prod(jnp.sin(of_sets), axis=2)
        return total + jnp.matmul(common, means, precision="highest")

    all_nodes = machine.weights.shape[1] * num_nodes
    block = min(max(1, ELEMENTS // max(machine.num_visible, num_sets * order)), all_nodes)
    total = _sum_of_nodes(add, jnp.zeros(num_sets, machine.weights.dtype), all_nodes, block)
    if order == 1:
        total = total + machine.visible_bias[sets[:, 0]]
    return of_known(jnp.where(TAIL * _largest_field(machine) <= bound, total, jnp.nan), sets, machine.num_visible)


def _of_gaussian_units(machine: RBM, sets: Array) -> Array | float:
    """Couplings of ln ∫ exp(x h - γ h²/2) dh = x²/2γ + constant: fields and pairs alone."""
    order, units = sets.shape[1], machine.hidden_units
    if order > 2 or not isinstance(units, Gaussian):
        return 0.0
    variance = 1 / units.precision(machine.weights.shape[1], machine.weights.dtype)
    states = _by_state(machine, machine.weights.T)  # [a, n, q]
    if isinstance(machine.visible_units, Spins):
        if order == 2:
            return jnp.einsum("as,as,a->s", *(machine.weights.T[:, sets[:, k]] for k in (0, 1)), variance)
        return jnp.einsum("as,a,a->s", machine.weights.T[:, sets[:, 0]], machine.hidden_bias, variance)
    deviations, means = _centred(states), jnp.mean(states, axis=2)
    if order == 2:
        return jnp.einsum("asp,asq,a->spq", *(deviations[:, sets[:, k]] for k in (0, 1)), variance)
    others = machine.hidden_bias[:, None] + jnp.sum(means, axis=1, keepdims=True) - means
    of_units = deviations * others[..., None] + _centred(states**2) / 2
    return jnp.einsum("asq,a->sq", of_units[:, sets[:, 0]], variance)


@functools.partial(jax.jit, static_argnames="num_nodes")
def _pairs(machine: RBM, bound: Array, *, num_nodes: int) -> Array:
    is_spin = isinstance(machine.visible_units, Spins)
    num_states = 1 if is_spin else machine.visible_units.num_states or 1
    num_visible, dtype = machine.num_visible, machine.weights.dtype
    size = num_visible * num_states
    if isinstance(machine.hidden_units, Gaussian):
        precision = machine.hidden_units.precision(machine.weights.shape[1], dtype)
        states = machine.weights.T if is_spin else _centred(_by_state(machine, machine.weights.T))
        rows = states.reshape(-1, size) / jnp.sqrt(precision)[:, None]
        total = jnp.matmul(rows.T, rows, precision="highest")
    else:
        all_nodes = machine.weights.shape[1] * num_nodes

        def add(total: Array, index: Array) -> Array:
            common, ratios = _nodes(machine, bound, index, num_nodes, 2)
            rows = ratios.reshape(-1, size)
            return total + jnp.matmul((common[:, None] * rows).T, rows, precision="highest").real

        block = min(max(1, ELEMENTS // size), all_nodes)
        total = _sum_of_nodes(add, jnp.zeros((size, size), dtype), all_nodes, block)
    total = total.reshape(num_visible, num_states, num_visible, num_states)
    is_same = jnp.eye(num_visible, dtype=bool)[:, None, :, None]
    total = jnp.where(is_same, 0, total)
    total = jnp.where(_largest_field(machine) <= bound, total, jnp.nan)
    return total[:, 0, :, 0] if is_spin else total
