"""The exact coarse-graining of a small torus as a map of couplings, in spins and in occupations."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg import exact, tables
from jaxrg.base import LogKernel
from jaxrg.checks import as_parameter, check_function, check_shape, is_traced, kind_of
from jaxrg.closures import as_partial
from jaxrg.exact.enumeration import checked_shape, energy_dtype, states_of
from jaxrg.lattice import Operators, block_shape, evaluate, to_blocks
from jaxrg.models import OperatorModel
from jaxrg.rg.couplings import Projection, check_operators, project, project_lattice_gas
from jaxrg.rg.kernels import BlockKernel
from jaxrg.sums import add_log_weights, empty_log_sum

MAX_SITES = 16  # of a block whose patterns are tabulated
AT_ONCE = 2**18  # pairs of a coarse and a fine state whose weights are held


def coarse_couplings(couplings: Array, fine: Operators, log_kernel: LogKernel, coarse: Operators) -> Projection:
    r"""Couplings K' of the coarse-grained Hamiltonian of couplings K, by a sum over all states: K' = R(K).

    .. math:: e^{-H'(h)} = \sum_s T(h|s)\, e^{\sum_a K_a O_a(s)}, \qquad
        H' = -\sum_a K'_a O'_a + \text{constant} + \text{rest}

    The one approximation is what the coarse basis leaves out, whose size over all coarse states is the ``residual``.
    Differentiable; with ``coarse`` the operators of ``fine`` on the smaller lattice it is the flow of `fixed_point`.

    Args:
        couplings: ``[num_fine_operators]`` K.
        fine: operators of the fine lattice.
        log_kernel: ln T(h\|s), such as `jaxrg.rg.majority_kernel`.
        coarse: operators of the coarse lattice.

    Returns:
        Couplings, constant and what was left out, as by `jaxrg.rg.project`. In float32, energies of the coarse states
        of a kernel of blocks may span 80; take float64 for strong couplings.

    Raises:
        ValueError: other couplings than operators, operators of which one is a combination of others, more spins than
            can be enumerated, a kernel whose ρ diverges, or one that leads to some coarse state from none.

    Example:
        >>> from jaxrg import lattice, rg
        >>> names = ["nearest_neighbour"]
        >>> fine, coarse = (lattice.standard_operators(lattice.hypercubic((side,)), names) for side in (8, 4))
        >>> found = coarse_couplings(jnp.array([1.0]), fine, rg.decimation_kernel(2), coarse)
        >>> round(float(found.couplings[0]), 4), round(abs(float(found.residual)), 4)  # ln cosh(2) / 2
        (0.6625, 0.0)

    Reference:
        Niemeijer & van Leeuwen, Phys. Rev. Lett. 31, 1411 (1973).
    """
    return _checked(_coarse_spins, couplings, fine, log_kernel, coarse)


def coarse_lattice_gas(couplings: Array, fine: Operators, log_kernel: LogKernel, coarse: Operators) -> Projection:
    r"""The same map for couplings J of occupations, :math:`H = -\sum_a J_a \sum_x \prod_{o} n_{x+o}`, n = (1 + s)/2.

    A coupling of the lattice gas is read from the states in which its sites alone are occupied, so that it does not
    depend on which others are kept (Kennedy); of spins it does.

    Args:
        couplings: ``[num_fine_operators]`` J.
        fine: operators of the fine lattice, of which each spin stands for an occupation.
        log_kernel: ln T(h\|s) of spins ±1.
        coarse: operators of the coarse lattice.

    Returns:
        Couplings, minus H' of the empty lattice as ``constant``, and what was left out.

    Raises:
        ValueError: as `coarse_couplings`.

    Reference:
        Kennedy, J. Stat. Phys. 140, 409 (2010), arXiv:0905.2601.
    """
    return _checked(_coarse_gas, couplings, fine, log_kernel, coarse)


def _checked(program, couplings: Array, fine: Operators, log_kernel: LogKernel, coarse: Operators) -> Projection:
    for name, basis in (("fine", fine), ("coarse", coarse)):
        if not isinstance(basis, Operators):
            raise ValueError(f"{name}: expected operators such as lattice.standard_operators, got {kind_of(basis)}")
    check_function("log_kernel", log_kernel, of="a coarse and a fine configuration")
    values = as_parameter("couplings", couplings)
    check_shape("couplings", values, (len(fine),))
    check_operators(fine)
    kernel = log_kernel if isinstance(log_kernel, BlockKernel) else as_partial(log_kernel)
    projection = program(values, kernel, fine, coarse)
    if not is_traced(projection) and not np.all(np.isfinite(np.asarray(projection.couplings))):
        raise ValueError(
            "log_kernel: expected a finite rho(s) = sum_h T(h|s) of every state, and a state that leads to every h, "
            "got others"
        )
    return projection


@functools.partial(jax.jit, static_argnums=(2, 3))
def _coarse_spins(couplings: Array, log_kernel: LogKernel, fine: Operators, coarse: Operators) -> Projection:
    table = _coarse_table(Partial(functools.partial(_spin_energy, fine), couplings), log_kernel, fine, coarse)
    return project(table, coarse)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _coarse_gas(couplings: Array, log_kernel: LogKernel, fine: Operators, coarse: Operators) -> Projection:
    table = _coarse_table(Partial(functools.partial(_gas_energy, fine), couplings), log_kernel, fine, coarse)
    return project_lattice_gas(table, coarse)


def _coarse_table(energy: Partial, log_kernel: LogKernel, fine: Operators, coarse: Operators) -> Array:
    """H' of every coarse state; NaN where the kernel cannot be normalised or leads to some state from none."""
    shapes = fine.lattice.shape, coarse.lattice.shape
    if isinstance(log_kernel, BlockKernel) and log_kernel.block**fine.lattice.ndim <= MAX_SITES:
        table, is_proper = _of_blocks(energy, log_kernel, *shapes)
    else:
        result = exact.coarse_grain(energy, shapes[0], log_kernel, shapes[1])
        table, is_proper = result.hamiltonian, jnp.all(jnp.isfinite(result.log_rho))
    return jnp.where(is_proper & jnp.all(jnp.isfinite(table)), table, jnp.nan)


def _of_blocks(
    energy: Partial, kernel: BlockKernel, shape: tuple[int, ...], coarse_shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """H' and whether ρ is finite, with the weights of a state as a product over its blocks of two numbers each.

    That is one multiplication for each pair of a fine and a coarse state, where `exact.coarse_grain` calls the kernel.
    """
    check_shape("coarse", np.empty(coarse_shape), block_shape(shape, kernel.block))
    num_blocks, num_sites = math.prod(coarse_shape), kernel.block ** len(shape)
    checked_shape(shape, name="fine")
    patterns, up_and_down = tables.all_spins(num_sites), jnp.array([-1, 1], jnp.int8)
    weights = jnp.exp(jax.vmap(jax.vmap(kernel.log_weight, (None, 0)), (0, None))(up_and_down, patterns))
    is_proper = jnp.all(jnp.isfinite(weights)) & jnp.all(jnp.sum(weights, axis=0) > 0)
    dtype = energy_dtype(energy, shape)
    weights = weights.astype(jnp.promote_types(dtype, weights.dtype))
    places = 2 ** jnp.arange(num_sites, dtype=jnp.int32)

    def add(carry, index):
        total, sums = carry
        states = states_of(index, shape)
        total, factor, boltzmann = add_log_weights(total, -jax.vmap(energy)(states).astype(dtype))
        ups = jax.vmap(functools.partial(to_blocks, block=kernel.block))(states > 0).reshape(-1, num_blocks, num_sites)
        of_block = weights[
            :, jnp.sum(jnp.where(ups, places[None, None], 0), axis=-1, dtype=jnp.int32)
        ]  # [2, chunk, blocks]
        product = jnp.ones((1, len(index)), weights.dtype)
        for block in range(num_blocks):
            product = (of_block[:, None, :, block] * product[None]).reshape(-1, len(index))
        new = jnp.matmul(product, boltzmann.astype(weights.dtype), precision=jax.lax.Precision.HIGHEST)
        return (total, sums * factor.astype(weights.dtype) + new), None

    init = empty_log_sum((), dtype), jnp.zeros(2**num_blocks, weights.dtype)
    chunk = max(1, min(tables.CHUNK_SIZE, AT_ONCE >> num_blocks))
    (total, sums), _ = tables.fold(add, init, math.prod(shape), chunk_size=chunk)
    return -(jnp.log(sums) + total.maximum.astype(sums.dtype)), is_proper


def _spin_energy(basis: Operators, couplings: Array, spins: Array) -> Array:
    return OperatorModel(basis, couplings).hamiltonian(spins)


def _gas_energy(basis: Operators, couplings: Array, spins: Array) -> Array:
    occupations = (spins + 1) // 2  # traced, so that evaluate takes them for what it multiplies
    return -jnp.dot(couplings, evaluate(basis, occupations).astype(couplings.dtype))
