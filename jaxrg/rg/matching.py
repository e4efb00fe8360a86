r"""The exact map between variational renormalisation and Boltzmann machines, with every number that tests it.

Mehta and Schwab choose the operator :math:`T(v,h) = H(v) - E(v,h)`. Then for any machine, trained or not,

.. math::
    \rho(v) \equiv \sum_h e^{T(v,h)} = e^{H(v) - H^{RBM}(v)}, \qquad
    H^{RG}(h) \equiv -\ln \sum_v e^{T(v,h) - H(v)} = H^{RBM}(h),

.. math::
    \Delta F = F_h - F_v = -\ln\langle\rho\rangle_P, \qquad
    KL(P\,\|\,p_\lambda) = \ln\langle\rho\rangle_P - \langle\ln\rho\rangle_P \ge 0.

:math:`\Delta F = 0` is only a normalisation; the coarse-graining is exact when :math:`\rho \equiv 1`, and KL vanishes
when :math:`\rho` is constant. (Equation 8 of the paper, which equates the first two, is a typo noted in
arXiv:1609.03541.)

Everything is enumerated: run it under ``jax.enable_x64(True)`` with float64 parameters, as free energies need.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp
from jax.tree_util import Partial

from jaxrg import exact, tables
from jaxrg.base import Hamiltonian, LogKernel
from jaxrg.checks import as_parameter, as_sides, check_function, check_shape, is_traced, kind_of
from jaxrg.closures import as_partial
from jaxrg.lattice import Lattice
from jaxrg.rbm import RBM
from jaxrg.rbm.energy import as_spin_machine, exchanged
from jaxrg.rbm.exact import visible_energies
from jaxrg.rg.kernels import normalized_machine_kernel

COPIES = 6  # tables of the states of a layer that are held at once


class Matching(NamedTuple):
    """How far a machine is from an exact renormalisation of a Hamiltonian.

    Every field is differentiable, but for the standard deviation and the maximum where ln ρ is constant.

    Attributes:
        log_rho: ``[2**num_visible]`` ln ρ(v), in state-index order.
        log_rho_mean: ⟨ln ρ⟩ under P(v).
        log_rho_std: standard deviation of ln ρ under P(v).
        log_rho_max: max over all v of abs(ln ρ).
        visible_free_energy: F_v = -ln Σ_v exp(-H(v)).
        hidden_free_energy: F_h = -ln Σ_h exp(-H^RG(h)).
        free_energy_difference: ΔF = F_h - F_v.
        log_mean_rho: ln⟨ρ⟩ under P(v), equal to -ΔF.
        kl: Σ_v P ln(P/p), from the two distributions.
        jensen_gap: ln⟨ρ⟩ - ⟨ln ρ⟩, from ρ alone; equal to ``kl``.
        coarse_hamiltonian: ``[2**num_hidden]`` H^RBM(h), in state-index order.
    """

    log_rho: Array
    log_rho_mean: Array
    log_rho_std: Array
    log_rho_max: Array
    visible_free_energy: Array
    hidden_free_energy: Array
    free_energy_difference: Array
    log_mean_rho: Array
    kl: Array
    jensen_gap: Array
    coarse_hamiltonian: Array


def matching(machine: RBM, hamiltonian: Hamiltonian, *, shape: Sequence[int] | None = None) -> Matching:
    """Every quantity of the exact map, by enumeration of the visible and of the hidden states.

    Args:
        machine: the Boltzmann machine.
        hamiltonian: reduced H of one configuration ``[*shape]``, such as ``model.hamiltonian``.
        shape: shape of a configuration; flat by default.

    Raises:
        ValueError: a shape that does not hold ``num_visible`` spins, more units in a layer than memory holds tables of
            their states, or an infinite energy.

    Example:
        >>> from jaxrg import rbm
        >>> machine = rbm.init(jax.random.key(0), 4, 2)
        >>> match = matching(machine, lambda v: -0.3 * jnp.sum(v * jnp.roll(v, 1)).astype(jnp.float32))
        >>> bool(jnp.abs(match.kl - match.jensen_gap) < 1e-5)
        True

    Reference:
        Mehta & Schwab, arXiv:1410.3831.
    """
    machine, shape = _as_map(machine, hamiltonian, shape)
    num_visible, num_hidden = machine.weights.shape
    tables.check_table(max(num_visible, num_hidden), copies=COPIES, name="machine")
    energies = exact.energies(hamiltonian, shape)
    if not is_traced(energies) and not np.all(np.isfinite(np.asarray(energies))):
        raise ValueError("hamiltonian: expected a finite energy of every state, got NaN or infinity")
    return _matching(machine, energies)


def _as_map(machine: RBM, hamiltonian: Hamiltonian, shape: Sequence[int] | None) -> tuple[RBM, tuple[int, ...]]:
    """A machine and the shape of a configuration of its visible spins."""
    machine = as_spin_machine(machine)
    check_function("hamiltonian", hamiltonian, of="one configuration")
    num_visible, _ = machine.weights.shape
    sides = (num_visible,) if shape is None else as_sides("shape", shape)
    if math.prod(sides) != num_visible:
        raise ValueError(f"shape: expected {num_visible} visible spins, got {sides}")
    return machine, sides


@jax.jit
def _matching(machine: RBM, energies: Array) -> Matching:
    dtype = jnp.promote_types(machine.weights.dtype, energies.dtype)
    machine, energies = jax.tree.map(lambda leaf: leaf.astype(dtype), (machine, energies))
    return _of_log_rho(energies, energies - visible_energies(machine), visible_energies(exchanged(machine)))


def _of_log_rho(energies: Array, log_rho: Array, coarse_hamiltonian: Array) -> Matching:
    """Everything from three tables; a state without weight, of infinite energy, counts for nothing."""
    visible_free_energy = -logsumexp(-energies)
    hidden_free_energy = -logsumexp(-coarse_hamiltonian)
    is_there = energies < jnp.inf
    log_p = visible_free_energy - jnp.where(is_there, energies, 0)
    probability = jnp.where(is_there, jnp.exp(log_p), 0)
    log_rho = jnp.where(is_there, log_rho, 0)
    log_mean_rho = logsumexp(jnp.where(is_there, log_p + log_rho, -jnp.inf))
    log_rho_mean = jnp.sum(probability * log_rho)
    # p(v) = rho(v) exp(-H(v)) / Z_RBM for every kernel, so ln p needs no second enumeration.
    log_model = log_rho - jnp.where(is_there, energies, 0) + hidden_free_energy
    return Matching(
        log_rho=log_rho,
        log_rho_mean=log_rho_mean,
        log_rho_std=jnp.sqrt(jnp.sum(probability * (log_rho - log_rho_mean) ** 2)),
        log_rho_max=jnp.max(jnp.abs(log_rho)),
        visible_free_energy=visible_free_energy,
        hidden_free_energy=hidden_free_energy,
        free_energy_difference=hidden_free_energy - visible_free_energy,
        log_mean_rho=log_mean_rho,
        kl=jnp.sum(probability * (log_p - log_model)),
        jensen_gap=log_mean_rho - log_rho_mean,
        coarse_hamiltonian=coarse_hamiltonian,
    )


def kernel_matching(
    hamiltonian: Hamiltonian, shape: Sequence[int], log_kernel: LogKernel, coarse_shape: Sequence[int]
) -> Matching:
    r"""How far any kernel T(h\|s) is from an exact renormalisation, by enumeration; arguments of `exact.coarse_grain`.

    The same numbers as `matching` gives of a machine, with :math:`\rho(s) = \sum_h T(h|s)` and
    :math:`p(s) = \rho(s)\, e^{-H(s)} / Z'`: ln ρ = 0 of a normalised kernel, whose ΔF and KL vanish.

    Args:
        hamiltonian: reduced H of one configuration ``[*shape]``; +inf forbids a state, whose ln ρ is given as 0.
        shape: sides of the fine configuration.
        log_kernel: ``log_kernel(coarse, fine)``, ln T(h\|s).
        coarse_shape: sides of the coarse configuration.

    Raises:
        ValueError: as `jaxrg.exact.coarse_grain`; a kernel whose ρ diverges, vanishes or is NaN at a state with
            weight, which no renormalisation can leave out.

    Example:
        >>> from jaxrg import rg
        >>> energy = lambda s: -0.3 * jnp.sum(s * jnp.roll(s, 1)).astype(jnp.float32)
        >>> pair = lambda h, s: 0.3 * jnp.float32(h[0] * jnp.sum(s, dtype=jnp.int8))  # not normalised
        >>> match = kernel_matching(energy, (4,), pair, (1,))
        >>> bool(match.kl > 1e-3), bool(jnp.abs(match.kl - match.jensen_gap) < 1e-6)
        (True, True)
    """
    check_function("hamiltonian", hamiltonian, of="one configuration")
    check_function("log_kernel", log_kernel, of="a coarse and a fine configuration")
    fine, coarse = as_sides("shape", shape), as_sides("coarse_shape", coarse_shape)
    match = _kernel_matching(as_partial(hamiltonian), fine, as_partial(log_kernel), coarse)
    if not is_traced(match):
        log_rho = np.asarray(match.log_rho)
        wrong = np.flatnonzero(~np.isfinite(log_rho))
        if wrong.size:
            spins = [1 if wrong[0] >> site & 1 else -1 for site in range(math.prod(fine))]
            raise ValueError(
                f"log_kernel: expected finite ln rho(s) = ln sum_h T(h|s) of every state, got {log_rho[wrong[0]]} at "
                f"spins {spins} and others at {wrong.size - 1} more states"
            )
    return match


@functools.partial(jax.jit, static_argnames=("shape", "coarse_shape"))
def _kernel_matching(
    hamiltonian: Partial, shape: tuple[int, ...], log_kernel: Partial, coarse_shape: tuple[int, ...]
) -> Matching:
    result = exact.coarse_grain(hamiltonian, shape, log_kernel, coarse_shape)
    return _of_log_rho(exact.energies(hamiltonian, shape), result.log_rho, result.hamiltonian)


def conditional_hamiltonian(machine: RBM, hamiltonian: Hamiltonian, *, shape: Sequence[int] | None = None) -> Array:
    r"""``[2**num_hidden]`` :math:`-\ln \sum_v P(v)\, p(h|v)`: the Hamiltonian of what the next layer learns.

    It differs from :math:`H^{RBM}(h)` unless the machine reproduces P.

    Args:
        machine: the Boltzmann machine.
        hamiltonian: reduced H of one configuration ``[*shape]``.
        shape: shape of a configuration; flat by default.

    Raises:
        ValueError: a shape that does not hold ``num_visible`` spins, or more units than can be enumerated.
    """
    machine, shape = _as_map(machine, hamiltonian, shape)
    result = exact.coarse_grain(hamiltonian, shape, normalized_machine_kernel(machine), machine.hidden_bias.shape)
    return _normalized(result.hamiltonian, result.fine_free_energy)


@jax.jit
def _normalized(hamiltonian: Array, free_energy: Array) -> Array:
    return hamiltonian - free_energy


def bond_machine(lattice: Lattice, coupling: Array | float) -> RBM:
    r"""One hidden unit for every bond of an Ising model: its marginal on the visible spins is that model.

    .. math:: \cosh 2w = e^{2|K|}, \qquad 2\cosh(w(s + \mathrm{sign}(K)\, s')) = 2 e^{|K|} e^{K s s'}

    so that ln ρ = (ln 2 + abs(K)) for every bond, and KL = 0.

    Args:
        lattice: geometry; the visible units are its sites in row-major order.
        coupling: K, scalar, of either sign; at K = 0 the weight has a square-root singularity and no gradient.

    Returns:
        A machine with ``num_sites`` visible and ``num_bonds`` hidden units and no biases.
    """
    if not isinstance(lattice, Lattice):
        raise ValueError(f"lattice: expected a Lattice such as lattice.hypercubic((4, 4)), got {kind_of(lattice)}")
    strength = as_parameter("coupling", coupling)
    check_shape("coupling", strength, ())
    return _bond_machine(strength, lattice)


@functools.partial(jax.jit, static_argnums=1)
def _bond_machine(strength: Array, lattice: Lattice) -> RBM:
    edges = lattice.edges()
    # arccosh(e^{2K}) = 2K + ln(1 + sqrt(1 - e^{-4K})), finite where e^{2K} overflows.
    doubled = 2 * jnp.abs(strength)
    weight = (doubled + jnp.log1p(jnp.sqrt(-jnp.expm1(-2 * doubled)))) / 2
    hidden = np.arange(len(edges))
    weights = jnp.zeros((lattice.num_sites, len(edges)), weight.dtype)
    weights = weights.at[edges[:, 0], hidden].add(weight)
    weights = weights.at[edges[:, 1], hidden].add(jnp.where(strength < 0, -weight, weight))
    return RBM(weights, jnp.zeros((lattice.num_sites,), weight.dtype), jnp.zeros((len(edges),), weight.dtype))
