r"""The field of a quartic potential at sites whose surroundings are known: what can be drawn without learning.

With its four neighbours around it, of sum h, a site has the density

.. math:: p(\phi \mid h) = e^{2kh\phi - V(\phi)} / Z(h), \qquad V(\phi) = (m^2 + 4k)\phi^2 + \lambda\phi^4.

The odd sites of a checkerboard are independent given the even ones: the last half of a lattice. With it summed out, the
(odd, odd) sites are coupled through ln Z on each of the four sites around them, so that every second one of them, an
eighth of all sites, is independent given the rest.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.flows.line_densities import draw, grid, log_normaliser

DEGREE = 26  # of the polynomial for ln Z
SHIFTED_DEGREE = 56  # of those for ln Z around each point of the grid, which have less help from symmetry
TAIL = 40.0  # -ln of a density beyond which nothing is drawn


class Potential(NamedTuple):
    """The couplings of a site."""

    quadratic: Array  # m^2 + 4k
    quartic: Array
    kinetic: Array

    def log_density(self, field: Array) -> Array:
        """-V, elementwise."""
        square = jnp.square(field)
        return -square * (self.quadratic + self.quartic * square)

    @property
    def bound(self) -> Array:
        """Below e^-40 of its largest, a density is beyond this whatever the neighbours within it."""
        slope = 8 * jnp.abs(self.kinetic) - self.quadratic
        return jnp.sqrt((slope + jnp.sqrt(jnp.square(slope) + 4 * TAIL * self.quartic)) / (2 * self.quartic))


class LogZ(NamedTuple):
    r"""ln Z(h) as Chebyshev polynomials of :math:`w = \sqrt{h^2 + c}`, which is even and as smooth as ln Z is."""

    coefficients: Array  # [DEGREE + 1]
    offset: Array  # c, about minus the square of the zero of Z next to h = 0
    largest: Array  # |h|

    def __call__(self, field: Array) -> Array:
        """``[...]`` of the sum of four neighbours; it is cut where it is too large."""
        low, high = jnp.sqrt(self.offset), jnp.sqrt(jnp.square(self.largest) + self.offset)
        clipped = jnp.clip(field, -self.largest, self.largest)
        x = (2 * jnp.sqrt(jnp.square(clipped) + self.offset) - (low + high)) / (high - low)

        def clenshaw(carry: tuple[Array, Array], coefficient: Array) -> tuple[tuple[Array, Array], None]:
            later, latest = carry
            return (2 * x * later - latest + coefficient, later), None

        (later, latest), _ = jax.lax.scan(clenshaw, (jnp.zeros_like(x), jnp.zeros_like(x)), self.coefficients[:0:-1])
        return x * later - latest + self.coefficients[0]


def log_z(potential: Potential) -> LogZ:
    """The table of a potential."""
    bound = potential.bound
    points = grid(bound)
    logs = potential.log_density(points)  # without neighbours
    second = jnp.exp(jax.nn.logsumexp(logs, b=jnp.square(points)) - jax.nn.logsumexp(logs))
    largest = 4 * bound
    offset = (np.pi / 4) ** 2 / (jnp.square(potential.kinetic) * second)
    low, high = jnp.sqrt(offset), jnp.sqrt(jnp.square(largest) + offset)
    nodes, transform = _chebyshev(DEGREE, bound.dtype)
    fields = jnp.sqrt(jnp.maximum(jnp.square((low + high + (high - low) * nodes) / 2) - offset, 0))
    return LogZ(transform @ _by_quadrature(potential, fields), offset, largest)


def _by_quadrature(potential: Potential, fields: Array) -> Array:
    """``[...]`` ln Z of sums of four neighbours."""
    points = jnp.expand_dims(grid(potential.bound), range(1, 1 + fields.ndim))
    logs = potential.log_density(points) + 2 * potential.kinetic * points * fields[None]
    return log_normaliser(logs, potential.bound)


def _chebyshev(degree: int, dtype: Any) -> tuple[Array, Array]:
    """Nodes ``[degree + 1]`` in [-1, 1], and the matrix from values there to coefficients."""
    angles = np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1)
    transform = np.cos(np.outer(np.arange(degree + 1), angles)) * 2 / (degree + 1)
    transform[0] /= 2
    return jnp.asarray(np.cos(angles), dtype), jnp.asarray(transform, dtype)


def _shifted(potential: Potential) -> Array:
    """``[NUM_POINTS, SHIFTED_DEGREE + 1]`` Chebyshev coefficients of ln Z(point + h) in h, a sum of three fields."""
    nodes, transform = _chebyshev(SHIFTED_DEGREE, potential.bound.dtype)
    values = _by_quadrature(potential, grid(potential.bound)[:, None] + 3 * potential.bound * nodes[None])
    return values @ transform.T


def _sums_on_grid(potential: Potential, shifted: Array, fields: Array) -> Array:
    """``[NUM_POINTS, sites, lanes]`` sum of ln Z(point + h) over the first axis of fields ``[4, sites, lanes]``."""
    x = jnp.clip(fields / (3 * potential.bound), -1, 1)

    def next_one(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        now, later = carry
        return (later, 2 * x * later - now), jnp.sum(now, axis=0)

    _, polynomials = jax.lax.scan(next_one, (jnp.ones_like(x), x), length=SHIFTED_DEGREE + 1)
    return jnp.tensordot(shifted, polynomials, 1)


class Sites(NamedTuple):
    """Which sites are drawn and what they see, row by row of them."""

    half: np.ndarray  # [side, side / 2] odd sites
    around_half: np.ndarray  # [side, 4, side / 2] their neighbours
    quarter: np.ndarray  # [side / 2, side / 4]
    around_quarter: np.ndarray  # [side / 2, 4, 3, side / 4] of each of the four neighbours, the three other ones


def exact_sites(side: int) -> Sites:
    """Of a lattice whose side four divides."""
    number = np.arange(side**2, dtype=np.int32).reshape(side, side)
    steps = ((1, 0), (-1, 0), (0, 1), (0, -1))

    def there(*moves: tuple[int, int]) -> np.ndarray:
        rows, columns = np.sum(moves, axis=0)
        return np.roll(number, (-rows, -columns), (0, 1))

    def chosen(values: np.ndarray, start: int) -> np.ndarray:
        rows, columns = np.indices(values.shape)
        return values[(rows + columns) % 2 == start].reshape(len(values), -1)

    beyond = [[there(step, other) for other in steps if np.any(np.add(step, other))] for step in steps]
    return Sites(
        chosen(number, 1),
        np.stack([chosen(there(step), 1) for step in steps], axis=1),
        chosen(number[1::2, 1::2], 1),
        np.stack([np.stack([chosen(n[1::2, 1::2], 1) for n in row], axis=1) for row in beyond], axis=1),
    )


def _half_fields(bound: Array, flat: Array, around: Array | np.ndarray) -> Array:
    """``[..., sites, lanes]`` sum of four neighbours; what is never likely is cut to what the grid holds."""
    return jnp.clip(jnp.sum(flat[around], axis=-3), -4 * bound, 4 * bound)


def _half(potential: Potential, table: LogZ, fields: Array, values: Array) -> Array:
    """ln p of sites, given the sums of their four neighbours."""
    return 2 * potential.kinetic * fields * values + potential.log_density(values) - table(fields)


def _quarter_on_grid(potential: Potential, shifted: Array, fields: Array) -> Array:
    """``[NUM_POINTS, sites, lanes]`` ln p but for the normaliser, given ``[4, sites, lanes]`` sums of three fields."""
    points = jnp.expand_dims(grid(potential.bound), (1, 2))
    return potential.log_density(points) + _sums_on_grid(potential, shifted, fields)


def _quarter(potential: Potential, table: LogZ, on_grid: Array, fields: Array, values: Array) -> Array:
    """ln p of sites, given the same sums and what they are on the grid."""
    here = potential.log_density(values) + jnp.sum(table(values[None] + fields), axis=0)
    return here - log_normaliser(on_grid, potential.bound)


def log_prob(potential: Potential, sites: Sites, flat: Array) -> Array:
    """``[lanes]`` ln p of the sites of a field ``[sites, lanes]`` that are drawn without learning, given the others."""
    table, shifted = log_z(potential), _shifted(potential)
    logs = _half(potential, table, _half_fields(potential.bound, flat, sites.around_half), flat[sites.half])
    total = jnp.sum(jnp.sum(logs, axis=1), axis=0)

    def one_row(total: Array, row: tuple[Array, Array]) -> tuple[Array, None]:
        targets, around = row
        fields = jnp.sum(flat[around], axis=1)
        on_grid = _quarter_on_grid(potential, shifted, fields)
        return total + jnp.sum(_quarter(potential, table, on_grid, fields, flat[targets]), axis=0), None

    rows = jnp.asarray(sites.quarter), jnp.asarray(sites.around_quarter)
    return jax.lax.scan(one_row, total, rows)[0]


def fill(potential: Potential, sites: Sites, key: Array, flat: Array) -> tuple[Array, Array]:
    """The field ``[sites, lanes]`` with the sites drawn that need no learning, and ``[lanes]`` ln p of them."""
    table, shifted, bound = log_z(potential), _shifted(potential), potential.bound
    points = jnp.expand_dims(grid(bound), (1, 2))

    def drawn(number: Array, logs: Array) -> Array:
        shape = logs.shape[1:]
        uniforms = jax.random.uniform(jax.random.fold_in(key, number), (shape[0] * shape[1],), logs.dtype)
        return draw(uniforms, logs.reshape(len(logs), -1), bound).reshape(shape)

    def quarter(carry: tuple[Array, Array], row: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        (flat, total), (number, targets, around) = carry, row
        fields = jnp.sum(flat[around], axis=1)
        on_grid = _quarter_on_grid(potential, shifted, fields)
        values = drawn(number, on_grid)
        logs = _quarter(potential, table, on_grid, fields, values)
        return (flat.at[targets].set(values), total + jnp.sum(logs, axis=0)), None

    def half(carry: tuple[Array, Array], row: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        (flat, total), (number, targets, around) = carry, row
        fields = _half_fields(bound, flat, around)
        values = drawn(number, potential.log_density(points) + 2 * potential.kinetic * points * fields[None])
        return (flat.at[targets].set(values), total + jnp.sum(_half(potential, table, fields, values), axis=0)), None

    rows = len(sites.quarter)
    numbers = np.arange(rows + len(sites.half), dtype=np.uint32)
    quarters, halves = jax.tree.map(
        jnp.asarray,
        ((numbers[:rows], sites.quarter, sites.around_quarter), (numbers[rows:], sites.half, sites.around_half)),
    )
    carry = jax.lax.scan(quarter, (flat, jnp.zeros_like(flat[0])), quarters)[0]
    return jax.lax.scan(half, carry, halves)[0]
