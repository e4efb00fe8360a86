"""Sweeps of unit vectors on checkerboards, each colour in an array of its own: a visit touches what it needs alone."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import Status, computed_once
from jaxrg.models import XY, Heisenberg
from jaxrg.models.fields import by_component
from jaxrg.models.sites import Circle, Sphere
from jaxrg.models.vectors import LatticeVectors
from jaxrg.samplers import packed

_KINDS = ((XY, Circle), (Heisenberg, Sphere))


def is_checkerboard_of_vectors(model: Any) -> bool:
    """Whether a model is `XY` or `Heisenberg`, in all that a sweep needs, on a lattice of two packable colours."""
    own = [kind for kind, sites in _KINDS if isinstance(model, kind) and type(model.sites) is sites]
    if not own:
        return False
    is_plain = all(getattr(type(model), name) is getattr(own[0], name) for name in ("local_field", "_vectors"))
    return is_plain and packed.is_checkerboard(model.lattice)


def checkerboard_sweep(draw: Any, model: LatticeVectors, values: Array) -> tuple[Array, Array, Array]:
    """Unit vectors ``[n, *shape]`` of a configuration before and after ``draw`` has seen even and odd sites, a status.

    Angles are vectors while a sweep lasts, which then needs no trigonometry.
    """
    space: Any = model.sites
    vectors_of = space.vectors if isinstance(space, Circle) else space
    before = space.lift(values) if isinstance(space, Circle) else jnp.moveaxis(values, -1, 0)
    coupling = jnp.asarray(model.coupling).astype(before.dtype)
    layout = packed.Layout(model.lattice, packed.LANES)  # of arrays one value a word, whose neighbours are the same
    fields = None
    if model.field is not None:
        by_site = by_component(jnp.asarray(model.field).astype(before.dtype), model.lattice)
        fields = jnp.stack(packed.compact(jnp.broadcast_to(by_site, before.shape)))

    def visit(carry, number):
        here, others, status = carry
        parity = number.astype(jnp.uint32)
        field = coupling * functools.reduce(jnp.add, packed.neighbours(layout, others, parity)[0])
        field = field if fields is None else field + fields[number]

        def visited(field: Array, here: Array) -> tuple[Array, Array]:
            sites = packed.site_indices(1, here.shape[1:], parity)[0][0]
            drawn, found = draw(vectors_of, number, sites, here, field)
            return drawn, found | Status.NOT_FINITE.when(~jnp.all(jnp.isfinite(field)))

        drawn, found = computed_once(number, visited, field, here)
        return (others, drawn, status | found), None

    even, odd = packed.compact(before)
    (even, odd, status), _ = jax.lax.scan(visit, (even, odd, jnp.uint32(0)), jnp.arange(2, dtype=jnp.int32))
    return before, packed.expand(even, odd), status
