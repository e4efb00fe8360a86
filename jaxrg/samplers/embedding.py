"""Clusters of fields, vectors and states: Ising spins embedded by a reflection, and their cluster kernels on them."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import FieldModel, Model, PyTree, Sampler
from jaxrg.lattice import Lattice
from jaxrg.models import Glass, Reflection
from jaxrg.models.sites import States
from jaxrg.samplers import clusters
from jaxrg.samplers.fields import check_field_model, field_sampler, model_target
from jaxrg.samplers.spins import SpinState, init_ordered, sites_of, spin_sampler


class Reflecting(Protocol):
    """What reflects the sites of a lattice."""

    @property
    def lattice(self) -> Lattice:
        """Geometry, static."""
        ...

    def reflection(self, turn: Array, field: Array) -> Reflection:
        """A reflection, chosen by a uniform number in [0, 1), and the Ising model of the sites that take it."""
        ...


class ReflectionModel(Reflecting, FieldModel, Protocol):
    """A field whose action, when some sites are reflected, is that of Ising spins: what cluster samplers ask for."""


class StateReflectionModel(Reflecting, Model, Protocol):
    """The same of q states."""


def embedded_spins(model: Reflecting, turn: Array, configuration: Array) -> tuple[Glass, Array]:
    """The Ising model of the signs of reflection, and the configuration with every site reflected."""
    bonds, reflected, field = model.reflection(turn, configuration)
    return Glass(model.lattice, bonds, field=field), reflected


def _embedded(kernel: Callable, model: Reflecting, key: Array, state: PyTree):
    turn_key, cluster_key = jax.random.split(key)
    name, configuration = state._fields[0], state[0]
    glass, reflected = embedded_spins(model, jax.random.uniform(turn_key), configuration)
    start = SpinState(jnp.ones(model.lattice.shape, jnp.int8), state.step)
    after, info = kernel(glass, cluster_key, start)
    is_reflected = (after.spins < 0).reshape(after.spins.shape + (1,) * (configuration.ndim - after.spins.ndim))
    moved = jnp.where(is_reflected, reflected.astype(configuration.dtype), configuration)
    return state._replace(**{name: moved}), info


def _wolff(model: Reflecting, key: Array, state: PyTree):
    return _embedded(clusters.wolff_step, model, key, state)


def _swendsen_wang(model: Reflecting, key: Array, state: PyTree):
    return _embedded(clusters.swendsen_wang_step, model, key, state)


def _sampler(kernel: Callable, model: Any) -> Sampler:
    if isinstance(sites_of(model), States):
        return spin_sampler(kernel, model, init=init_ordered, protocol=StateReflectionModel)
    check_field_model(model, ReflectionModel)
    return field_sampler(model_target(model), Partial(kernel, model))


def wolff_embedding(model: ReflectionModel | StateReflectionModel) -> Sampler:
    r"""Wolff's embedding: reflect one cluster of a field or of states, whose bonds are those of embedded Ising spins.

    .. math:: \phi_x \to \phi_x - 2 (\phi_x\!\cdot r)\, r, \qquad
        p_{xy} = 1 - e^{-2\max(0,\, 2k\,(\phi_x\cdot r)(\phi_y\cdot r))}

    with a random direction r for planar spins, unit vectors and complex fields, and the sign of a real field; a clock
    has its own mirrors, and a Potts model exchanges two states, which serves its antiferromagnets too. A field h acts
    on the embedded spins, so that a cluster is reflected with probability :math:`\min(1, e^{-\Delta H})`. Lengths are
    kept: irreducible for `jaxrg.models.XY`, `Heisenberg`, `Clock` and `Potts`, but for a field with a potential it
    wants a `mixture` with `hmc`.

    Args:
        model: `jaxrg.models.Phi4`, `ComplexPhi4`, `XY`, `Heisenberg`, `Clock`, `Potts`, or another `ReflectionModel`,
            as a `FieldModel` (or a `Model` of states) is with a ``lattice`` and a ``reflection``.

    Returns:
        A sampler with `FieldState`, or `SpinState` where spins are states, and `WolffInfo`; reversible.

    Raises:
        ValueError: a model without these members.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> phi4 = models.Phi4(lattice.hypercubic((4, 4)), -4.0, 6.008)
        >>> sampler = samplers.mixture([wolff_embedding(phi4), samplers.hmc(phi4, 0.2, 5)], [0.5, 0.5])
        >>> samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 20).state.field.shape
        (4, 4)

    Reference:
        Wolff, Phys. Rev. Lett. 62, 361 (1989); Brower & Tamayo, Phys. Rev. Lett. 62, 1087 (1989).
    """
    return _sampler(_wolff, model)


def swendsen_wang_embedding(model: ReflectionModel | StateReflectionModel) -> Sampler:
    """Reflect every cluster of `wolff_embedding` with probability one half; in a field, by the weights of its images.

    Arguments and errors are those of `wolff_embedding`.

    Returns:
        A sampler with the states of `wolff_embedding` and `SwendsenWangInfo`, whose magnetisations are those of the
        embedded spins, of length one; reversible.
    """
    return _sampler(_swendsen_wang, model)
