"""Thermodynamics of a lattice of spins, with errors, from the series of its energy and magnetization."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.checks import as_floating, as_operands, check_count
from jaxrg.stats._layout import as_chains, mean_and_deviations
from jaxrg.stats.autocorrelation import GammaEstimate, as_tau_exp, gamma_of_chains


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
    return _binder_cumulant(*as_operands(m2=m2, m4=m4))


@jax.jit
def _binder_cumulant(m2: Array, m4: Array) -> Array:
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
    operands = as_operands(energy=energy, energy_squared=energy_squared, num_sites=num_sites, coupling=coupling)
    return _fluctuation(*operands)


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
    operands = as_operands(
        magnetization=magnetization, magnetization_squared=magnetization_squared, num_sites=num_sites, coupling=1.0
    )
    return _fluctuation(*operands)


@jax.jit
def _fluctuation(mean: Array, square: Array, num_sites: Array, coupling: Array) -> Array:
    return coupling**2 * num_sites * (square - mean**2)


class Thermodynamics(NamedTuple):
    """What `thermodynamics` measures, per site and without a field."""

    energy: GammaEstimate  # <e> in units of J
    specific_heat: GammaEstimate  # K^2 N (<e^2> - <e>^2), in units of the Boltzmann constant
    abs_magnetization: GammaEstimate  # <|m|>
    susceptibility: GammaEstimate  # N <m^2>
    binder: GammaEstimate  # 1 - <m^4> / (3 <m^2>^2)


class ThermodynamicMoments(NamedTuple):
    """Powers of one configuration's energy and magnetization per site, whose means make a `Thermodynamics`."""

    energy: Array  # e - around
    energy_squared: Array  # (e - around)^2
    abs_magnetization: Array
    m2: Array
    m4: Array


def thermodynamic_moments(energy: Array, magnetization: Array, *, around: Array | float = 0.0) -> ThermodynamicMoments:
    """What to observe where no trace is stored: `thermodynamics` takes their `bin_means` as it takes a trace.

    Args:
        energy: per site, in units of J.
        magnetization: per site.
        around: a constant near the mean energy, taken off before squaring; in float32 without one the specific heat of
            N sites is good to about 1e-7 N of itself.

    Example:
        >>> thermodynamic_moments(jnp.float32(-1.5), jnp.float32(0.5), around=-1.0).energy_squared.item()
        0.25
    """
    return _moments(*as_operands(energy=energy, magnetization=magnetization, around=around))


@jax.jit
def _moments(energy: Array, magnetization: Array, around: Array) -> ThermodynamicMoments:
    centred, m2 = energy - around, jnp.square(magnetization)
    return ThermodynamicMoments(centred, jnp.square(centred), jnp.abs(magnetization), m2, jnp.square(m2))


def thermodynamics(
    trace: Any,
    *,
    coupling: Array | float,
    num_sites: int,
    around: Array | float = 0.0,
    tau_exp: float = 0.0,
) -> Thermodynamics:
    r"""Energy, specific heat, magnetization, susceptibility and Binder cumulant with errors.

    The errors are those of `gamma_method`, all five in view of the slowest: at the critical point the magnetization
    shows a time that the specific heat hides.

    The susceptibility is :math:`N \langle m^2 \rangle`, the exact response of the finite lattice without a field, which
    needs no chain to have tunnelled between the phases. Below the critical temperature it grows with N; the response of
    one phase subtracts :math:`N \langle |m| \rangle^2`, and is then 1 - 2/π of the former in the disordered one::

        moments = {"m": abs(trace.magnetization), "m2": trace.magnetization**2}
        gamma_method(lambda mean: susceptibility(mean["m"], mean["m2"], num_sites=num_sites), moments)

    Args:
        trace: with fields ``energy`` and ``magnetization``, ``[chains, samples, ...]`` per site, the energy in units of
            J: ``jaxrg.samplers.run(..., observe=ising.observables).trace``. Or `ThermodynamicMoments` of such series,
            as from `bin_means` where no trace was stored.
        coupling: reduced coupling K; 1 where the energies are reduced ones, as those of a glass.
        num_sites: number of sites N.
        around: what `thermodynamic_moments` took off the energies; not for a trace.
        tau_exp: the slowest time of the chain in samples, where it is known; 0 where it is not.

    Returns:
        ``Thermodynamics``, every field a ``GammaEstimate``. Good in float32: the mean is taken off the energies of a
            trace before they are squared.

    Raises:
        ValueError: ``num_sites`` below 1, or series that are not ``[chains, samples, ...]``.

    Example:
        >>> from jaxrg.models import Observables
        >>> m = jax.random.normal(jax.random.key(0), (1, 10_000)) / 4
        >>> chi = thermodynamics(Observables(-m, m), coupling=0.5, num_sites=16).susceptibility
        >>> bool(abs(chi.value - 1) < 3 * chi.error), bool(abs(chi.error - 0.014) < 0.003)
        (True, True)
    """
    check_count("num_sites", num_sites)
    options = as_floating("coupling", coupling), as_floating("num_sites", num_sites), as_tau_exp(tau_exp)
    if isinstance(trace, ThermodynamicMoments):
        moments = as_chains("trace", trace)
        return _of_moments(moments, as_floating("around", around), *options)
    for name in ("energy", "magnetization"):
        if not hasattr(trace, name):
            raise ValueError(
                f"trace: expected fields energy and magnetization, got {type(trace).__name__} without {name}"
            )
    return _of_trace(*as_chains("trace", (trace.energy, trace.magnetization)), *options)


@jax.jit
def _of_trace(energy: Array, magnetization: Array, coupling: Array, num_sites: Array, tau_exp: Array) -> Thermodynamics:
    offset, centred = mean_and_deviations(energy)  # a plain float32 mean of 1e7 energies is far from it
    moments = _moments(centred, magnetization, jnp.zeros((), energy.dtype))
    return _of_moments(moments, offset, coupling, num_sites, tau_exp)


@jax.jit
def _of_moments(
    moments: ThermodynamicMoments, around: Array, coupling: Array, num_sites: Array, tau_exp: Array
) -> Thermodynamics:
    dtype = moments.energy.dtype
    k, n, shift = (value.astype(dtype) for value in (coupling, num_sites, around))

    def quantities(mean: ThermodynamicMoments) -> tuple[Array, ...]:
        c = _fluctuation(mean.energy, mean.energy_squared, n, k)
        binder = _binder_cumulant(mean.m2, mean.m4)
        return shift + mean.energy, c, mean.abs_magnetization, n * mean.m2, binder

    return Thermodynamics(*gamma_of_chains(Partial(quantities), moments, tau_exp))
