"""Two replicas of a model of pairs as one model, and their overlaps: what glasses have for an order parameter."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import PairModel
from jaxrg.checks import as_spins, kind_of
from jaxrg.models.construction import of_spins, pytree
from jaxrg.models.observables import exact_sum


class ReplicaObservables(NamedTuple):
    """What two replicas report of one pair of configurations."""

    energy: Array  # [] per site, the mean of what the model reports of both
    overlap: Array  # [] q
    link_overlap: Array  # [] q_l


def overlap(first: Array, second: Array) -> Array:
    r"""Overlap of two configurations, the order parameter of a glass.

    .. math:: q = \frac1N \sum_x s_x t_x

    Resolved by wave vectors it is ``jaxrg.stats.correlations.structure_factor(first * second)``, whose entry 0 is N q².

    Args:
        first: ``[*shape]`` ±1.
        second: ``[*shape]`` ±1, of the same shape.

    Raises:
        ValueError: other spins than ±1, or another shape than the first has.

    Example:
        >>> float(overlap(jnp.array([1, -1, 1, 1]), jnp.array([1, 1, 1, 1])))
        0.5

    Reference:
        Edwards & Anderson, J. Phys. F 5, 965 (1975).
    """
    return _overlap(*_as_pair(first, second))


def link_overlap(model: PairModel, first: Array, second: Array) -> Array:
    r"""Overlap of two configurations on the bonds of a model.

    .. math:: q_l = \frac{1}{N_b} \sum_{\langle xy \rangle} s_x s_y t_x t_y

    It does not see a global flip, and tells domains with a surface from those without. In equilibrium, with Gaussian
    couplings of unit variance, the energy a site in units of J is :math:`[u] = -K (N_b/N) (1 - [q_l])` in the mean over
    the couplings, which a run that is not yet in equilibrium violates from both sides.

    Args:
        model: Ising, Glass, SparsePairs, DensePairs, or another `jaxrg.base.PairModel`; its bonds count alike, whatever
            their couplings.
        first: ``[*shape]`` ±1.
        second: ``[*shape]`` ±1.

    Raises:
        ValueError: a model without bonds, or spins other than ±1 of the model's shape.

    Example:
        >>> from jaxrg import lattice, models
        >>> chain = models.Ising(lattice.hypercubic((4,), periodic=False), 1.0)
        >>> round(float(link_overlap(chain, jnp.array([1, 1, -1, -1]), jnp.array([1, 1, 1, 1]))), 4)
        0.3333

    Reference:
        Katzgraber, Palassini & Young, Phys. Rev. B 63, 184422 (2001).
    """
    _check_pairs(model)
    shape = tuple(model.shape)
    return _link_overlap(model, as_spins("first", first, shape), as_spins("second", second, shape))


def _as_pair(first: Any, second: Any) -> tuple[Array, Array]:
    one = as_spins("first", first)
    return one, as_spins("second", second, one.shape)


def _check_pairs(model: Any) -> None:
    if isinstance(model, type) or not all(
        hasattr(model, name) for name in ("bond_ends", "cluster_labels", "field_array")
    ):
        raise ValueError(f"model: expected a PairModel, as Ising and Glass are, got {kind_of(model)}")


def _product(first: Array, second: Array) -> Array:
    """s t at every site, exact."""
    return first.astype(jnp.int8) * second.astype(jnp.int8)


@jax.jit
def _overlap(first: Array, second: Array) -> Array:
    return exact_sum(_product(first, second), jnp.result_type(float)) / float(first.size)


@jax.jit
def _link_overlap(model: PairModel, first: Array, second: Array) -> Array:
    here, there = model.bond_ends(_product(first, second))
    links = here * there  # zero where a bond would leave an open boundary
    return exact_sum(links, jnp.result_type(float)) / exact_sum(jnp.abs(links), jnp.result_type(float))


@pytree(data_fields=("model",), meta_fields=())
@dataclasses.dataclass(frozen=True)
class TwoReplicas:
    r"""Two configurations of one model side by side, independent of each other, as one configuration.

    .. math:: H(s, t) = H(s) + H(t)

    Any sampler of single spins runs it, `jaxrg.samplers.ensembles.houdayer` exchanges clusters between both, and
    `parallel_tempering` of such pairs measures overlaps at every coupling: the swap of a pair is as rare as that of two
    configurations at once, so that a ladder wants √2 as many couplings. ``observables`` are the overlaps.

    Attributes:
        model: Ising, Glass, SparsePairs, DensePairs, or another `jaxrg.base.PairModel`.

    Raises:
        ValueError: a model without pair couplings.

    Example:
        >>> from jaxrg import lattice, models
        >>> pair = TwoReplicas(models.Ising(lattice.hypercubic((4, 4)), 0.5))
        >>> up = jnp.ones((4, 4), jnp.int8)
        >>> found = pair.observables(jnp.stack([up, -up]))
        >>> pair.shape, float(found.energy), float(found.overlap), float(found.link_overlap)
        ((2, 4, 4), -2.0, -1.0, 1.0)
    """

    model: PairModel

    def __post_init__(self) -> None:
        _check_pairs(self.model)

    @property
    def shape(self) -> tuple[int, ...]:
        return (2, *self.model.shape)

    @property
    def colours(self) -> Any:
        """``[2, *shape]`` sublattices of the model, in both replicas at once."""
        colours = self.model.colours
        return (np if isinstance(colours, np.ndarray) else jnp).stack([colours, colours])

    @property
    def num_colours(self) -> int:
        return self.model.num_colours

    @of_spins
    def hamiltonian(self, spins: Array) -> Array:
        """H(s) + H(t) of one pair ``[2, *shape]``."""
        return self.model.hamiltonian(spins[0]) + self.model.hamiltonian(spins[1])

    @of_spins
    def local_field(self, spins: Array) -> Array:
        """``[2, *shape]`` local fields of both."""
        return jnp.stack([self.model.local_field(spins[0]), self.model.local_field(spins[1])])

    @of_spins
    def observables(self, spins: Array) -> ReplicaObservables:
        """Mean energy, overlap and link overlap of one pair ``[2, *shape]``."""
        energies = [self.model.observables(one).energy for one in spins]
        return ReplicaObservables(
            (energies[0] + energies[1]) / 2, _overlap(spins[0], spins[1]), _link_overlap(self.model, *spins)
        )
