"""Functions as pytrees: the arrays a function holds are its leaves, so that a fresh lambda does not compile again."""

import dataclasses
import dis
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.tree_util import Partial

ARRAYS = (Array, np.ndarray, np.generic, bool, int, float, complex)
CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), np.dtype, np.generic, range)
LIBRARIES = ("builtins", "functools", "jax", "jaxlib", "jaxrg", "math", "numpy", "operator", "optax")
MAX_DEPTH = 8  # of functions that refer to functions


def as_partial(fn: Callable) -> Partial:
    """A function as a pytree whose leaves are the arrays it holds, so that new values of them do not compile anew.

    Of a method of a pytree of arrays the leaves are those of the pytree; of a lambda or an inner function, the floating
    arrays and tracers it closes over. Two such functions of one line of code are one to a jitted caller if all else
    they refer to is immutable and the same; where anything could have changed since, each is compiled for itself.
    """
    if isinstance(fn, Partial):
        return fn
    if inspect.ismethod(fn):
        if all(isinstance(leaf, ARRAYS) for leaf in jax.tree.leaves(fn.__self__)):
            return Partial(fn.__func__, fn.__self__)
    elif isinstance(fn, types.FunctionType) and "<" in fn.__qualname__:  # <lambda> or <locals>: made anew at each call
        try:
            return _open_function(fn, 0)
        except _MayChange:
            pass
    try:
        hash(fn)
    except TypeError:  # as of a method of a dataclass with arrays
        return Partial(_Callable(fn))
    return Partial(fn)


class _MayChange(Exception):
    """What a function refers to may change behind its back."""


@dataclasses.dataclass(frozen=True)
class _Same:
    """A value compared by identity, and kept alive so that no other takes its place."""

    value: Any = dataclasses.field(compare=False)
    address: int

    @classmethod
    def of(cls, value: Any) -> "_Same":
        return cls(value, id(value))


class _Callable:
    """A function without a hash of its own, compared by identity."""

    def __init__(self, fn: Callable) -> None:
        self.fn = fn

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)


class _Code:
    """An inner function without the arrays it closes over, which come before its arguments."""

    def __init__(self, fn: types.FunctionType, treedef: Any, constants: tuple, identity: tuple) -> None:
        self.parts = (fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__)
        self.keywords, self.treedef, self.constants = fn.__kwdefaults__, treedef, constants
        self.identity = (*map(_Same.of, self.parts[:2]), treedef, identity)

    def __call__(self, arrays: list, *args: Any, **kwargs: Any) -> Any:
        given = iter(arrays)
        leaves = [next(given) if is_array else leaf for is_array, leaf in self.constants]
        cells = tuple(types.CellType(value) for value in jax.tree.unflatten(self.treedef, leaves))
        fn = types.FunctionType(*self.parts, cells)
        fn.__kwdefaults__ = self.keywords
        return fn(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Code) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)


def _open_function(fn: types.FunctionType, depth: int) -> Partial:
    """The function as a `Partial` of its floating arrays and tracers, or `_MayChange`."""
    try:
        contents = [_open_value(cell.cell_contents, depth) for cell in fn.__closure__ or ()]
    except ValueError as error:  # a cell that is still empty
        raise _MayChange from error
    leaves, treedef = jax.tree.flatten(contents)
    is_array = [isinstance(leaf, Array) and _is_leaf(leaf) for leaf in leaves]
    arrays = [leaf for leaf, moves in zip(leaves, is_array, strict=True) if moves]
    constants = tuple((moves, None if moves else leaf) for leaf, moves in zip(leaves, is_array, strict=True))
    identity = (*_references(fn, depth), *(_identity(leaf, depth) for moves, leaf in constants if not moves))
    return Partial(_Code(fn, treedef, constants, identity), arrays)


def _is_leaf(array: Array) -> bool:
    """Integers and booleans stay constants, which an index or a mask may have to be."""
    return isinstance(array, Tracer) or jnp.issubdtype(array.dtype, jnp.floating)


def _open_value(value: Any, depth: int) -> Any:
    """A closed-over value as a pytree that nothing can change any more, or `_MayChange`."""
    if isinstance(value, types.FunctionType):
        return _open_function(value, depth + 1) if "<" in value.__qualname__ else value
    if inspect.ismethod(value):
        partial = as_partial(value)
        if partial.args:
            return partial
        raise _MayChange
    if isinstance(value, list | dict):
        leaves = jax.tree.leaves(value)
        if leaves and all(isinstance(leaf, Array) and _is_leaf(leaf) for leaf in leaves):
            return jax.tree.map(lambda leaf: leaf, value)
        raise _MayChange  # a list of other things may be one that the function writes to
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_open_value(part, depth) for part in value)
    return value


def _identity(value: Any, depth: int) -> Any:
    """What must be equal for two references to be the same for ever, or `_MayChange`."""
    if isinstance(value, CONSTANTS):
        return (type(value), repr(value))
    if isinstance(value, type | types.BuiltinFunctionType | np.ufunc | Array) or _is_of_library(value):
        return _Same.of(value)
    if isinstance(value, types.FunctionType) and depth < MAX_DEPTH:
        if value.__closure__:
            raise _MayChange
        return (_Same.of(value), *_references(value, depth + 1))
    if isinstance(value, tuple):
        return tuple(_identity(part, depth) for part in value)
    raise _MayChange


def _is_of_library(value: Any) -> bool:
    """Whether this is a function of a library, whose module nobody assigns to."""
    return callable(value) and (getattr(value, "__module__", None) or "").split(".")[0] in LIBRARIES


def _references(fn: types.FunctionType, depth: int) -> tuple:
    """Identities of the globals and defaults a function refers to."""
    names, writes = _names(fn.__code__)
    if writes:
        raise _MayChange
    values = [*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values()]
    found = []
    for name in names:
        value = fn.__globals__.get(name, None)
        if isinstance(value, types.ModuleType):
            found.append(_Same.of(value))
            if value.__name__.split(".")[0] not in LIBRARIES:
                values += [getattr(value, other) for other in names if hasattr(value, other)]
        elif name in fn.__globals__ and value is not fn:
            values.append(value)
    return (*found, *(_identity(value, depth) for value in values))


@functools.lru_cache(maxsize=4096)
def _names(code: types.CodeType) -> tuple[tuple[str, ...], bool]:
    """Global and attribute names in a function and those written inside it, and whether any assigns outside itself."""
    names, writes = set(code.co_names), False
    for instruction in dis.get_instructions(code):
        is_outer = instruction.opname == "STORE_DEREF" and instruction.argval in code.co_freevars
        writes |= is_outer or instruction.opname in ("STORE_GLOBAL", "STORE_ATTR", "IMPORT_NAME")
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner, inner_writes = _names(constant)
            names, writes = names | set(inner), writes or inner_writes
    return tuple(sorted(names)), writes
