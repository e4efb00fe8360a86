"""Real-space renormalisation as maps of couplings, K' = R(K): exact ones, and those of bond moving and lower bounds."""

from jaxrg.rg.real_space.enumeration import coarse_couplings, coarse_lattice_gas

__all__ = [
    "coarse_couplings",
    "coarse_lattice_gas",
]
