"""Every interaction index of a game by its name: one function of a table and an order, stated once as a formula."""

from jaxrg.interactions.indices.contexts import derivative_sums, subset_indices, subsets_up_to
from jaxrg.interactions.indices.generalized import (
    banzhaf_generalized_values,
    chaining_generalized_values,
    external_generalized_values,
    generalized_value,
    generalized_values,
    internal_generalized_values,
    joint_shapley_values,
    shapley_generalized_values,
)
from jaxrg.interactions.indices.matrices import matrix_of_pairs, pairs_of_matrix, pairs_of_table, table_of_pairs
from jaxrg.interactions.indices.shares import (
    banzhaf_interactions,
    chaining_interactions,
    faithful_banzhaf_interactions,
    faithful_shapley_interactions,
    fourier_coefficients,
    interaction_index,
    interaction_indices,
    k_additive_shapley,
    k_shapley_interactions,
    shapley_interactions,
    shapley_taylor_interactions,
)

__all__ = [
    "banzhaf_generalized_values",
    "banzhaf_interactions",
    "chaining_generalized_values",
    "chaining_interactions",
    "derivative_sums",
    "external_generalized_values",
    "faithful_banzhaf_interactions",
    "faithful_shapley_interactions",
    "fourier_coefficients",
    "generalized_value",
    "generalized_values",
    "interaction_index",
    "interaction_indices",
    "internal_generalized_values",
    "joint_shapley_values",
    "k_additive_shapley",
    "k_shapley_interactions",
    "matrix_of_pairs",
    "pairs_of_matrix",
    "pairs_of_table",
    "shapley_generalized_values",
    "shapley_interactions",
    "shapley_taylor_interactions",
    "subset_indices",
    "subsets_up_to",
    "table_of_pairs",
]
