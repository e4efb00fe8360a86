"""Conditionals of the Ising model that are known in closed form: those of sites whose neighbours are all known.

On the finest lattice the odd sublattice of the checkerboard, half of all sites, is independent given the even one. With
it summed out, the (odd, odd) sites are coupled through the squares of four around each site that is gone, so that every
second one of them, another eighth of all sites, is independent given the rest.
"""

import jax.numpy as jnp
from jax import Array


def half_field(couplings: Array, spins: Array) -> Array:
    """``[L, L, *lanes]`` local field of every site; right on the odd sites as soon as the even ones are known."""
    down, right = couplings
    return down * (jnp.roll(spins, 1, 0) + jnp.roll(spins, -1, 0)) + right * (
        jnp.roll(spins, 1, 1) + jnp.roll(spins, -1, 1)
    )


def quarter_field(couplings: Array, spins: Array) -> Array:
    r"""``[L/2, L/2, *lanes]`` field of every (odd, odd) site with the odd sublattice summed out, its neighbours known.

    .. math:: f = \sum_{d} \operatorname{artanh}(\tanh K_d \tanh h_d)

    with :math:`h_d` the field on the site one step in direction d, without the spin itself.
    """
    down, right = couplings
    even, odd = spins[::2, ::2], spins[1::2, 1::2]  # (2a, 2b) and (2a + 1, 2b + 1)
    below, aside = jnp.roll(even, -1, 0), jnp.roll(even, -1, 1)
    corner = jnp.roll(below, -1, 1)
    total = jnp.zeros_like(odd)
    for step, near, far in ((-1, below, corner), (1, even, aside)):  # the site below, then the one above
        field = down * jnp.roll(odd, step, 0) + right * (near + far)
        total = total + _through(down, field)
    for step, near, far in ((-1, aside, corner), (1, even, below)):  # to the right, then to the left
        field = right * jnp.roll(odd, step, 1) + down * (near + far)
        total = total + _through(right, field)
    return total


def _through(coupling: Array, field: Array) -> Array:
    """artanh(tanh K tanh h), also where a tanh rounds to one: half of ln cosh(h + K) - ln cosh(h - K)."""
    plus, minus = jnp.abs(field + coupling), jnp.abs(field - coupling)
    return (plus - minus + jnp.log1p(jnp.exp(-2 * plus)) - jnp.log1p(jnp.exp(-2 * minus))) / 2
