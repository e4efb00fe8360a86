"""Outlines: the containers of a pytree as JSON, so that its leaves can be put back without the program that made it."""

import collections
import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxrg.base import PyTree
from jaxrg.store.fingerprints import as_host

KEY = " key"  # ends the kind of a leaf that is one
IMPORTED = ("jaxrg", "optax")  # other modules are looked up only where the program has imported them itself


def arrays_of(tree: PyTree) -> tuple[list[str], list[str], list[Any]]:
    """Paths, kinds and arrays of the leaves of a pytree, where typed keys are their bits; see `with_key`."""
    named = jax.tree.leaves_with_path(tree)
    kinds = [as_host(leaf)[0] for _, leaf in named]
    arrays = [
        jax.random.key_data(leaf) if kind.endswith(KEY) else leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        for kind, (_, leaf) in zip(kinds, named, strict=True)
    ]
    return [jax.tree_util.keystr(path) for path, _ in named], kinds, arrays


def with_key(kind: str, array: Any) -> Any:
    """A leaf from its kind and its array: a typed key again, if it was one."""
    return jax.random.wrap_key_data(array, impl=kind.removesuffix(KEY)) if kind.endswith(KEY) else array


def outline_of(tree: PyTree) -> Any:
    """The containers of a pytree as JSON; ``"*"`` stands for a leaf."""
    if tree is None or jax.tree_util.all_leaves([tree]):
        return None if tree is None else "*"
    # One floor of the pytree at a time: whatever is not the tree itself is a leaf.
    floor = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)[0]
    children = [outline_of(child) for _, child in floor]
    if type(tree) in (list, tuple):
        return {type(tree).__name__: children}
    if isinstance(tree, tuple) and (names := getattr(tree, "_fields", None)) is not None:
        return {
            "fields": list(names),
            "of": f"{type(tree).__module__}:{type(tree).__qualname__}",
            "tuple": children,
        }
    return {"keys": [_key(path[-1]) for path, _ in floor], "dict": children}


def _key(entry: Any) -> str | int:
    key = getattr(entry, "key", None)
    return key if isinstance(key, str | int) else jax.tree_util.keystr((entry,), simple=True)


def filled(outline: Any, leaves: Iterator[Any]) -> PyTree:
    """The pytree of an outline with these leaves.

    Dictionaries, lists, tuples and NamedTuples come back as they were, the last as look-alikes where their class is not
    imported; other containers as dictionaries.
    """
    if outline is None:
        return None
    if outline == "*":
        return next(leaves)
    if "list" in outline:
        return [filled(child, leaves) for child in outline["list"]]
    if "dict" in outline:
        values = [filled(child, leaves) for child in outline["dict"]]
        return dict(zip(outline["keys"], values, strict=True))
    values = tuple(filled(child, leaves) for child in outline["tuple"])
    return _named_tuple(outline["of"], outline["fields"])(*values) if "of" in outline else values


def _named_tuple(place: str, fields: list[str]) -> type:
    module_name, _, qualified = place.partition(":")
    if module_name.split(".")[0] in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module_name)
    found: Any = sys.modules.get(module_name)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    is_same = isinstance(found, type) and issubclass(found, tuple) and getattr(found, "_fields", None) == tuple(fields)
    return found if is_same else collections.namedtuple(qualified.split(".")[-1], fields)
