"""What a user gives becomes arrays here, or is refused by its name; every public function takes its input this way.

Numbers may come as JAX or NumPy arrays of any precision, as lists or as plain numbers. Where values are meant, integers
and booleans become floats, and half precision becomes single; where JAX holds 32 bits only, so do the results. What
would change its value on the way is a ValueError with the argument's name, what was expected and what came.
"""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

PLAIN = (bool, int, float, complex, np.generic, np.ndarray, list, tuple)


def is_traced(tree: Any) -> bool:
    """Whether any leaf is a tracer, whose value cannot be looked at."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def kind_of(value: Any) -> str:
    """What a value is, in the words of a message."""
    if isinstance(value, Array | np.ndarray):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"{value!r}" if isinstance(value, bool | int | float | str | None) else f"a {type(value).__name__}"


def as_array(name: str, value: Any) -> Array:
    """Real numbers as a JAX array of the dtype they have, or of its 32-bit sibling.

    Raises:
        ValueError: no real numbers, ragged lists, or integers that the widest integer of JAX cannot hold.
    """
    if isinstance(value, Array):
        array = value
    elif isinstance(value, PLAIN):
        array = _from_host(name, value)
    else:
        raise ValueError(f"{name}: expected real numbers, got {kind_of(value)}")
    is_real = any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))
    if not is_real:
        raise ValueError(f"{name}: expected real numbers, got dtype {array.dtype}")
    return array


def _from_host(name: str, value: Any) -> Array:
    if is_traced(value):
        try:
            return jnp.asarray(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}: expected numbers of one shape, got a {type(value).__name__} of others"
            ) from error
    try:
        host = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected numbers of one shape, got a ragged {type(value).__name__}") from error
    if host.dtype.kind not in "biufV" or (host.dtype.kind == "V" and not jnp.issubdtype(host.dtype, jnp.floating)):
        raise ValueError(f"{name}: expected real numbers, got {kind_of(value)}")
    dtype = jax.dtypes.canonicalize_dtype(host.dtype)
    if host.dtype.kind in "iu" and dtype != host.dtype and host.size:
        limits = np.iinfo(dtype)
        if host.min() < limits.min or host.max() > limits.max:
            raise ValueError(f"{name}: expected integers that fit {dtype}, got {host.min()} to {host.max()}")
    # A dtype of its own keeps a Python number from becoming weakly typed, which would compile everything twice.
    return _constant(host.astype(dtype))


def _constant(host: np.ndarray) -> Array:
    """An array that stays a value to look at inside ``jit``, where ``jnp.asarray`` would give a tracer."""
    with jax.ensure_compile_time_eval():
        return jnp.asarray(host, host.dtype)


def as_floating(name: str, value: Any) -> Array:
    """Real numbers as floats of at least single precision; integers and booleans in the default floating type.

    NaN and infinity stay what they are.

    Raises:
        ValueError: no real numbers, or ragged lists.
    """
    if isinstance(value, PLAIN) and not is_traced(value):
        host = value if isinstance(value, np.ndarray) else _as_host(name, value)
        if host.dtype.kind in "iu":  # wider than JAX's integers, perhaps, but not than its floats
            return _constant(host.astype(jnp.result_type(float)))
    array = as_array(name, value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return jax.lax.convert_element_type(array, jnp.result_type(float))
    if jnp.finfo(array.dtype).bits < 32:
        return jax.lax.convert_element_type(array, jnp.float32)
    # convert_element_type takes the weak type of a Python number away.
    return jax.lax.convert_element_type(array, array.dtype) if array.weak_type else array


def _as_host(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected numbers of one shape, got a ragged {type(value).__name__}") from error


def as_floating_alike(**values: Any) -> list[Array]:
    """Real numbers of several names as by `as_floating`, all in the widest of their dtypes.

    Raises:
        ValueError: as `as_floating`, with the name of the one that is wrong.
    """
    arrays = [as_floating(name, value) for name, value in values.items()]
    widest = max((array.dtype for array in arrays), key=lambda dtype: jnp.finfo(dtype).bits)
    return [jax.lax.convert_element_type(array, widest) for array in arrays]


def as_floating_tree(name: str, tree: Any) -> Any:
    """A tree of real numbers, lists among them, as by `as_floating`.

    Raises:
        ValueError: as `as_floating`, or a tree without numbers.
    """
    found = jax.tree.map(lambda leaf: as_floating(name, leaf), tree, is_leaf=lambda node: isinstance(node, list))
    if not jax.tree.leaves(found):
        raise ValueError(f"{name}: expected numbers, got {tree!r}")
    return found


def as_table(name: str, value: Any) -> Array:
    """A function of all subsets of n players, or states of n spins, along the last axis: floats ``[..., 2**n]``.

    Raises:
        ValueError: as `as_floating`, or a last axis whose length is no power of two.
    """
    table = as_floating(name, value)
    length = table.shape[-1] if table.ndim else 0
    if length == 0 or length & (length - 1):
        raise ValueError(f"{name}: expected a last axis of length 2**n, got {length if table.ndim else 'one number'}")
    return table


def as_integers(name: str, value: Any, *, minimum: int | None = None, maximum: int | None = None) -> Array:
    """Integers as an array, inside ``minimum <= value <= maximum`` where their values can be seen.

    Raises:
        ValueError: other numbers, as floats and booleans are, or values out of range.
    """
    array = as_array(name, value)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"{name}: expected integers, got {kind_of(value)}")
    if not isinstance(array, Tracer) and array.size:
        host = np.asarray(array)
        low = -math.inf if minimum is None else minimum
        high = math.inf if maximum is None else maximum
        wrong = host[(host < low) | (host > high)]
        if wrong.size:
            raise ValueError(f"{name}: expected integers from {low} to {high}, got {wrong.ravel()[0]}")
    return array


def as_labels(name: str, value: Any, num_classes: int, shape: Sequence[int] | None = None) -> Array:
    """Class labels 0, ..., num_classes - 1; a traced one that is none is made ``num_classes``, see `take_labelled`.

    Raises:
        ValueError: no integers, another shape than asked for, or labels out of range that can be seen.
    """
    labels = as_integers(name, value, minimum=0, maximum=num_classes - 1)
    if labels.dtype.itemsize < 4:  # which may not hold num_classes
        labels = jax.lax.convert_element_type(labels, jnp.int32)
    if shape is not None:
        check_shape(name, labels, tuple(shape))
    return jnp.where((labels < 0) | (labels >= num_classes), num_classes, labels) if is_traced(labels) else labels


def take_labelled(values: Array, labels: Array) -> Array:
    """``[...]`` the entries of ``[..., num_classes]`` at the labels ``[...]``, and NaN at a label that is none."""
    is_label = (labels >= 0) & (labels < values.shape[-1])
    taken = jnp.take_along_axis(values, jnp.where(is_label, labels, 0)[..., None], axis=-1)[..., 0]
    return jnp.where(is_label, taken, jnp.nan)


def as_parameter(name: str, value: Any) -> Any:
    """A coupling as a strongly typed floating array; leaves tracers and pytree placeholders as they are.

    Raises:
        ValueError: no real numbers, as a string is none, or NaN or infinite entries.
    """
    if isinstance(value, str | bytes) or value is None:
        raise ValueError(f"{name}: expected real numbers, got {value!r}")
    if not isinstance(value, (*PLAIN, Array)):
        return value  # a placeholder leaf while JAX rebuilds the pytree
    if isinstance(value, Tracer):
        return value
    array = as_floating(name, value)
    if not is_traced(array) and not np.all(np.isfinite(np.asarray(array))):
        raise ValueError(
            f"{name}: expected finite values, got {float(array) if array.ndim == 0 else 'NaN or infinite entries'}"
        )
    return array


def as_count(name: str, value: Any, *, minimum: int = 1) -> int:
    """A whole number of at least ``minimum`` as an int; also from NumPy's integers."""
    check_count(name, value, minimum=minimum)
    return int(value)


