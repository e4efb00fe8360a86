"""Sweeps of unit vectors on checkerboards, each colour in an array of its own: a visit touches what it needs alone."""

from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import Status, computed_once
from jaxrg.models.fields import by_component
from jaxrg.models.vectors import LatticeVectors
from jaxrg.samplers import packed


def is_checkerboard_of_vectors(model: Any) -> TypeGuard[LatticeVectors]:
    """Whether a model has the local field of `LatticeVectors`, unit vectors, and a lattice of two packable colours."""
    if not isinstance(model, LatticeVectors) or len(model.sites.value_shape) != 1:
        return False
    is_own = type(model).local_field is LatticeVectors.local_field
    return is_own and packed.is_checkerboard(model.lattice)


def checkerboard_sweep(draw: Any, model: LatticeVectors, before: Array) -> tuple[Array, Array]:
    """Vectors ``[n, *shape]`` after ``draw`` has seen the even and then the odd sites, and a status."""
    lattice, coupling = model.lattice, jnp.asarray(model.coupling).astype(before.dtype)
    layout = packed.Layout(lattice, packed.LANES)
    fields = None
    if model.field is not None:
        every = jnp.broadcast_to(by_component(jnp.asarray(model.field).astype(before.dtype), lattice), before.shape)
        fields = jnp.stack(packed.compact(every))

    def visit(carry, number):
        here, others, status = carry
        parity = number.astype(jnp.uint32)
        values, _ = packed.neighbours(layout, others, parity)
        total = values[0]
        for value in values[1:]:
            total = total + value
        field = coupling * total if fields is None else coupling * total + fields[number]

        def visited(field: Array, here: Array) -> tuple[Array, Array]:
            sites = packed.site_indices(1, here.shape[1:], parity)[0][0]
            drawn, found = draw(model.sites, number, sites, here, field)
            return drawn, found | Status.NOT_FINITE.when(~jnp.all(jnp.isfinite(field)))

        drawn, found = computed_once(number, visited, field, here)
        return (others, drawn, status | found), None

    even, odd = packed.compact(before)
    (even, odd, status), _ = jax.lax.scan(visit, (even, odd, jnp.uint32(0)), jnp.arange(2, dtype=jnp.int32))
    return packed.expand(even, odd), status
