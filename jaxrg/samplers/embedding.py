"""Cluster dynamics of fields: Ising spins embedded by a reflection, and the cluster kernels of Ising spins on them."""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import FieldModel, Sampler
from jaxrg.lattice import Lattice
from jaxrg.models import Glass, Reflection
from jaxrg.samplers import clusters
from jaxrg.samplers.fields import FieldState, as_target, check_field_model, field_sampler
from jaxrg.samplers.spins import SpinState


class ReflectionModel(FieldModel, Protocol):
    """A field whose action, when some sites are reflected, is that of Ising spins: what cluster samplers ask for."""

    @property
    def lattice(self) -> Lattice:
        """Geometry, static."""
        ...

    def reflection(self, turn: Array, field: Array) -> Reflection:
        """A reflection, chosen by a uniform number in [0, 1), and the Ising bonds of the sites that take it."""
        ...


def embedded_spins(model: ReflectionModel, turn: Array, field: Array) -> tuple[Glass, Array]:
    """The Ising model of the signs of reflection, and the field with every site reflected."""
    bonds, reflected = model.reflection(turn, field)
    return Glass(model.lattice, bonds), reflected


def _embedded(kernel: Callable, model: ReflectionModel, key: Array, state: FieldState):
    turn_key, cluster_key = jax.random.split(key)
    glass, reflected = embedded_spins(model, jax.random.uniform(turn_key), state.field)
    start = SpinState(jnp.ones(model.lattice.shape, jnp.int8), state.step)
    after, info = kernel(glass, cluster_key, start)
    is_reflected = (after.spins < 0).reshape(after.spins.shape + (1,) * (state.field.ndim - after.spins.ndim))
    return state._replace(field=jnp.where(is_reflected, reflected.astype(state.field.dtype), state.field)), info


def _sampler(kernel: Callable, model: ReflectionModel) -> Sampler:
    check_field_model(model, ReflectionModel)
    return field_sampler(as_target(model), Partial(_embedded, Partial(kernel), model))


def wolff_embedding(model: ReflectionModel) -> Sampler:
    r"""Wolff's embedding: reflect one cluster of a field, whose bonds are those of embedded Ising spins.

    .. math:: \phi_x \to \phi_x - 2 (\phi_x\!\cdot r)\, r, \qquad
        p_{xy} = 1 - e^{-2\max(0,\, 2k\,(\phi_x\cdot r)(\phi_y\cdot r))}

    with a random direction r for planar spins and complex fields, and the sign of a real field. It keeps the lengths of
    the field: irreducible for `jaxrg.models.XY`, but for a field with a potential it wants a `mixture` with `hmc`.

    Args:
        model: `jaxrg.models.Phi4`, `ComplexPhi4`, `XY`, or another `ReflectionModel`, as a `FieldModel` is with a
            ``lattice`` and a ``reflection``.

    Returns:
        A sampler with `FieldState` and `WolffInfo`; reversible.

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
    return _sampler(clusters.wolff_step, model)


def swendsen_wang_embedding(model: ReflectionModel) -> Sampler:
    """Reflect every cluster of `wolff_embedding` with probability one half.

    Arguments and errors are those of `wolff_embedding`.

    Returns:
        A sampler with `FieldState` and `SwendsenWangInfo`, whose magnetisations are those of the embedded spins, of
        length one; reversible.
    """
    return _sampler(clusters.swendsen_wang_step, model)
