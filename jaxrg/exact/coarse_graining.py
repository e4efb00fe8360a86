"""The exact coarse-graining of a Hamiltonian by any kernel, one streamed sum over the fine states."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg import tables
from jaxrg.base import Hamiltonian, LogKernel
from jaxrg.checks import check_function
from jaxrg.closures import as_partial
from jaxrg.exact.enumeration import checked_hamiltonian, checked_shape, energy_dtype, states_of
from jaxrg.sums import add_log_weights, empty_log_sum

PAIRS_AT_ONCE = 2**18  # of a coarse and a fine state: 2 MB of float64 for each temporary
COPIES = 8  # of the table of coarse states: three running sums, their weights and what is between


class CoarseGraining(NamedTuple):
    """What a kernel makes of a Hamiltonian; all in the dtype of the Hamiltonian, and differentiable.

    Attributes:
        hamiltonian: ``[2**m]`` H'(h) of every coarse state in index order; +inf where no fine state leads to it.
        log_rho: ``[2**n]`` ln ρ(s) = ln Σ_h T(h|s) of every fine state in index order; 0 for a normalised kernel.
        fine_free_energy: -ln Σ_s exp(-H(s)).
        coarse_free_energy: -ln Σ_h exp(-H'(h)), the same for a normalised kernel.
    """

    hamiltonian: Array
    log_rho: Array
    fine_free_energy: Array
    coarse_free_energy: Array


@functools.partial(jax.jit, static_argnames=("shape", "coarse_shape", "chunk_size"))
def _coarse_grain(
    hamiltonian: Partial, shape: tuple[int, ...], log_kernel: Partial, coarse_shape: tuple[int, ...], chunk_size: int
) -> CoarseGraining:
    dtype = energy_dtype(hamiltonian, shape)
    coarse_states = tables.all_spins(math.prod(coarse_shape)).reshape(-1, *coarse_shape)
    num_coarse = len(coarse_states)
    pairs = jax.vmap(jax.vmap(log_kernel, (0, None)), (None, 0), out_axes=1)  # [2**m, chunk]

    def log_sum(log_weights: Array) -> Array:
        return add_log_weights(empty_log_sum(log_weights.shape[:-1], dtype), log_weights)[0].value

    def add(carry, index):
        of_fine, of_coarse = carry
        fine = states_of(index, shape)
        log_weights = -jax.vmap(hamiltonian)(fine).astype(dtype)
        kernel = pairs(coarse_states, fine).astype(dtype)
        of_fine, *_ = add_log_weights(of_fine, log_weights)
        of_coarse, *_ = add_log_weights(of_coarse, kernel + log_weights[None, :])
        return (of_fine, of_coarse), log_sum(kernel.T)

    init = empty_log_sum((), dtype), empty_log_sum((num_coarse,), dtype)
    (of_fine, of_coarse), log_rho = tables.fold(add, init, math.prod(shape), chunk_size=chunk_size)
    return CoarseGraining(-of_coarse.value, log_rho, -of_fine.value, -log_sum(of_coarse.value))


def coarse_grain(
    hamiltonian: Hamiltonian,
    shape: Sequence[int],
    log_kernel: LogKernel,
    coarse_shape: Sequence[int],
    *,
    chunk_size: int | None = None,
) -> CoarseGraining:
    r"""The renormalised Hamiltonian of every coarse state, for any kernel T(h\|s), and what tests the kernel.

    .. math:: e^{-H'(h)} = \sum_s T(h|s)\, e^{-H(s)}, \qquad \rho(s) = \sum_h T(h|s)

    A normalised kernel, :math:`\rho \equiv 1`, conserves the free energy: :math:`\sum_h e^{-H'(h)} = Z`. The couplings
    of H' are minus the `jaxrg.transforms.walsh` transform of its table. Use float64 to read small ones.

    Args:
        hamiltonian: reduced Hamiltonian of one configuration, int8 spins ``[*shape]`` to a scalar.
        shape: sides of the fine configuration, whose table ``log_rho`` must fit in memory: up to about 27 spins.
        log_kernel: ``log_kernel(coarse [*coarse_shape], fine [*shape])``, the scalar ln T(h\|s), such as
            `jaxrg.rg.majority_kernel`; -inf is zero probability and passes no derivative.
        coarse_shape: sides of the coarse configuration.
        chunk_size: fine states evaluated together, a power of two; by default about 2^18 pairs (h, s) at a time.

    Returns:
        Both tables and both free energies.

    Raises:
        ValueError: more fine or coarse spins than memory holds tables of, a Hamiltonian or kernel that is not scalar,
            or a chunk that is no power of two.

    Example:
        >>> decimate = lambda h, s: jnp.where(h[0] == s[0], 0.0, -jnp.inf)  # keep the first of two spins
        >>> result = coarse_grain(lambda s: -0.5 * jnp.float32(s[0] * s[1]), (2,), decimate, (1,))
        >>> [round(energy, 4) for energy in result.hamiltonian.tolist()]  # -ln(2 cosh ½)
        [-0.8133, -0.8133]
        >>> result.log_rho.tolist()  # normalised
        [0.0, 0.0, 0.0, 0.0]
    """
    fine = checked_shape(shape, copies=2)
    coarse = checked_shape(coarse_shape, name="coarse_shape", copies=COPIES)
    energy = checked_hamiltonian(hamiltonian)
    check_function("log_kernel", log_kernel, of="a coarse and a fine configuration")
    log_kernel = as_partial(log_kernel)
    weight = jax.eval_shape(log_kernel, *(jax.ShapeDtypeStruct(sides, jnp.int8) for sides in (coarse, fine)))
    if getattr(weight, "shape", None) != ():
        raise ValueError(f"log_kernel: expected a scalar for one pair of configurations, got {weight}")
    by_default = max(1, PAIRS_AT_ONCE >> math.prod(coarse))
    size = by_default if chunk_size is None else tables.checked_chunk_size(chunk_size)
    return _coarse_grain(energy, fine, log_kernel, coarse, size)
