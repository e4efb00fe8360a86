"""Free-energy differences from samples of both ends, or of many states in a row, with autocorrelation-aware errors."""

from jaxrg.stats.free_energies.estimators import FreeEnergies, bennett_acceptance_ratio, multistate_bennett

__all__ = ["FreeEnergies", "bennett_acceptance_ratio", "multistate_bennett"]
