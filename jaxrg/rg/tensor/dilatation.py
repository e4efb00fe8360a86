r"""Local operators of a fixed tensor: the dilatation of a lattice with a hole, and their products on a ring.

Where a plaquette of four tensors is cut out of the network, its eight legs form a hole, and a state of them is any
local operator. A step of `loop_tnr` cuts the tensors around the hole in halves S; half of these make the next hole's
eight legs, in pairs, from the eight of this one shifted by one:

.. math:: \psi'_{d_1 c_1 d_2 c_2 \dots} = \sum \prod_j h_{(d_j c_j)(l_j m_j)}\, \psi_{m_4 l_1 m_1 l_2 \dots}, \qquad
    h_{(dc)(lm)} = \sum_t S_{l t d} S_{m t c}
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count
from jaxrg.rg.tensor.contraction import einsum, matmul
from jaxrg.rg.tensor.fixed_tensor import as_fixed, halves_of
from jaxrg.rg.tensor.krylov import Leading, leading, num_vectors
from jaxrg.rg.tensor.loops import joined
from jaxrg.rg.tensor.network import Checkerboard, frobenius, turned
from jaxrg.rg.tensor.ring import even_part
from jaxrg.rg.tensor.spectrum import of_four

BLOCK, NUM_BLOCKS = 2, 40  # of Arnoldi's iteration: eigenvalues fall slowly, alike ones are told apart by their spins
ALIKE = 0.1  # difference of dimensions below which operators may mix


class Dilatation(NamedTuple):
    """Local operators of a tensor.

    Attributes:
        dimensions: ``[num_levels]`` scaling dimensions x, rising from 0, of primaries and descendants.
        spins: ``[num_levels]`` conformal spin modulo 8, in (-4, 4].
        change: scalar, Frobenius norm of what a step changes in the tensor, relative: 0 at a fixed point, and the
            order of the error that it leaves.
    """

    dimensions: Array
    spins: Array
    change: Array


class OperatorProducts(NamedTuple):
    """Products of the leading local operators.

    Attributes:
        dimensions: ``[num_operators]`` scaling dimensions, rising from 0.
        coefficients: ``[num_operators] * 3`` C of a final state, an operator and an initial state. They are symmetric
            but for errors; their signs are such that the squares of operator 1 have positive ones; nan for the last
            operators where others of their dimension are left out.
        change: scalar, of the tensor in a step, as that of `Dilatation`.
    """

    dimensions: Array
    coefficients: Array
    change: Array


class _Hole(NamedTuple):
    """Eigenvectors of the dilatation with the legs of a hole in pairs, each on its heaviest states."""

    operators: Leading
    pairs: Array  # [d, c, state] orthonormal
    change: Array


def dilatation_spectrum(board: Checkerboard, num_levels: int, *, num_states: int = 20) -> Dilatation:
    r"""Scaling dimensions and spins of local operators, from how a hole in the lattice grows under a step.

    .. math:: \frac{\lambda_i}{\lambda_0} = \sqrt2^{\,-x_i}\, e^{i\pi s_i / 4}

    for a step that scales lengths by √2 and turns the lattice by 45 degrees. This is the linearised map with the halves
    and isometries held, for a change in one place: its eigenvectors are the local scaling operators, descendants
    included, where a change summed over the lattice loses what is a total derivative. The full map, whose halves follow
    the change, is that of `fixed_tensor`. The pairs of legs are kept on the states that weigh most in the hole of the
    tensors themselves; all χ² are exact.

    Args:
        board: a fixed point of `loop_tnr`, from `fixed_tensor` or the plateau of a critical flow.
        num_levels: eigenvalues returned, up to 20.
        num_states: of a pair of legs, at most χ². Vectors have its fourth power of entries.

    Returns:
        Dimensions, spins, and how far the tensor is from fixed. Where legs are even or odd the lowest odd operator is
        taken to have spin 0; other symmetries of a tensor may add to the spins of operators that are not invariant.
        CPU only, and float64 wanted.

    Raises:
        ValueError: no Checkerboard with its number of sites, or none as symmetric as `loop_tnr` returns; counts that
            are no such integers; more than 2 GiB needed.

    Example:
        >>> from jaxrg import exact
        >>> from jaxrg.rg.tensor import ising_tensor, loop_tnr
        >>> board = loop_tnr(ising_tensor(exact.critical_coupling), 4, 8).tensor
        >>> [round(float(x), 1) for x in dilatation_spectrum(board, 3, num_states=8).dimensions]
        [0.0, 0.1, 1.0]

    Reference:
        Ebel, Kennedy & Rychkov, arXiv:2409.13012, for another scheme; a hole of eight legs is ours.
    """
    given, levels, states, is_even = _checked(board, "num_levels", num_levels, num_states)
    return _dilatation(given.entries, halves_of(given.entries, is_even), levels, states)


def operator_products(board: Checkerboard, num_operators: int, *, num_states: int = 20) -> OperatorProducts:
    r"""Operator product coefficients of the leading primaries, from local operators between states of a ring.

    .. math:: C_{\gamma\alpha\beta} = \frac{\langle\gamma|\, O_\alpha\, |\beta\rangle}{\langle 0|\, O_\alpha\,
        |\alpha\rangle}\, e^{\frac{\pi}{2}(x_\gamma + x_\beta - x_\alpha)}

    with O an eigenvector of `dilatation_spectrum` in a hole of two rows of a ring of four tensors, and the states those
    of its transfer matrix, whose two rows the exponential takes off. The operators of a fixed point have no lattice
    corrections, so that neither distances nor limits are needed.

    Args:
        board: as for `dilatation_spectrum`.
        num_operators: the leading ones, from the identity on, up to 19. They are meant to be scalar primaries, as for
            Ising up to 3: 1, σ and ε. Operators of one dimension come in any real basis of unit states.
        num_states: of a pair of legs, at most χ².

    Returns:
        Dimensions and coefficients. CPU only, and float64 wanted.

    Raises:
        ValueError: as `dilatation_spectrum`.

    Example:
        >>> from jaxrg import exact
        >>> from jaxrg.rg.tensor import ising_tensor, loop_tnr
        >>> board = loop_tnr(ising_tensor(exact.critical_coupling), 4, 8).tensor
        >>> products = operator_products(board, 3, num_states=8)
        >>> round(float(products.coefficients[2, 1, 1]), 1)  # ε, σ, σ: 1/2
        0.5

    Reference:
        Cardy, J. Phys. A 19, L1093 (1986) [Erratum 20, 5039]: matrix elements on a cylinder.
    """
    given, count, states, is_even = _checked(board, "num_operators", num_operators, num_states, num_more=1)
    return _products(given.entries, halves_of(given.entries, is_even), count, states)


def _checked(
    board: Checkerboard, name: str, count: int, num_states: int, num_more: int = 0
) -> tuple[Checkerboard, int, int, bool]:
    wanted, most = as_count(name, count), as_count("num_states", num_states)

    def needed(chi: int) -> tuple[int, str]:
        states = min(most, chi**2)
        kept = num_vectors(states**4, BLOCK, NUM_BLOCKS)
        words = (3 * kept + 4 * chi**2) * states**4
        on_ring = 2 * (wanted + 4) * chi**6 + (4 * chi**2 + 200) * chi**4
        return words + num_more * on_ring, f"{kept} vectors of {states}^4 states of legs of {chi}"

    given, is_even = as_fixed("board", board, needed)
    states = min(most, len(given.entries) ** 2)
    levels = min(NUM_BLOCKS // 2, states**4, len(given.entries) ** 4) - num_more
    if wanted > levels:
        raise ValueError(f"{name}: expected at most {levels}, got {wanted}")
    return given, wanted, states, is_even


def _heaviest(entries: Array, num_states: int) -> Array:
    """The states ``[d, c, state]`` that weigh most in two legs of the hole that four tensors fill."""
    side = len(entries)
    double = einsum("abcd,ABcd->aAbB", entries, entries).reshape(side**2, side**2)
    rest = matmul(matmul(double, double), double).reshape((side,) * 4)
    density = einsum("abcd,ABCD,bBaA->dcDC", entries, entries, rest).reshape(side**2, side**2)
    vectors = jnp.linalg.eigh((density + density.T) / 2)[1]
    return vectors[:, ::-1][:, :num_states].reshape(side, side, num_states)


def _growth(pairs: Array, grown: Array) -> Callable[[Array], Array]:
    """A step for vectors of four pairs of legs, one pair after the other, with a leg of the first held open."""
    num_states = pairs.shape[2]

    def apply(vector: Array) -> Array:
        legs = einsum("dcr,rxyz->dcxyz", pairs, vector.reshape((num_states,) * 4))
        for _ in range(3):
            legs = einsum("fcxyz,scm->fmxyzs", legs, grown)
            legs = einsum("fmxyzs,mcx->fcyzs", legs, pairs)
        return einsum("fcxyz,scf->xyzs", legs, grown).reshape(-1)

    return apply


def _hole(entries: Array, halves: Array, num_levels: int, num_states: int) -> _Hole:
    following = joined(halves)
    change = frobenius(following / frobenius(following) - entries)
    pairs = _heaviest(entries, num_states)
    grown = einsum("dcr,ltd,mtc->rlm", pairs, halves, halves)
    step = _growth(pairs, grown)
    found = leading(step, num_states**4, num_levels, entries.dtype, block=BLOCK, num_blocks=NUM_BLOCKS)
    values = found.values / found.values[0]
    odd_entries = jnp.max(jnp.abs(entries - even_part(entries, is_even=True)))
    has_parity = odd_entries <= 1e3 * jnp.finfo(entries.dtype).eps * jnp.max(jnp.abs(entries))  # of traced ones too
    parity = np.add.outer(np.arange(len(entries)), np.arange(len(entries))) % 2
    of_pairs = einsum("dcr,dcr,dc->r", pairs, pairs, jnp.asarray(1 - 2 * parity, entries.dtype))
    weights = jnp.square(jnp.abs(found.vectors)).reshape(-1, *(num_states,) * 4)
    is_odd = has_parity & (einsum("nabcd,a,b,c,d->n", weights, of_pairs, of_pairs, of_pairs, of_pairs) < 0)
    sign = jnp.where(jnp.real(values[jnp.argmax(is_odd)]) < 0, -1, 1)
    return _Hole(Leading(jnp.where(is_odd, sign * values, values), found.vectors), pairs, change)


def _dimensions(values: Array) -> Array:
    return 2 * jnp.log2(jnp.abs(values[0] / values))


@functools.partial(jax.jit, static_argnames=("num_levels", "num_states"))
def _dilatation(entries: Array, halves: Array, num_levels: int, num_states: int) -> Dilatation:
    found = _hole(entries / frobenius(entries), halves, num_levels, num_states)
    values = found.operators.values
    return Dilatation(_dimensions(values), 4 / math.pi * jnp.angle(values), found.change)


def _as_real(found: Leading) -> Array:
    """Real vectors of the same space: of a pair that is complex, one has the real parts and one the imaginary."""
    return jnp.where(jnp.imag(found.values)[:, None] < 0, jnp.imag(found.vectors), jnp.real(found.vectors))


def _orthonormal(vectors: Array, is_alike: Array) -> Array:
    """Those of one dimension turned and scaled to unit vectors."""
    values, turn = jnp.linalg.eigh(jnp.where(is_alike, matmul(vectors, vectors.T), 0))
    return matmul(einsum("ab,b,cb->ac", turn, values**-0.5, turn), vectors)


@functools.partial(jax.jit, static_argnames=("num_operators", "num_states"))
def _products(entries: Array, halves: Array, num_operators: int, num_states: int) -> OperatorProducts:
    entries, count = entries / frobenius(entries), num_operators
    hole, other = _hole(entries, halves, count + 1, num_states), turned(entries)  # one more shows a cut
    dimensions = _dimensions(hole.operators.values)
    is_alike = jnp.abs(dimensions[:, None] - dimensions[None, :]) < ALIKE
    is_cut, is_alike = is_alike[-1, :-1], is_alike[:-1, :-1]
    operators = _as_real(hole.operators)[:-1].reshape(-1, *(num_states,) * 4)
    on_ring = of_four(entries, other, count)
    states = _orthonormal(_as_real(on_ring), is_alike) / jnp.abs(on_ring.values)[:, None]  # half of two rows
    states = states.reshape(-1, *entries.shape)
    above = einsum("lurd,rvse->luvsde", entries, other)
    below = einsum("lurd,rvse->luvsde", other, entries)
    upper = einsum("npquv,luvsde,spa,qlb->nabde", states, above, hole.pairs, hole.pairs)
    lower = einsum("mfgDE,LdeSDE,Lgc,fSh->mchde", states, below, hole.pairs, hole.pairs)
    elements = einsum("kabch,nabde,mchde->mkn", operators, upper, lower)
    normal = jnp.linalg.inv(jnp.where(is_alike, elements[0], 0))
    coefficients = einsum("ak,mkn->man", normal, elements)
    if count > 1:
        signs = jnp.where(coefficients[:, 1, 1] < 0, -1, 1).astype(entries.dtype)
        coefficients = einsum("man,m,a,n->man", coefficients, signs, signs, signs)
    is_cut = is_cut[:, None, None] | is_cut[None, :, None] | is_cut[None, None, :]
    return OperatorProducts(dimensions[:-1], jnp.where(is_cut, jnp.nan, coefficients), hole.change)
