r"""The fixed point of `loop_tnr` by Newton's method on what its halves minimise.

A tensor is fixed where it is made of halves that are themselves the best for it. With T(S) the tensor that halves S
join to, normalised, and f their distance from a tensor, that is

.. math:: F(S) = \nabla_S f(S; T)\big|_{T = T(S)} = 0

without any fit inside. Its derivative J = H (1 - D) is the Hessian of the fit times one minus the linearised map, which
has the eigenvalue :math:`\sqrt 2^{\,2 - x}` for an operator that is even under the symmetries of the tensor; those of
marginal ones, of spin 2, are not. J acts by forward derivatives of F and is inverted by GMRES, with the Hessian of
least squares before it, which is small enough to be factorised.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.checks import as_count, is_traced
from jaxrg.rg.tensor import ring
from jaxrg.rg.tensor.contraction import einsum, matmul
from jaxrg.rg.tensor.krylov import leading
from jaxrg.rg.tensor.loops import check_symmetry, fitted, is_even_tensor, joined, leg_weights, natural_basis, weighted
from jaxrg.rg.tensor.network import Checkerboard, as_tensor, frobenius
from jaxrg.tables import MAX_BYTES, check_bytes

SHIFT = 0.3  # of the residual, added to J: where the ring hardly sees a change, no step is long
WORSE = 1000  # times the residual before that a step may leave, else it is taken back and the shift raised
PIN = 10.0  # what a turn of a basis costs, which changes nothing
KRYLOV, TOL = 60, 1e-8  # vectors of GMRES, and its relative residual
BATCH = 32  # columns of the Hessian at once
TURNS, ALIGNMENTS = (
    4,
    100,
)  # polar decompositions that turn halves into the basis of their tensor: a leg's, and the last
BLOCK, NUM_BLOCKS = 2, 40  # of Arnoldi's iteration for the leading eigenvalues


class FixedTensor(NamedTuple):
    """A tensor that a step of `loop_tnr` does not change.

    Attributes:
        tensor: the checkerboard, entries of norm one; what is not scale invariant, log_factor and num_sites, is that of
            the start.
        residuals: ``[num_steps + 1]`` norm of F before each step and after the last.
        distance: scalar, of the ring of its halves from its own, relative.
        eigenvalues: ``[6]``, or as many as there are, leading ones of the full linearised map, complex, falling.
    """

    tensor: Checkerboard
    residuals: Array
    distance: Array
    eigenvalues: Array


def fixed_tensor(board: Checkerboard, *, num_steps: int = 10) -> FixedTensor:
    r"""The fixed point next to a tensor of a flow of `loop_tnr`, by Newton's method.

    .. math:: (J + \epsilon)\, \delta S = -F, \qquad \epsilon = 0.3\, |F|

    The shift keeps steps short along changes that a plaquette hardly sees, and vanishes with the residual, so that
    convergence is quadratic in the end. Residuals go up and down on the way, since a long step along such changes is
    mended by the next; one that makes them a thousand times larger is taken back, and the shift raised tenfold. Turns
    of the bases, which change nothing, are pinned. The scaling dimensions of the fixed tensor follow from
    `transfer_spectrum`. Its ``eigenvalues`` are those of the full derivative of the map: :math:`\sqrt 2^{\,2 - x}` for
    the relevant operator, the energy; the others, some beyond -1, tell of changes a plaquette hardly sees and are not
    universal.

    Args:
        board: of the plateau of a critical flow, as symmetric as `loop_tnr` returns it; χ is the size of its legs.
        num_steps: Newton steps.

    Returns:
        The fixed tensor, residuals, and eigenvalues. Nothing is raised where residuals do not fall, as from a tensor
        off the critical point: they are the verdict. CPU only, and float64 wanted.

    Raises:
        ValueError: no Checkerboard with its number of sites, not a symmetric one with legs of 2 or more, or one whose
            Hessian needs more than 2 GiB; a count that is no such integer.

    Example:
        >>> from jaxrg import exact
        >>> from jaxrg.rg.tensor import ising_tensor
        >>> start = Checkerboard(*ising_tensor(exact.critical_coupling))  # too small: it ends at zero temperature
        >>> residuals = fixed_tensor(start, num_steps=8).residuals
        >>> bool(residuals[-1] < residuals[0] / 100)
        True

    Reference:
        Newton's method for tensor networks: Ebel, Kennedy & Rychkov, arXiv:2408.10312 and arXiv:2409.13012; the
        equation for the halves is ours.
    """
    count = as_count("num_steps", num_steps)
    given, is_even = as_fixed("board", board, lambda chi: (4 * chi**6, f"a Hessian of {chi**3} entries of halves"))
    return _fixed_tensor(given, halves_of(given.entries, is_even), count, is_even)


def as_fixed(name: str, board: Any, needed: Callable[[int], tuple[int, str]]) -> tuple[Checkerboard, bool]:
    """A checkerboard that a flow of `loop_tnr` may have returned, and whether its legs are even or odd.

    Args:
        name: of the argument.
        board: the checkerboard.
        needed: numbers in memory with legs of a size, and what they are.

    Raises:
        ValueError: as `fixed_tensor`.
    """
    given = as_tensor(name, board, is_checkerboard=True)
    if not isinstance(given, Checkerboard):
        raise ValueError(f"{name}: expected a Checkerboard, as loop_tnr returns it, got a Tensor")
    if len(given.entries) < 2:
        raise ValueError(f"{name}.entries: expected legs of dimension 2 or more, got shape {given.entries.shape}")
    words, what = needed(len(given.entries))
    check_bytes(name, given.entries.dtype.itemsize * words, MAX_BYTES, what)
    if is_traced(given.entries):
        return given, False
    entries = np.asarray(given.entries)
    check_symmetry(name, entries, is_checkerboard=True)
    return given, is_even_tensor(entries)


@functools.partial(jax.jit, static_argnames="is_even")
def halves_of(entries: Array, is_even: bool) -> Array:
    """Halves in the basis of their tensor; a program of its own, which all that start there share."""
    entries = entries / frobenius(entries)
    return _aligned(fitted(entries, len(entries), is_even)[0], entries, is_even)


def _tensor_of(halves: Array) -> Array:
    entries = joined(halves)
    return entries / frobenius(entries)


def _gradient(halves: Array, is_even: bool) -> Array:
    """F."""
    root, target = _fit_of(halves, is_even)
    return jax.grad(lambda halves: _distance(halves, root, target, is_even))(halves)


def _distance(halves: Array, root: Array, target: ring.Target, is_even: bool) -> Array:
    return ring.distance(ring.even_part(einsum("oik,oO->Oik", halves, root), is_even), target, is_even)


def _slots(rank: int, is_even: bool) -> np.ndarray:
    """Flat indices of the entries of halves that a parity allows."""
    sums = np.indices((rank,) * 3).sum(axis=0).reshape(-1)
    return np.flatnonzero(sums % 2 == 0) if is_even else np.arange(rank**3)


def _as_halves(point: Array, rank: int, is_even: bool) -> Array:
    """Halves of the entries that a parity allows."""
    return jnp.zeros(rank**3, point.dtype).at[_slots(rank, is_even)].set(point).reshape((rank,) * 3)


def _residual(point: Array, rank: int, is_even: bool) -> Array:
    return _gradient(_as_halves(point, rank, is_even), is_even).reshape(-1)[_slots(rank, is_even)]


def _fit_of(halves: Array, is_even: bool) -> tuple[Array, ring.Target]:
    """Weights and target of the fit whose tensor the halves themselves join to."""
    entries = _tensor_of(halves)
    root, _ = leg_weights(entries)
    return root, ring.ring_of_tensors(weighted(entries, root), is_even)


def _turns(rank: int, is_even: bool) -> np.ndarray:
    """Generators ``[turn, legs, legs]`` of turns of a basis."""
    pairs = [(a, b) for a in range(rank) for b in range(a) if not is_even or (a - b) % 2 == 0]
    generators = np.zeros((len(pairs), rank, rank))
    for turn, (a, b) in enumerate(pairs):
        generators[turn, a, b], generators[turn, b, a] = 1, -1
    return generators


def _gauge(halves: Array, is_even: bool) -> Array:
    """Changes ``[turn, entry]`` of halves under turns: of all legs of the tensors, and of the legs inside."""
    generators = jnp.asarray(_turns(len(halves), is_even), halves.dtype)
    legs = einsum("toO,Oik->toik", generators, halves) + einsum("tkK,oiK->toik", generators, halves)
    inside = einsum("tiI,oIk->toik", generators, halves)
    return jnp.concatenate([legs, inside]).reshape(2 * len(generators), len(halves) ** 3)[
        :, _slots(len(halves), is_even)
    ]


def _aligned(halves: Array, entries: Array, is_even: bool) -> Array:
    """Halves, from `fitted`, with legs across in the basis in which their tensor is most like the given one.

    Between the natural bases of both tensors the turn grows by one leg after the other, of those that weigh less and
    less, so that signs and multiplets fall in with the ones before.
    """
    rank, found, natural = len(halves), _tensor_of(halves), natural_basis(entries, is_even)
    wanted = einsum("abcd,aA,bB,cC,dD->ABCD", entries, natural, natural, natural, natural)

    def turn(count: Array, basis: Array) -> Array:
        known = jnp.arange(rank) < count // TURNS + 1
        rest = einsum("abcd,bB,cC,dD,ABCD->aA", found, basis, basis, basis, wanted)
        rest = ring.even_part(jnp.where(known[:, None] & known[None], rest, 0), is_even)
        left, _, right = jnp.linalg.svd(rest)
        return jnp.where(known[:, None] & known[None], matmul(left, right), 0)

    first = jnp.zeros((rank, rank), halves.dtype).at[0, 0].set(1)
    basis = lax.fori_loop(0, TURNS * rank + ALIGNMENTS, turn, first)
    return einsum("oik,kl,Kl->oiK", halves, ring.even_part(basis, is_even), natural)


class _Linear(NamedTuple):
    """What a Newton step inverts, and the inverse of its part without the map."""

    matvec: Any
    inverse: Array


def _linearised(point: Array, rank: int, is_even: bool, shift: Array, is_exact: bool = False) -> _Linear:
    as_halves = functools.partial(_as_halves, rank=rank, is_even=is_even)
    halves = as_halves(point)
    root, target = _fit_of(halves, is_even)

    def of_rings(left: Array, right: Array) -> Array:
        weighted_ones = [einsum("oik,oO->Oik", as_halves(each), root) for each in (left, right)]
        return 2 * ring.product_of_rings(weighted_ones[0], weighted_ones[1], is_even) / target.norm

    def slope(right: Array) -> Array:
        if is_exact:
            return jax.grad(lambda point: _distance(as_halves(point), root, target, is_even))(right)
        return jax.grad(of_rings)(point, right)

    def column(direction: Array) -> Array:
        return jax.jvp(slope, (point,), (direction,))[1]

    gauge = _gauge(halves, is_even)
    extra = PIN * matmul(gauge.T, gauge) + shift * jnp.eye(len(point), dtype=point.dtype)
    hessian = lax.map(column, jnp.eye(len(point), dtype=point.dtype), batch_size=BATCH) + extra

    residual = functools.partial(_residual, rank=rank, is_even=is_even)

    def matvec(direction: Array) -> Array:
        return jax.jvp(residual, (point,), (direction,))[1] + einsum("ab,b->a", extra, direction)

    return _Linear(matvec, jnp.linalg.inv((hessian + hessian.T) / 2))


@functools.partial(jax.jit, static_argnames=("num_steps", "is_even"))
def _fixed_tensor(board: Checkerboard, halves: Array, num_steps: int, is_even: bool) -> FixedTensor:
    rank = len(halves)
    residual = functools.partial(_residual, rank=rank, is_even=is_even)

    def step(state: tuple, _: None) -> tuple[tuple, Array]:
        point, value, size, factor = state
        linear = _linearised(point, rank, is_even, factor * size)
        before = lambda vector: einsum("ab,b->a", linear.inverse, vector)  # noqa: E731
        solve = functools.partial(jax.scipy.sparse.linalg.gmres, tol=TOL, restart=KRYLOV, maxiter=1)
        trial = point + solve(lambda vector: before(linear.matvec(vector)), -before(value))[0]
        trial_value = residual(trial)
        trial_size = jnp.linalg.norm(trial_value)
        is_better = trial_size < WORSE * size
        factor = jnp.where(is_better, jnp.maximum(factor / 2, SHIFT), 10 * factor)
        chosen = (
            jnp.where(is_better, new, old) for new, old in ((trial, point), (trial_value, value), (trial_size, size))
        )
        return (*chosen, factor), size

    first = halves.reshape(-1)[_slots(rank, is_even)]
    value = residual(first)
    state = first, value, jnp.linalg.norm(value), jnp.asarray(SHIFT, first.dtype)
    (point, _, size, _), sizes = lax.scan(step, state, None, length=num_steps)
    halves = _as_halves(point, rank, is_even)
    root, target = _fit_of(halves, is_even)
    return FixedTensor(
        board._replace(entries=_tensor_of(halves)),
        jnp.append(sizes, size),
        jnp.sqrt(jnp.abs(_distance(halves, root, target, is_even))),
        _eigenvalues(point, rank, is_even),
    )


def _eigenvalues(point: Array, rank: int, is_even: bool) -> Array:
    """Leading ones of D."""
    linear = _linearised(point, rank, is_even, jnp.asarray(1e-5, point.dtype), is_exact=True)

    def apply(vector: Array) -> Array:
        return vector - einsum("ab,b->a", linear.inverse, linear.matvec(vector))

    return leading(apply, len(point), 6, point.dtype, block=BLOCK, num_blocks=NUM_BLOCKS).values
