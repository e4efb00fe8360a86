"""Real-space renormalisation as maps of couplings, K' = R(K): exact ones, bond moving, bounds and variational kernels.

`jaxrg.rg.fixed_point` takes any of them, `jaxrg.rg.scaling` its linearisation, `jaxrg.rg.critical_coupling` both.
"""

from jaxrg.rg.real_space.bond_moving import decimate_then_move, move_then_decimate
from jaxrg.rg.real_space.decimation import ChainCouplings, SquareDecimation, decimate_chain, decimate_square
from jaxrg.rg.real_space.enumeration import coarse_couplings, coarse_lattice_gas
from jaxrg.rg.real_space.lower_bound import (
    LowerBoundFixedPoint,
    LowerBoundStep,
    SquareCouplings,
    lower_bound_fixed_point,
    lower_bound_log_partition,
    lower_bound_step,
)
from jaxrg.rg.real_space.variational import Minimum, Variational, minimum, variational_kernel

__all__ = [
    "ChainCouplings",
    "LowerBoundFixedPoint",
    "LowerBoundStep",
    "Minimum",
    "SquareCouplings",
    "SquareDecimation",
    "Variational",
    "coarse_couplings",
    "coarse_lattice_gas",
    "decimate_chain",
    "decimate_square",
    "decimate_then_move",
    "lower_bound_fixed_point",
    "lower_bound_log_partition",
    "lower_bound_step",
    "minimum",
    "move_then_decimate",
    "variational_kernel",
]