def check_count(name: str, value: Any, *, minimum: int = 1) -> None:
    """Raise ValueError unless ``value`` is an int of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(f"{name}: expected an integer >= {minimum}, got {value!r}")


def check_number(name: str, value: Any, *, above: float = -math.inf, below: float = math.inf) -> None:
    """Raise ValueError unless ``value`` is one real number with ``above < value < below``, where it can be seen."""
    array = as_array(name, value)
    if array.ndim:
        raise ValueError(f"{name}: expected one number, got {kind_of(value)}")
    if not isinstance(array, Tracer) and not above < float(array) < below:
        raise ValueError(f"{name}: expected a number between {above} and {below}, got {float(array)}")


def check_shape(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless ``value`` has exactly this shape."""
    if not hasattr(value, "shape"):
        raise ValueError(f"{name}: expected an array of shape {tuple(shape)}, got {kind_of(value)}")
    if tuple(value.shape) != tuple(shape):
        raise ValueError(f"{name}: expected shape {tuple(shape)}, got {tuple(value.shape)}")


def check_spins(name: str, spins: Any, shape: tuple[int, ...] | None = None) -> None:
    """Raise ValueError unless the spins have this shape and, where their values can be seen, are all +1 or -1."""
    if shape is not None:
        check_shape(name, spins, shape)
    if isinstance(spins, Tracer):
        return
    host = np.asarray(spins)
    if not np.all((host == 1) | (host == -1)):
        wrong = host[(host != 1) & (host != -1)].ravel()[0]
        raise ValueError(f"{name}: expected spins +1 or -1, got {wrong}")


