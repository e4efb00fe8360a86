"""Information inside networks: exact entropies by counting, bounds with noise, and what binning makes of them."""

from jaxrg.explain.information.counting import binned, entropy_bits, information_bits
from jaxrg.explain.information.noise import NoisyInformation, noisy_information_bits

__all__ = ["NoisyInformation", "binned", "entropy_bits", "information_bits", "noisy_information_bits"]
