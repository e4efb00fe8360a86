"""The Ising model as a field: its exact continuous dual on a periodic lattice."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg import random
from jaxrg.checks import as_floating, as_floating_alike, as_spins, check_key, check_number, check_shape
from jaxrg.lattice import Lattice, shift
from jaxrg.lattice.geometry import check_lattice
from jaxrg.models.construction import as_couplings, pytree
from jaxrg.models.fields import alike, of_field
from jaxrg.models.observables import Observables


@functools.cache
def _adjacency_spectrum(lattice: Lattice) -> np.ndarray:
    """``[*shape]`` eigenvalues of the adjacency matrix, by wave vector."""
    momenta = np.meshgrid(*(2 * np.pi * np.arange(side) / side for side in lattice.shape), indexing="ij")
    phases = np.tensordot(np.reshape(lattice.bonds, (-1, lattice.ndim)), np.stack(momenta), axes=1)
    return 2 * np.cos(phases).sum(axis=0)


@pytree(data_fields=("coupling", "margin"), meta_fields=("lattice",))
@dataclasses.dataclass(frozen=True)
class IsingDual:
    r"""A real field whose spins, given the field, are independent and whose marginal spins are the Ising model.

    .. math:: S(x) = \tfrac12 x^T K^{-1} x - \sum_i \ln\cosh x_i, \qquad K = J A + (m - \lambda_{\min}) 1

    where A is the adjacency matrix of the lattice, :math:`\lambda_{\min}` the least eigenvalue of J A, and m the least
    one of K. Its joint distribution with spins is Gaussian in x and independent in s,
    :math:`p(s, x) \propto e^{-x^T K^{-1} x/2 + s^T x}`, so that both conditionals are drawn exactly. K is
    diagonal in momentum space, where everything is done.

    ``observables`` are the conditional means given the field, :math:`-N^{-1}\sum \tanh x_i \tanh x_j` in units of J and
    :math:`N^{-1}\sum\tanh x_i`, whose averages are those of the Ising model. Powers of the magnetisation want spins,
    from ``spins_given_field``.

    Attributes:
        lattice: geometry, static, periodic along all axes.
        coupling: J/kT of the Ising model, scalar; of either sign.
        margin: m > 0, scalar; 0.1 is that of the literature.

    Raises:
        ValueError: no Lattice, an open boundary, couplings that are no finite scalars, or a margin not above zero.

    Example:
        >>> from jaxrg import exact, lattice
        >>> model = IsingDual(lattice.hypercubic((4, 4)), exact.critical_coupling)
        >>> log_partition = exact.torus_log_partition(model.coupling, (4, 4)) + model.log_offset()
        >>> round(float(log_partition), 3)  # ln of the integral of exp(-S)
        37.377

    Reference:
        Li & Wang, Phys. Rev. Lett. 121, 260601 (2018).
    """

    lattice: Lattice
    coupling: Array | float
    margin: Array | float = 0.1

    def __post_init__(self) -> None:
        geometry = check_lattice("lattice", self.lattice)
        if not all(geometry.periodic):
            raise ValueError(f"lattice: expected one that is periodic along all axes, got {geometry.periodic}")
        object.__setattr__(self, "coupling", as_couplings("coupling", self.coupling, ()))
        object.__setattr__(self, "margin", as_couplings("margin", self.margin, ()))
        check_number("margin", self.margin, above=0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a configuration."""
        return self.lattice.shape

    def _spectrum(self) -> tuple[Array, Array]:
        """``[*shape]`` eigenvalues of K, and what it adds to the diagonal of J A."""
        adjacency = _adjacency_spectrum(self.lattice)
        coupling, margin = as_floating_alike(coupling=self.coupling, margin=self.margin)
        offset = margin - jnp.minimum(coupling * float(adjacency.min()), coupling * float(adjacency.max()))
        return coupling * jnp.asarray(adjacency, coupling.dtype) + offset, offset

    def _filtered(self, power: float, field: Array) -> Array:
        """K to a power, times the field."""
        modes = jnp.fft.rfftn(field)
        factors = self._spectrum()[0][..., : modes.shape[-1]] ** power
        return jnp.fft.irfftn(modes * factors.astype(modes.dtype), self.shape)

    @of_field
    def action(self, field: Array) -> Array:
        """Scalar S of one configuration ``[*shape]``."""
        field, *_ = alike(field, self.coupling, self.margin)
        # Not ln cosh: its exponentials overflow.
        return jnp.sum(0.5 * field * self._filtered(-1, field) - jnp.logaddexp(field, -field) + math.log(2))

    @of_field
    def observables(self, field: Array) -> Observables:
        """Means over the spins given the field: energy in units of J, and magnetisation."""
        means = jnp.tanh(field)
        aligned = sum(jnp.sum(means * shift(self.lattice, means, bond)) for bond in self.lattice.bonds)
        return Observables(-jnp.asarray(aligned) / float(field.size), jnp.mean(means))

    def log_offset(self) -> Array:
        r"""What the field has more than the spins, exact and differentiable by the coupling.

        .. math:: \ln\!\int\! dx\, e^{-S(x)} - \ln Z_{\mathrm{Ising}} =
            \tfrac12 \ln\det 2\pi K - N \ln 2 + \tfrac{N}{2} (m - \lambda_{\min})
        """
        return _log_offset(self)

    def spins_given_field(self, key: Array, field: Array) -> Array:
        r"""``[*shape]`` int8 spins drawn from :math:`P(s_i = \pm1 \mid x) = 1/(1 + e^{\mp 2 x_i})`.

        Raises:
            ValueError: no typed key, or a field of another shape.
        """
        check_key("key", key)
        array = as_floating("field", field)
        check_shape("field", array, self.shape)
        return _spins_given_field(key, array)

    def field_given_spins(self, key: Array, spins: Array) -> Array:
        r"""``[*shape]`` field drawn from the normal distribution with mean K s and covariance K.

        Spins of the Ising model give independent fields of this one.

        Raises:
            ValueError: no typed key, or no spins ±1 of this shape.
        """
        check_key("key", key)
        return _field_given_spins(self, key, as_spins("spins", spins, self.shape))


@jax.jit
def _log_offset(model: IsingDual) -> Array:
    eigenvalues, offset = model._spectrum()
    per_site = jnp.log(2 * math.pi * eigenvalues) + offset - 2 * math.log(2)
    return 0.5 * jnp.sum(per_site)


@jax.jit
def _spins_given_field(key: Array, field: Array) -> Array:
    sites = jnp.arange(field.size, dtype=jnp.uint32).reshape(field.shape)
    return jnp.where(random.bernoulli_logit(key, sites, 2 * field), jnp.int8(1), jnp.int8(-1))


@jax.jit
def _field_given_spins(model: IsingDual, key: Array, spins: Array) -> Array:
    dtype = model._spectrum()[0].dtype
    noise = jax.random.normal(key, model.shape, dtype)
    return model._filtered(1, spins.astype(dtype)) + model._filtered(0.5, noise)
