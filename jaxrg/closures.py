"""Functions as pytrees: the arrays a function holds are its leaves, so that a fresh lambda does not compile again."""

import dataclasses
import dis
import functools
import hashlib
import inspect
import types
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.tree_util import Partial

from jaxrg.checks import kind_of

Functions = TypeVar("Functions")

ARRAYS = (Array, np.ndarray, np.generic, bool, int, float, complex)
CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), np.dtype, np.generic, range)
LIBRARIES = ("builtins", "equinox", "flax", "functools", "jax", "jaxlib", "jaxrg", "math", "numpy", "operator", "optax")
MAX_DEPTH = 8  # of functions that refer to functions


def as_partial(fn: Callable) -> Partial:
    """A function as a pytree whose leaves are the arrays it holds, so that new values of them do not compile anew.

    Of a network that is a pytree, of a method of one and of a `functools.partial` the leaves are their floating arrays;
    of a lambda or an inner function, the floating arrays and tracers it closes over. Two such functions of one line of
    code are one to a jitted caller if all else they refer to is the same; where something could have changed that
    cannot be compared, as in an object of a class of one's own, each is compiled for itself.
    """
    try:
        return _open_callable(fn, 0)
    except _MayChange:
        return Partial(_Callable(fn))


def as_functions(name: str, value: Any, kind: type[Functions]) -> Functions:
    """A NamedTuple of functions, such as `jaxrg.base.Bijector`, of whatever has them, each a pytree.

    Raises:
        ValueError: something without one of the functions.
    """
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    parts = [getattr(value, field, None) for field in fields]
    if not all(map(callable, parts)):
        listed = f"{', '.join(fields[:-1])} and {fields[-1]}"
        raise ValueError(f"{name}: expected a {kind.__name__} with {listed}, got {kind_of(value)}")
    return kind(*map(as_partial, parts))  # type: ignore[arg-type]


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
    """A function that may change behind its name: compared by identity, and a new one at every `as_partial`."""

    def __init__(self, fn: Callable) -> None:
        self.fn = fn

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)


class _Contents:
    """A pytree without its floating arrays."""

    def __init__(self, tree: Any, depth: int, references: tuple = ()) -> None:
        leaves, self.treedef = jax.tree.flatten(tree)
        self.constants = tuple((_is_leaf(leaf), None if _is_leaf(leaf) else leaf) for leaf in leaves)
        self.arrays = [leaf for leaf in leaves if _is_leaf(leaf)]
        constants = (_identity(leaf, depth) for is_array, leaf in self.constants if not is_array)
        self.identity = (self.treedef, *references, *constants, *(is_array for is_array, _ in self.constants))

    def filled(self, arrays: list) -> Any:
        """The tree, with these arrays."""
        given = iter(arrays)
        return jax.tree.unflatten(
            self.treedef, [next(given) if is_array else leaf for is_array, leaf in self.constants]
        )


class _Code:
    """An inner function without the arrays it closes over, which come before its arguments."""

    def __init__(self, fn: types.FunctionType, contents: _Contents) -> None:
        self.parts = (fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__)
        self.keywords, self.contents = fn.__kwdefaults__, contents
        self.identity = (*map(_Same.of, self.parts[:2]), contents.identity)

    def __call__(self, arrays: list, *args: Any, **kwargs: Any) -> Any:
        cells = tuple(types.CellType(value) for value in self.contents.filled(arrays))
        fn = types.FunctionType(*self.parts, cells)
        fn.__kwdefaults__ = self.keywords
        return fn(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)


class _Bound(_Code):
    """A function with its first arguments and keywords, less their arrays."""

    def __init__(self, contents: _Contents) -> None:
        self.contents, self.identity = contents, contents.identity

    def __call__(self, arrays: list, *args: Any, **kwargs: Any) -> Any:
        fn, first, keywords = self.contents.filled(arrays)
        return fn(*first, *args, **keywords | kwargs)


