"""Games: any function of masks, tabulated over all of them in chunks that fit a memory budget.

A table ``[2**n]`` holds the value of every coalition; bit ``i`` of its index (least significant first) says whether
player ``i`` is present. A value that is NaN or infinite is refused wherever it can be seen. A game is a pure function:
what it is closed over is looked at when the game is made, and a game that is played again is not looked at again.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.sharding import Mesh, PartitionSpec

from jaxrg.base import Progress
from jaxrg.checks import as_count, check_function, is_traced, kind_of
from jaxrg.closures import as_partial
from jaxrg.progress import reporting
from jaxrg.tables import CHUNK_SIZE, MAX_BYTES, bits_of, check_chunk_size, check_num_bits, check_table, tabulate


@functools.partial(jax.tree_util.register_dataclass, data_fields=("fn",), meta_fields=("num_players",))
@dataclasses.dataclass(frozen=True, eq=False)
class Game:
    """A function of masks that knows its number of players; a pytree whose leaves are those of the function."""

    fn: Callable[[Any], Any]  # values[batch] = fn(masks[batch, n]); a JAX function unless it is played on the host
    num_players: int  # n, static

    def __call__(self, masks: Any) -> Any:
        """Values ``[batch]`` of masks ``bool[batch, n]``."""
        return self.fn(masks)


def game(fn: Callable[[Any], Any], num_players: int) -> Game:
    """Any function of masks as a game; the floating arrays it holds are leaves, as `jaxrg.closures.as_partial` says.

    Example:
        >>> game(lambda masks: masks.all(-1), 2)(jnp.array([[True, False], [True, True]])).tolist()
        [False, True]
    """
    check_function("fn", fn, of="masks")
    return Game(as_partial(fn), as_count("num_players", num_players, minimum=0))


def as_game(game: Any) -> Game:
    """A game whose function is a pytree; ValueError for what does not know its own number of players."""
    if not hasattr(game, "num_players") or not callable(game):
        raise ValueError(
            f"game: expected a Game, such as interactions.game(fn, num_players), got {type(game).__name__}"
        )
    num_players = as_count("num_players", game.num_players, minimum=0)
    return Game(as_partial(game.fn if isinstance(game, Game) else game), num_players)


def check_game(game: Any) -> int:
    """The number of players of a game; ValueError for what does not know its own."""
    return as_game(game).num_players


def output_of(game: Game, num_masks: int) -> jax.ShapeDtypeStruct:
    """Shape and dtype of the values of so many masks; ValueError for others than one number for each.

    A function that asks for the numbers in its masks, as those of NumPy and scikit-learn do, is refused in words.
    """
    try:
        output = jax.eval_shape(game, jax.ShapeDtypeStruct((num_masks, game.num_players), jnp.bool_))
    except (
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerIntegerConversionError,
    ) as error:
        raise ValueError(
            "game: expected a function of JAX arrays, got one that looks at their values; evaluate_on_host plays it"
        ) from error
    check_values(output, num_masks)
    return output


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)


def _bytes_of_jaxpr(jaxpr: Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        for output in equation.outvars:
            shape, dtype = getattr(output.aval, "shape", ()), getattr(output.aval, "dtype", None)
            total += math.prod(shape) * getattr(dtype, "itemsize", 4)
        inner = filter(_is_jaxpr, jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr))
        total += sum(_bytes_of_jaxpr(getattr(found, "jaxpr", found)) for found in inner)
    return total


def bytes_per_mask(game: Game) -> int:
    """What one more mask in a batch costs at most: the bytes of every intermediate array, were none of them fused."""
    one, three = (
        _bytes_of_jaxpr(jax.make_jaxpr(game)(jax.ShapeDtypeStruct((batch, game.num_players), jnp.bool_)).jaxpr)
        for batch in (1, 3)
    )
    return max((three - one) // 2, game.num_players)


def check_values(values: Any, num_masks: int) -> None:
    """Raise ValueError unless there is one real number for each mask, finite where it can be seen."""
    shape, dtype = getattr(values, "shape", None), getattr(values, "dtype", None)
    if shape != (num_masks,):
        got = kind_of(values) if shape is None else f"shape {shape}"
        raise ValueError(f"game: expected values of shape ({num_masks},), one for each mask, got {got}")
    if dtype is None or not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise ValueError(f"game: expected real values, got dtype {dtype}")
    if not isinstance(values, jax.ShapeDtypeStruct) and not is_traced(values):
        check_finite(count_bad(np.asarray(values), np), num_masks)


def count_bad(values: Any, xp: Any = jnp) -> tuple[Any, Any]:
    """How many values are NaN or infinite, and the place of the first."""
    is_bad = ~xp.isfinite(values)
    return is_bad.sum(dtype="int32"), is_bad.argmax()


def check_finite(bad: tuple[Any, Any], num_masks: int) -> None:
    """Raise ValueError for the counts of `count_bad` where they can be seen and are not zero."""
    num_bad, first = bad
    if not is_traced(num_bad) and num_bad:
        raise ValueError(
            f"game: expected finite values, got {int(num_bad):,} of {num_masks:,} that are NaN or infinite, "
            f"the first at mask {int(first):,}"
        )


def evaluate(game: Game, *, chunk_size: int | None = None, max_bytes: int = MAX_BYTES) -> Array:
    """The value of every coalition of a JAX game, in chunks of masks that fit the memory budget.

    It can be traced: ``jit`` it with the game as an argument or closed over, ``vmap`` it over samples, parameters or
    checkpoints (the budget is then per lane), and differentiate through it.

    Args:
        game: of JAX arrays.
        chunk_size: masks a batch, a power of two; by default as many as fit the budget, at most 16,384.
        max_bytes: for the table and the intermediate arrays of one chunk.

    Returns:
        ``[2**n]`` values in index order, in the dtype of the game.

    Raises:
        ValueError: the table does not fit the budget (with both figures); the game returns another shape, or, outside
            a trace, NaN.

    Example:
        >>> evaluate(game(lambda masks: masks.all(-1).astype(jnp.float32), 2)).tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    values, bad = _evaluate(as_game(game), _as_chunk_size(chunk_size), max_bytes)
    check_finite(bad, len(values))
    return values