def as_spins(name: str, value: Any, shape: tuple[int, ...] | None = None) -> Array:
    """Spins +1 and -1 as a signed array, of this shape; integers stay integers, half precision becomes single.

    Raises:
        ValueError: another shape, booleans or unsigned integers, which hold no -1, or other values that can be seen.
    """
    array = as_array(name, value)
    if array.dtype == jnp.bool_ or jnp.issubdtype(array.dtype, jnp.unsignedinteger):
        raise ValueError(f"{name}: expected spins +1 or -1 of a signed type, got {array.dtype}")
    check_spins(name, array, shape)
    return as_floating(name, array) if jnp.issubdtype(array.dtype, jnp.floating) else array


def as_sides(name: str, value: Any, *, minimum: int = 1) -> tuple[int, ...]:
    """Sides of a lattice or of a configuration as a tuple of ints, each at least ``minimum``.

    Raises:
        ValueError: no sequence, as one number is none, or a side that is no such integer.
    """
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str | bytes):
        raise ValueError(f"{name}: expected a sequence of sides such as (16,) or (16, 16), got {kind_of(value)}")
    return tuple(as_count(name, side, minimum=minimum) for side in value)


def check_key(name: str, key: Any) -> None:
    """Raise ValueError unless ``key`` is one typed key, as `jax.random.key` makes them."""
    if not isinstance(key, Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ValueError(f"{name}: expected a typed key such as jax.random.key(0), got {kind_of(key)}")
    if key.ndim:
        raise ValueError(f"{name}: expected one key, got keys of shape {key.shape}; vmap over them")


def check_function(name: str, fn: Any, *, of: str) -> None:
    """Raise ValueError unless ``fn`` can be called; ``of`` says of what it is a function."""
    if not callable(fn):
        raise ValueError(f"{name}: expected a function of {of}, got {kind_of(fn)}")


def takes(fn: Any, num_arguments: int) -> bool:
    """Whether a function can be called with so many arguments by position; True where it does not say."""
    try:
        inspect.signature(fn).bind(*(None,) * num_arguments)
    except ValueError:
        return True
    except TypeError:
        return False
    return True


def as_operands(**values: Any) -> tuple[Array, ...]:
    """Real numbers to be worked on elementwise, as floats of one type whose shapes broadcast.

    Raises:
        ValueError: no real numbers, or shapes that do not go together.
    """
    arrays = dict(zip(values, as_floating_alike(**values), strict=True))
    shapes = {name: array.shape for name, array in arrays.items()}
    try:
        ndim = len(np.broadcast_shapes(*shapes.values()))
    except ValueError as error:
        raise ValueError(f"{', '.join(shapes)}: expected shapes that go together, got {shapes}") from error
    return tuple(
        array if array.ndim in (0, ndim) else array.reshape((1,) * (ndim - array.ndim) + array.shape)
        for array in arrays.values()
    )