def _open_callable(fn: Callable, depth: int) -> Partial:
    """The function as a `Partial` of its arrays, or `_MayChange`."""
    if isinstance(fn, Partial):
        return fn
    if isinstance(fn, functools.partial):
        return _bind(_open_callable(fn.func, depth + 1), *fn.args, **fn.keywords)
    if inspect.ismethod(fn):
        owner = fn.__self__
        if all(isinstance(leaf, ARRAYS) for leaf in jax.tree.leaves(owner)):
            return Partial(fn.__func__, owner)
        if not jax.tree_util.all_leaves([owner]):
            return _bind(fn.__func__, owner)
        if not isinstance(owner, type) and type(owner).__hash__ is object.__hash__ and not _is_of_library(fn):
            raise _MayChange
    elif not jax.tree_util.all_leaves([fn]):  # a network that is a pytree
        return _bind(fn)
    elif isinstance(fn, types.FunctionType) and not (_is_of_library(fn) and "<" not in fn.__qualname__):
        return _open_function(fn, depth)
    elif type(fn).__hash__ is object.__hash__ and not (_is_of_library(fn) or hasattr(fn, "lower")):
        raise _MayChange  # an object of a class of one's own, whose attributes may be assigned to
    try:
        hash(fn)
    except TypeError as error:  # as of a method of a dataclass with arrays
        raise _MayChange from error
    return Partial(fn)


class _Closed:
    """A function that holds no arrays, as a leaf: a pytree without leaves would not pass for a function everywhere."""

    def __init__(self, fn: Partial) -> None:
        self.fn, self.identity = fn, jax.tree.structure(fn)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)


def _bind(fn: Callable, *args: Any, **keywords: Any) -> Partial:
    contents = _Contents((fn, args, keywords), 0)
    return Partial(_Bound(contents), contents.arrays)


def _open_function(fn: types.FunctionType, depth: int) -> Partial:
    """The function as a `Partial` of its floating arrays and tracers, or `_MayChange`."""
    try:
        cells = [_open_value(cell.cell_contents, depth) for cell in fn.__closure__ or ()]
    except ValueError as error:  # a cell that is still empty
        raise _MayChange from error
    contents = _Contents(cells, depth, _references(fn, depth))
    return Partial(_Code(fn, contents), contents.arrays)


def _is_leaf(value: Any) -> bool:
    """Integers and booleans stay constants, which an index or a mask may have to be; so do NumPy's arrays."""
    return isinstance(value, Tracer) or (isinstance(value, Array) and jnp.issubdtype(value.dtype, jnp.floating))


def _open_value(value: Any, depth: int) -> Any:
    """A closed-over value as a pytree that nothing can change any more, or `_MayChange`."""
    if isinstance(value, Partial):
        return value
    if isinstance(value, types.FunctionType):
        return _as_leaf(_open_function(value, depth + 1)) if "<" in value.__qualname__ else value
    if inspect.ismethod(value) or isinstance(value, functools.partial):
        return _as_leaf(_open_callable(value, depth + 1))
    if isinstance(value, list | dict):
        leaves = jax.tree.leaves(value)
        if leaves and all(map(_is_leaf, leaves)):
            return jax.tree.map(lambda leaf: leaf, value)
        raise _MayChange  # a list of other things may be one that the function writes to
    if isinstance(value, tuple):
        parts = [_open_value(part, depth) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def _as_leaf(fn: Partial) -> Any:
    return fn if jax.tree.leaves(fn) else _Closed(fn)


def _identity(value: Any, depth: int) -> Any:
    """What must be equal for two references to be the same for ever, or `_MayChange`."""
    if isinstance(value, _Closed):
        return value.identity
    if isinstance(value, CONSTANTS):
        return (type(value), repr(value))
    if isinstance(value, type | types.BuiltinFunctionType | np.ufunc | Array) or _is_of_library(value):
        return _Same.of(value)
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, hashlib.sha256(value.tobytes()).digest())
    if isinstance(value, types.FunctionType) and depth < MAX_DEPTH:
        if value.__closure__:
            raise _MayChange
        return (_Same.of(value), *_references(value, depth + 1))
    if isinstance(value, tuple):
        return tuple(_identity(part, depth) for part in value)
    leaves, treedef = jax.tree.flatten(value)
    if not jax.tree_util.treedef_is_leaf(treedef) and all(isinstance(leaf, Array) for leaf in leaves):
        return (treedef, *map(_Same.of, leaves))  # parameters as they are now
    if jax.tree_util.treedef_is_leaf(treedef) and _is_frozen(value):
        return (type(value), value)
    raise _MayChange


def _is_frozen(value: Any) -> bool:
    """Whether this is a frozen dataclass of this library with a hash of its values, as a lattice and operators are."""
    # A dataclass that is not frozen has no hash, and what is no dataclass may have one that says nothing of its values.
    has_hash = type(value).__hash__ not in (None, object.__hash__)
    return type(value).__module__.startswith("jaxrg.") and dataclasses.is_dataclass(value) and has_hash


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
