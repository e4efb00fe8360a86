"""Lattice geometry: sides, boundaries, bonds, sublattices, blocks, clusters and translation-invariant operators."""

from jaxrg.lattice.blocks import block_shape, from_blocks, to_blocks
from jaxrg.lattice.clusters import cluster_labels, lattice_cluster_labels, square_cluster_labels
from jaxrg.lattice.colouring import check_colouring, checkerboard, greedy_colouring, sublattice_colouring
from jaxrg.lattice.geometry import Lattice, hypercubic, inside, laplacian_eigenvalues, shift, triangular
from jaxrg.lattice.operators import Operators, evaluate, operators, point_group, standard_operators
from jaxrg.lattice.symmetries import random_symmetry

__all__ = [
    "Lattice",
    "Operators",
    "block_shape",
    "check_colouring",
    "checkerboard",
    "cluster_labels",
    "evaluate",
    "from_blocks",
    "greedy_colouring",
    "hypercubic",
    "inside",
    "laplacian_eigenvalues",
    "lattice_cluster_labels",
    "operators",
    "point_group",
    "random_symmetry",
    "shift",
    "square_cluster_labels",
    "standard_operators",
    "sublattice_colouring",
    "to_blocks",
    "triangular",
]
