"""A ring of spins with a coupling of every three neighbours."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_parameter, check_shape
from jaxrg.models import Observables, magnetization, pytree


@pytree(data_fields=("coupling",), meta_fields=("num_sites",))
@dataclasses.dataclass(frozen=True)
class TripletRing:
    r"""One line.

    .. math:: H(s) = -K \sum_i s_i s_{i+1} s_{i+2}

    Attributes:
        num_sites: length of the ring, a multiple of three; static.
        coupling: K, a leaf, so that another temperature does not recompile.
    """

    num_sites: int
    coupling: Array | float

    def __post_init__(self) -> None:
        object.__setattr__(self, "coupling", as_parameter("coupling", self.coupling))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.num_sites,)

    @property
    def colours(self) -> np.ndarray:
        """Sites of one colour, three apart, share no term of H: a sweep updates them at once."""
        return np.arange(self.num_sites, dtype=np.int32) % 3

    @property
    def num_colours(self) -> int:
        return 3

    def hamiltonian(self, spins: Array) -> Array:
        check_shape("spins", spins, self.shape)
        coupling = jnp.asarray(self.coupling)
        values = spins.astype(coupling.dtype)
        return -coupling * jnp.sum(values * jnp.roll(values, -1) * jnp.roll(values, -2))

    def local_field(self, spins: Array) -> Array:
        """-dH/ds_i, exact, as H is linear in every single spin."""
        return -jax.grad(self.hamiltonian)(spins.astype(jnp.asarray(self.coupling).dtype))

    def observables(self, spins: Array) -> Observables:
        energy = self.hamiltonian(spins) / self.num_sites
        return Observables(energy, magnetization(spins, energy.dtype))