def _as_chunk_size(chunk_size: int | None) -> int | None:
    if chunk_size is None:
        return None
    check_chunk_size(chunk_size)
    return int(chunk_size)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _evaluate(game: Game, chunk_size: int | None, max_bytes: int) -> tuple[Array, tuple[Array, Array]]:
    values = _tabulate(game, game.num_players, 0, chunk_size=chunk_size, max_bytes=max_bytes)
    return values, count_bad(values)


def _tabulate(game: Game, num_bits: int, first: Array | int, *, chunk_size: int | None, max_bytes: int) -> Array:
    """Values of the ``2**num_bits`` coalitions from ``first`` on, chunk by chunk."""
    n = game.num_players
    itemsize = output_of(game, 2).dtype.itemsize
    check_table(n, itemsize=itemsize, max_bytes=max_bytes * 2 ** (n - num_bits), name="num_players")
    check_num_bits(n, name="num_players")
    if chunk_size is None:
        affordable: int = min((max_bytes - itemsize * 2**num_bits) // bytes_per_mask(game), CHUNK_SIZE)
        chunk_size = 1 << (max(affordable, 1).bit_length() - 1)
    return tabulate(lambda index: game(bits_of(index, n)), num_bits, chunk_size=chunk_size, first=first)


def evaluate_over_devices(
    game: Game, mesh: Mesh, *, axis_name: str, chunk_size: int | None = None, max_bytes: int = MAX_BYTES
) -> Array:
    """The table of a JAX game, each device evaluating and keeping the coalitions with its own highest bits.

    `jaxrg.transforms.over_devices` transforms such a table where it is.

    Args:
        game: as in `evaluate`; what it is closed over is copied to every device.
        mesh: devices; their number along ``axis_name`` is a power of two of at most ``2**n``.
        axis_name: the mesh axis to spread the table along.
        chunk_size, max_bytes: as in `evaluate`, of each device for its part of the table.

    Returns:
        ``[2**n]`` values in index order, sharded along ``axis_name``.
    """
    played = as_game(game)
    if not isinstance(mesh, Mesh):
        raise ValueError(f"mesh: expected a Mesh such as jax.make_mesh gives, got {kind_of(mesh)}")
    if axis_name not in mesh.shape:
        raise ValueError(f"axis_name: expected one of {tuple(mesh.shape)}, got {axis_name!r}")
    num_devices = mesh.shape[axis_name]
    num_bits = played.num_players - (num_devices.bit_length() - 1)
    if num_devices & (num_devices - 1) or num_bits < 0:
        raise ValueError(f"mesh: expected a power of two of at most {2**played.num_players} devices, got {num_devices}")
    values, bad = _evaluate_over_devices(played, mesh, axis_name, num_bits, _as_chunk_size(chunk_size), max_bytes)
    check_finite(bad, len(values))
    return values


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4, 5))
def _evaluate_over_devices(
    game: Game, mesh: Mesh, axis_name: str, num_bits: int, chunk_size: int | None, max_bytes: int
) -> tuple[Array, tuple[Array, Array]]:
    def local(game: Game) -> Array:
        first = jax.lax.axis_index(axis_name).astype(jnp.int32) << num_bits
        return _tabulate(game, num_bits, first, chunk_size=chunk_size, max_bytes=max_bytes)

    values = jax.shard_map(local, mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec(axis_name))(game)
    return values, count_bad(values)


def evaluate_on_host(
    game: Game, *, chunk_size: int = 4096, max_bytes: int = MAX_BYTES, progress: Progress | bool | None = None
) -> np.ndarray:
    """The value of every coalition of a game that is no JAX function: a scikit-learn model, a network elsewhere.

    Args:
        game: of NumPy arrays, of the same batch every time.
        chunk_size, max_bytes: as in `evaluate`; the memory is that of the table alone.
        progress: called after each chunk, or True for a bar.

    Returns:
        ``float64[2**n]`` values in index order.
    """
    n = check_game(game)
    check_table(n, itemsize=8, max_bytes=max_bytes, name="num_players")
    check_chunk_size(chunk_size)
    batch, table = min(int(chunk_size), 2**n), np.empty(2**n)
    with reporting(progress, "evaluating") as report:
        for start in range(0, len(table), batch):
            masks = (np.arange(start, start + batch)[:, None] >> np.arange(n)) & 1 == 1
            values = np.asarray(game(masks))
            check_values(values, batch)
            table[start : start + batch] = values
            report(start + batch, len(table), "")
    return table
