r"""Checkerboard lattices of words: one compact array for each colour, 32 chains or 32 strips of one chain a word.

Site ``(i, x)`` has the colour ``(sum(i) + x) % 2``. The array of colour c holds it at ``(i, x // 2)``, where x is
``2 j + (sum(i) + c) % 2``, so that an array is half as long along the last axis, and each neighbour of a site is an
element of the other array at the same place or one step along one axis.

Strips are what a lattice falls into when its first side, L, is cut into 32: row ``i + b L/32`` is bit b of row i of
the words. The words are then a lattice of their own, whose neighbours are those of 32 chains but that a step across its
first boundary goes on in the next bit. L is a multiple of 64, so that all bits of a word have one colour.
"""

import dataclasses
import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.lattice import Lattice, hypercubic
from jaxrg.random import rotate_left

LANES = 32  # chains or strips in a word
_ADDED = 31  # words whose sum has five binary digits


def is_checkerboard(lattice: Lattice) -> bool:
    """Whether a lattice is hypercubic, bipartite, and even along its last axis."""
    return not _why_no_checkerboard(lattice)


def check_checkerboard(lattice: Lattice) -> None:
    """Raise ValueError unless it is one."""
    if reason := _why_no_checkerboard(lattice):
        raise ValueError(reason)


def _why_no_checkerboard(lattice: Lattice) -> str:
    units = [tuple(int(axis == d) for axis in range(lattice.ndim)) for d in range(lattice.ndim)]
    if sorted(lattice.bonds) != sorted(units):
        return f"lattice: expected a hypercubic lattice, got bonds {lattice.bonds}; use samplers.heat_bath"
    for axis, (side, wraps) in enumerate(zip(lattice.shape, lattice.periodic, strict=True)):
        if wraps and side % 2:
            return (
                f"lattice: expected even periodic sides, got {side} along axis {axis}; a ring of odd length is not "
                "bipartite, it has no checkerboard"
            )
    if lattice.shape[-1] % 2:
        return (
            f"lattice: expected an even last side, to pack two colours alike, got {lattice.shape[-1]}; "
            "use samplers.heat_bath"
        )
    return ""


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the spins of so many chains are: 32 chains a word, or 32 strips of a chain if chains do not fill words.

    Raises:
        ValueError: chains that do not fill words, of a lattice that cannot be cut into 32 strips.
    """

    lattice: Lattice
    num_chains: int

    def __post_init__(self) -> None:
        check_checkerboard(self.lattice)
        if self.is_cut and self.lattice.shape[0] % (2 * LANES):
            raise ValueError(
                f"num_chains: expected a multiple of {LANES}, the bits of a word, or a lattice whose first side is a "
                f"multiple of {2 * LANES}, to cut it into {LANES} strips, got {self.num_chains} chains of "
                f"{self.lattice.shape}"
            )

    @property
    def is_cut(self) -> bool:
        """Whether the bits of a word are strips of one chain."""
        return self.num_chains % LANES != 0

    @property
    def num_words(self) -> int:
        """Words at every place."""
        return self.num_chains if self.is_cut else self.num_chains // LANES

    @property
    def places(self) -> Lattice:
        """The lattice of the words."""
        first, *others = self.lattice.shape
        return hypercubic((first // LANES if self.is_cut else first, *others), periodic=self.lattice.periodic)

    @property
    def compact_shape(self) -> tuple[int, ...]:
        """Shape of the words of one colour."""
        return (*self.places.shape[:-1], self.places.shape[-1] // 2)

    def pack(self, spins: Array) -> Array:
        """``[n, *shape]`` of any sign, n chains of strips or a multiple of 32, to ``[num_words, *places]``.

        One configuration ``[*shape]`` is that of all chains.
        """
        if spins.ndim == self.lattice.ndim:
            spins = jnp.broadcast_to(spins[None], (self.num_chains, *spins.shape))
        return pack(spins.reshape(-1, *self.places.shape))

    def joined(self, word: Array) -> Array:
        """The spins ±1 (int8) ``[*shape]`` of one chain, whose strips are the bits of ``[*places]``."""
        lanes = jnp.arange(LANES, dtype=jnp.uint32).reshape(-1, *[1] * word.ndim)
        return unpack_lane(word[None], lanes).reshape(self.lattice.shape)


def _coordinate(shape: tuple[int, ...], axis: int) -> Array:
    """Positions along one axis, shaped to broadcast against ``[num_words, *shape]``."""
    return lax.broadcasted_iota(
        jnp.uint32, tuple(n if d == axis else 1 for d, n in enumerate((1, *shape), -1)), axis + 1
    )


def row_parity(shape: tuple[int, ...], colour: Array) -> Array:
    """``[1, *lead, 1]`` position of a site in its pair along the last axis: ``(sum(i) + colour) % 2``."""
    total = jnp.full((1,) * (len(shape) + 1), colour, jnp.uint32)
    for axis in range(len(shape) - 1):
        coordinate = _coordinate(shape, axis)
        target = jnp.broadcast_shapes(total.shape, coordinate.shape)
        total = jnp.broadcast_to(total, target) + jnp.broadcast_to(coordinate, target)
    return total & 1


def opaque(colour: int, key: Array) -> tuple[Array, Array]:
    """A colour and a key that a compiler takes for unknown.

    Beside the key, which is another one in every step, the colour is no constant of a loop over steps: the indices of
    all sites would otherwise be written once, before the loop, and read from memory in each of its turns.
    """
    parity, data = lax.optimization_barrier((jnp.uint32(colour), jax.random.key_data(key)))
    return on_all_cores(parity, data.reshape(-1)[0]), jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))


def on_all_cores(number: Array, word: Array) -> Array:
    """The same number, on a CPU as the smaller of it and of another one, by a sort.

    XLA of jax 0.12 makes one kernel of nearly every loop on a CPU, which then runs on one core, whatever its size. It
    does not where there is a sort.
    """

    def smaller(number: Array, word: Array) -> Array:
        return lax.sort(jnp.stack([number, number | word]))[0]

    return lax.platform_dependent(number, word, cpu=smaller, default=lambda number, _: number)


def site_indices(num_words: int, shape: tuple[int, ...], colour: Array) -> tuple[Array, Array]:
    """Global linear index of every site of one colour and of its word of chains, both ``[num_words, *shape]``."""
    parity = row_parity(shape, colour)
    offset = parity
    for axis in range(len(shape) - 1):
        stride = 2 * math.prod(shape[axis + 1 :])
        offset = offset + jnp.broadcast_to(_coordinate(shape, axis) * stride, parity.shape)
    full = (num_words, *shape)
    columns = 2 * _coordinate(shape, len(shape) - 1)
    sites = jnp.broadcast_to(offset, full) + jnp.broadcast_to(columns, full)
    return sites, lax.broadcasted_iota(jnp.uint32, full, 0)


def neighbours(layout: Layout, others: Array, colour: Array) -> tuple[list[Array], list[Array | None]]:
    """Words of the 2 d neighbours of each site of one colour, and masks of those that an open boundary lacks.

    Args:
        layout: the lattice, and how its sites are spread over words.
        others: ``[num_words, *compact_shape]`` words of the other colour.
        colour: uint32 scalar, the colour of the sites.

    Returns:
        Arrays like ``others``, and for each None or a uint32 mask of the same shape, with a one where nothing is there.
    """
    padded, last = _padded(layout, others), layout.lattice.ndim - 1
    values: list[Array] = [others]
    missing: list[Array | None] = [None]
    for axis in range(last):
        for step in (-1, 1):
            values.append(_moved(padded, axis, step))
            missing.append(_absent(layout, others, axis, step))
    is_first = jnp.broadcast_to(row_parity(others.shape[1:], colour) == 0, others.shape)
    values.append(_chosen(is_first, _moved(padded, last, -1), _moved(padded, last, 1)))
    before, after = (_absent(layout, others, last, step) for step in (-1, 1))
    missing.append(None if before is None or after is None else _chosen(is_first, before, after))
    return values, missing


def _chosen(condition: Array, first: Array, second: Array) -> Array:
    """One or the other, words by operations on bits: a select of them would be another branch."""
    if first.dtype != jnp.uint32:
        return jnp.where(condition, first, second)
    mask = jnp.where(condition, jnp.uint32(0xFFFFFFFF), jnp.uint32(0))
    return (first & mask) | (second & ~mask)


def _padded(layout: Layout, words: Array) -> Array:
    """``[num_words, L_1 + 2, ...]``: the words, and around them what is beyond the ends of each axis."""
    return lax.platform_dependent(words, cpu=partial(_updated, layout), default=partial(_joined, layout))


def _beyond(layout: Layout, words: Array, axis: int) -> tuple[Array, Array]:
    """What is before the first of the words along an axis, and after the last; zeros at an open boundary."""
    side, is_seam = words.shape[axis + 1], layout.is_cut and axis == 0
    last, first = (lax.slice_in_dim(words, index, index + 1, axis=axis + 1) for index in (side - 1, 0))
    if is_seam:  # a bit goes on in the strip before it or after it
        return rotate_left(last, 1), rotate_left(first, LANES - 1)
    return (last, first) if layout.lattice.periodic[axis] else (jnp.zeros_like(last), jnp.zeros_like(first))


def _updated(layout: Layout, words: Array) -> Array:
    """An array in memory of which neighbours are slices.

    On a CPU the loop that takes neighbours is one of vectors only if it has no branches, as it has from rolls, or from
    pads and selects, in some versions of XLA. What is updated in place is not fused into that loop.
    """
    ndim = layout.lattice.ndim
    padded = lax.pad(words, jnp.zeros((), words.dtype), [(0, 0, 0), *[(1, 1, 0)] * ndim])
    for axis in range(ndim):
        for beyond, place in zip(_beyond(layout, words, axis), (0, words.shape[axis + 1] + 1), strict=True):
            start = [0, *[1] * ndim]
            start[axis + 1] = place
            padded = lax.dynamic_update_slice(padded, beyond, start)
    return padded


def _joined(layout: Layout, words: Array) -> Array:
    """The same but for its corners, to be fused into what takes neighbours."""
    for axis in range(layout.lattice.ndim):
        before, after = _beyond(layout, words, axis)
        words = jnp.concatenate([before, words, after], axis=axis + 1)
    return words


def _moved(padded: Array, axis: int, step: int) -> Array:
    """What is one step (+1 or -1) along a compact axis from each place."""
    for other in range(padded.ndim - 1):
        start = 1 + step if other == axis else 1
        padded = lax.slice_in_dim(padded, start, start + padded.shape[other + 1] - 2, axis=other + 1)
    return padded


def _absent(layout: Layout, words: Array, axis: int, step: int) -> Array | None:
    """The bits that an open boundary lacks there, or None."""
    if layout.lattice.periodic[axis]:
        return None
    end = 0xFFFFFFFF if not (layout.is_cut and axis == 0) else 1 if step < 0 else 1 << (LANES - 1)
    edge = 0 if step < 0 else words.shape[axis + 1] - 1
    is_outside = jnp.broadcast_to(_coordinate(words.shape[1:], axis) == edge, words.shape)
    return jnp.where(is_outside, jnp.uint32(end), jnp.uint32(0))


def _fill_missing(values: list[Array], missing: list[Array | None]) -> tuple[list[Array], Array | None]:
    """Replace missing bits by pairs of zero and one, which cancel in a sum of ±1; the mask of zeros left over."""
    unpaired = None
    filled = []
    for value, mask in zip(values, missing, strict=True):
        if mask is None:
            filled.append(value)
            continue
        partner = jnp.zeros_like(value) if unpaired is None else unpaired
        filled.append((value & ~mask) | (partner & mask))
        unpaired = partner ^ mask
    return filled, unpaired


def count_ones(values: list[Array], missing: list[Array | None]) -> tuple[list[Array], Array | None]:
    """How many of the words have a one in each lane, by full adders.

    Args:
        values: words of one shape.
        missing: for each None, or the mask of bits that do not exist. Missing bits count as zero and one in turn, so
            that they cancel in a sum of ±1 but for the first of an odd number, which is counted as a zero.

    Returns:
        The binary digits of the count, a list of words, units first; and None or the mask of lanes where an odd
        number of bits is missing, whose sum of ±1 is one higher than the count says.
    """
    column, unpaired = _fill_missing(values, missing)
    digits = []
    while column:
        carries = []
        while len(column) > 1:
            if len(column) > 2:
                a, b, c, *column = column
                column.append(a ^ b ^ c)
                carries.append((a & b) | ((a | b) & c))
            else:
                a, b = column
                column = [a ^ b]
                carries.append(a & b)
        digits.append(column[0])
        column = carries
    return digits, unpaired


def choose(digits: list[Array], unpaired: Array | None, outcomes: Sequence[Sequence[Array]]) -> Array:
    """The outcome of each lane's count.

    Args:
        digits: binary digits of the count, units first.
        unpaired: None, or the mask of lanes that take the second row of outcomes.
        outcomes: one row of words, indexed by the count, or two.
    """
    rows = []
    for words in outcomes:
        row = list(words)
        for digit in digits:
            pairs = [row[index : index + 2] for index in range(0, len(row), 2)]
            row = [(pair[1] & digit) | (pair[0] & ~digit) if len(pair) == 2 else pair[0] for pair in pairs]
        rows.append(row[0])
    return rows[0] if unpaired is None else (rows[1] & unpaired) | (rows[0] & ~unpaired)


def count_lanes(words: Array) -> Array:
    r"""How many of the words have a one in each lane.

    .. math:: n_j = \sum_x (w_x \gg j) \mathbin\& 1

    Full adders add the words of 31 places first, so that five words a lane are left of 31 to be taken apart.

    Args:
        words: ``[num_words, *shape]`` uint32.

    Returns:
        ``[num_words, 32]`` int32, summed over ``shape``.
    """
    flat = words.reshape(words.shape[0], -1)
    width = flat.shape[1] // _ADDED
    total = _taken_apart(flat[:, _ADDED * width :])
    if width:
        digits, _ = count_ones([flat[:, k * width : (k + 1) * width] for k in range(_ADDED)], [None] * _ADDED)
        counts = _taken_apart(jnp.stack(digits))
        total += sum(counts[place] << place for place in range(len(digits)))
    return total


def _taken_apart(words: Array) -> Array:
    """``[..., n]`` words to the number of ones in each lane, ``[..., 32]`` int32."""
    lanes = jnp.arange(LANES, dtype=jnp.uint32).reshape(*[1] * words.ndim, -1)
    return jnp.sum((words[..., None] >> lanes) & 1, axis=-2, dtype=jnp.int32)


def fraction_of_ones(words: Array) -> Array:
    """The part of all bits that are one, float32."""
    counts = lax.population_count(words)
    # Halving by slices stays in one vectorised fusion; what is left is a fraction of the words. The sum of many
    # integers is taken in float32, as 2^32 spins and more would overflow.
    for axis in range(1, counts.ndim - 1):  # not along the words, which may lie on different devices
        while counts.shape[axis] % 2 == 0 and words.size < 64 * counts.size:
            half = counts.shape[axis] // 2
            counts = lax.slice_in_dim(counts, 0, half, axis=axis) + lax.slice_in_dim(counts, half, 2 * half, axis=axis)
    return jnp.sum(counts.astype(jnp.float32)) / np.float32(LANES * words.size)


def compact(spins: Array) -> tuple[Array, Array]:
    """Full lattices ``[num_words, *shape]`` to even and odd sites, each ``[num_words, *compact_shape]``; any dtype."""
    pairs = spins.reshape(*spins.shape[:-1], spins.shape[-1] // 2, 2)
    is_first = jnp.broadcast_to(row_parity(pairs.shape[1:-1], jnp.uint32(0)) == 0, pairs.shape[:-1])
    first, second = pairs[..., 0], pairs[..., 1]
    return jnp.where(is_first, first, second), jnp.where(is_first, second, first)


def expand(even: Array, odd: Array) -> Array:
    """Inverse of ``compact``."""
    is_first = jnp.broadcast_to(row_parity(even.shape[1:], jnp.uint32(0)) == 0, even.shape)
    first, second = jnp.where(is_first, even, odd), jnp.where(is_first, odd, even)
    return jnp.stack([first, second], axis=-1).reshape(*even.shape[:-1], -1)


def pack(spins: Array) -> Array:
    """``[num_chains, *shape]`` of ±1 to words ``[num_chains / 32, *shape]``; chain c is bit c % 32 of word c // 32."""
    grouped = spins.reshape(-1, LANES, *spins.shape[1:])
    weights = (1 << jnp.arange(LANES, dtype=jnp.uint32)).reshape(1, LANES, *[1] * (spins.ndim - 1))
    return jnp.sum(jnp.where(grouped > 0, weights, 0), axis=1, dtype=jnp.uint32)


def unpack_lane(words: Array, lane: Array) -> Array:
    """The spins ±1 (int8) of one bit of every word."""
    return 2 * ((words >> lane) & 1).astype(jnp.int8) - 1
