"""Thermodynamics of a lattice of spins, with errors, from the series of its energy and magnetization."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import check_count
from jaxrg.stats._layout import as_chains, mean_and_deviations
from jaxrg.stats.autocorrelation import GammaEstimate, gamma_method


def binder_cumulant(m2: Array, m4: Array) -> Array:
    r"""Binder's fourth-order cumulant: 2/3 in the ordered phase, 0 in the disordered one of a large system.

    .. math:: U_4 = 1 - \frac{\langle m^4 \rangle}{3 \langle m^2 \rangle^2}

    Args:
        m2: mean of the squared magnetization.
        m4: mean of its fourth power.

    Example:
        >>> float(binder_cumulant(jnp.float32(1.0), jnp.float32(3.0)))  # a Gaussian of unit variance
        0.0

    Reference:
        Binder, Z. Phys. B 43, 119 (1981).
    """
    return 1 - m4 / (3 * m2**2)


def specific_heat(energy: Array, energy_squared: Array, *, coupling: Array | float, num_sites: int) -> Array:
    r"""Specific heat per site in units of the Boltzmann constant, from the fluctuations of the energy per site.

    .. math:: c = K^2 N \left( \langle e^2 \rangle - \langle e \rangle^2 \right), \qquad
        e = -\frac1N \sum_{\langle ij \rangle} s_i s_j, \qquad K = \beta J

    A constant taken off every energy changes nothing but the rounding: in float32 take off one near the mean, or the
    cancellation costs all digits from about 1e6 sites. With ``streaming_moments`` pass mean 0 and ``central_2``.

    Args:
        energy: mean energy per site in units of J.
        energy_squared: mean of its square.
        coupling: reduced coupling K.
        num_sites: number of sites N.

    Raises:
        ValueError: ``num_sites`` below 1.

    Example:
        >>> energy = jnp.array([-2.0, -1.0, -2.0, -1.0])
        >>> float(specific_heat(energy.mean(), (energy**2).mean(), coupling=0.5, num_sites=4))
        0.25
    """
    check_count("num_sites", num_sites)
    return coupling**2 * int(num_sites) * (energy_squared - energy**2)


def susceptibility(magnetization: Array | float, magnetization_squared: Array, *, num_sites: int) -> Array:
    r"""Reduced susceptibility per site, the response of m to a field in which beta is absorbed.

    .. math:: \chi = \frac{\partial m}{\partial h} = N \left( \langle m^2 \rangle - \langle m \rangle^2 \right)

    Args:
        magnetization: mean magnetization per site; without a field exactly 0, and that is the response of the finite
            lattice. Where the symmetry is broken one passes the mean of the modulus, for the response of one phase.
        magnetization_squared: mean of the squared magnetization per site.
        num_sites: number of sites N.

    Raises:
        ValueError: ``num_sites`` below 1.

    Example:
        >>> float(susceptibility(0.0, jnp.float32(0.25), num_sites=16))
        4.0
    """
    check_count("num_sites", num_sites)
    return int(num_sites) * (magnetization_squared - magnetization**2)


class Thermodynamics(NamedTuple):
    """What `thermodynamics` measures, per site and without a field."""

    energy: GammaEstimate  # <e> in units of J
    specific_heat: GammaEstimate  # K^2 N (<e^2> - <e>^2), in units of the Boltzmann constant
    abs_magnetization: GammaEstimate  # <|m|>
    susceptibility: GammaEstimate  # N <m^2>
    binder: GammaEstimate  # 1 - <m^4> / (3 <m^2>^2)


def thermodynamics(trace: Any, *, coupling: Array | float, num_sites: int) -> Thermodynamics:
    r"""Energy, specific heat, magnetization, susceptibility and Binder cumulant with errors by the Gamma method.

    The susceptibility is :math:`N \langle m^2 \rangle`, the exact response of the finite lattice without a field, which
    needs no chain to have tunnelled between the phases. Below the critical temperature it grows with N; the response of
    one phase subtracts :math:`N \langle |m| \rangle^2`, and is then 1 - 2/π of the former in the disordered one::

        moments = {"m": abs(trace.magnetization), "m2": trace.magnetization**2}
        gamma_method(lambda mean: susceptibility(mean["m"], mean["m2"], num_sites=num_sites), moments)

    Args:
        trace: with fields ``energy`` and ``magnetization``, ``[chains, samples, ...]`` per site, the energy in units of
            J: ``jaxrg.samplers.run(..., observe=ising.observables).trace``.
        coupling: reduced coupling K; 1 where the energies are reduced ones, as those of a glass.
        num_sites: number of sites N.

    Returns:
        ``Thermodynamics``, every field a ``GammaEstimate``. Good in float32: the mean is taken off the energies
            before they are squared.

    Raises:
        ValueError: ``num_sites`` below 1, or series that are not ``[chains, samples, ...]``.

    Example:
        >>> from jaxrg.models import Observables
        >>> m = jax.random.normal(jax.random.key(0), (1, 10_000)) / 4
        >>> chi = thermodynamics(Observables(-m, m), coupling=0.5, num_sites=16).susceptibility
        >>> bool(abs(chi.value - 1) < 3 * chi.error), bool(abs(chi.error - 0.014) < 0.001)
        (True, True)
    """
    check_count("num_sites", num_sites)
    energy, magnetization = as_chains("trace", (trace.energy, trace.magnetization))
    return _thermodynamics(energy, magnetization, coupling, num_sites)


@functools.partial(jax.jit, static_argnames="num_sites")
def _thermodynamics(energy: Array, magnetization: Array, coupling: Array | float, num_sites: int) -> Thermodynamics:
    offset, centred = mean_and_deviations(energy)  # a plain float32 mean of 1e7 energies is far from it
    m2 = magnetization**2
    series = {"e": centred, "e2": centred**2, "abs_m": jnp.abs(magnetization), "m2": m2, "m4": m2**2}

    def quantities(mean: dict[str, Array]) -> Array:
        return jnp.stack(
            [
                offset + mean["e"],
                specific_heat(mean["e"], mean["e2"], coupling=coupling, num_sites=num_sites),
                mean["abs_m"],
                susceptibility(0, mean["m2"], num_sites=num_sites),
                binder_cumulant(mean["m2"], mean["m4"]),
            ]
        )

    together = gamma_method(quantities, series)  # in one array: one Fourier transform to compile, not five
    return Thermodynamics(*(jax.tree.map(lambda leaf, row=row: leaf[row], together) for row in range(5)))
