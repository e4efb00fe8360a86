"""Invertible renormalisation: hierarchical flows of fields and images, and of spins, with exact densities."""

from jaxrg.flows import bijectors, images, spins
from jaxrg.flows.cones import causal_cone, receptive_field, sensitivity
from jaxrg.flows.decimation import decimation_density, decimation_flow, extended_decimation
from jaxrg.flows.densities import FlowParams, density, latent_action
from jaxrg.flows.factors import Disentanglement, disentanglement
from jaxrg.flows.field_decimation import FieldDecimation, field_decimation
from jaxrg.flows.hierarchy import geometry, rg_flow
from jaxrg.flows.inpainting import inpaint, missing_sites
from jaxrg.flows.latents import decode, encode, latent_shapes, latent_sites, level_statistics, mix, traverse
from jaxrg.flows.objectives import (
    Annealing,
    annealed,
    forward_kl,
    log_variance,
    mixture,
    path_gradient,
    reverse_kl,
)
from jaxrg.flows.priors import conditional, gaussian, laplace
from jaxrg.flows.symmetry import phase_equivariant, symmetrized

__all__ = [
    "Annealing",
    "Disentanglement",
    "FieldDecimation",
    "FlowParams",
    "annealed",
    "bijectors",
    "causal_cone",
    "conditional",
    "decimation_density",
    "decimation_flow",
    "decode",
    "density",
    "disentanglement",
    "encode",
    "extended_decimation",
    "field_decimation",
    "forward_kl",
    "gaussian",
    "geometry",
    "images",
    "inpaint",
    "laplace",
    "latent_action",
    "latent_shapes",
    "latent_sites",
    "level_statistics",
    "log_variance",
    "missing_sites",
    "mix",
    "mixture",
    "path_gradient",
    "phase_equivariant",
    "receptive_field",
    "reverse_kl",
    "rg_flow",
    "sensitivity",
    "spins",
    "symmetrized",
    "traverse",
]
