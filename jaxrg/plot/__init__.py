"""Figures with matplotlib; every function returns a ``Figure`` to save or show."""

from jaxrg.plot.flow_diagrams import flow_diagram
from jaxrg.plot.heat_map import interaction_heat_map
from jaxrg.plot.interaction_figures import (
    interaction_network,
    interaction_upset,
    interaction_waterfall,
    order_spectrum,
)
from jaxrg.plot.lattice_figures import block_ladder, coupling_flow, couplings_by_level, temperature_scan
from jaxrg.plot.machine_figures import exact_map, locality_by_level, receptive_fields, reconstructions
from jaxrg.plot.training_figures import interactions_through_training

__all__ = [
    "block_ladder",
    "coupling_flow",
    "couplings_by_level",
    "exact_map",
    "flow_diagram",
    "interaction_heat_map",
    "interaction_network",
    "interaction_upset",
    "interaction_waterfall",
    "interactions_through_training",
    "locality_by_level",
    "order_spectrum",
    "receptive_fields",
    "reconstructions",
    "temperature_scan",
]
