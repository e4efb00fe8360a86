"""Kinds of units that a layer of a machine can have."""

from jaxrg.rbm.units.gaussian import Gaussian
from jaxrg.rbm.units.grey_levels import GreyLevels
from jaxrg.rbm.units.potts import Potts
from jaxrg.rbm.units.spins import Binary, Spins, Units

__all__ = ["Binary", "Gaussian", "GreyLevels", "Potts", "Spins", "Units"]
