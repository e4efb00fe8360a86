"""Couplings of every order of a machine's visible layer, the hidden one summed out, for layers of any size."""

from jaxrg.rbm.couplings.lattice_gas import lattice_gas
from jaxrg.rbm.couplings.zero_sum import gaussian_approximation, of_sets, pairs

__all__ = ["gaussian_approximation", "lattice_gas", "of_sets", "pairs"]
