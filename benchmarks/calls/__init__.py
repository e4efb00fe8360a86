"""One call of every public function, for the contracts of first calls and of hostile input and for their benchmark.

A room is a module of this folder with ``CALLS``, and ``NOT_CALLED`` of names with a reason. ``arguments(seed)`` gives
new values in the same shapes, so that the second call of a function may not compile anything.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Call(NamedTuple):
    """How a function is called."""

    name: str  # below jaxrg, as "stats.summary"
    arguments: Callable[[int], dict[str, Any]]  # by parameter name; of ``*groups`` a tuple, of ``**options`` a dict
    why: str = (
        ""  # why more than two programs are compiled at first, or some in a second call; empty where it is not so
    )
    most: tuple[int, int] = (2, 0)  # programs compiled by the first call and by the second
    sealed: tuple[str, ...] = ()  # parameters that hostile input leaves alone, as the state of a driver

    @property
    def fn(self) -> Callable:
        """The function itself."""
        room, *path = self.name.split(".")
        found: Any = importlib.import_module(f"jaxrg.{room}")
        for part in path:
            found = getattr(found, part)
        return found

    def __call__(self, arguments: dict[str, Any]) -> Any:
        """Call it, and wait for the numbers."""
        return jax.block_until_ready(call(self.fn, arguments))


def call(fn: Callable, arguments: dict[str, Any]) -> Any:
    """Call a function by the names of its parameters."""
    positional, keywords = [], {}
    for name, parameter in inspect.signature(fn).parameters.items():
        if name not in arguments:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += arguments[name]
        elif parameter.kind is parameter.VAR_KEYWORD:
            keywords |= arguments[name]
        elif parameter.kind is parameter.KEYWORD_ONLY:
            keywords[name] = arguments[name]
        else:
            positional.append(arguments[name])
    unknown = set(arguments) - set(inspect.signature(fn).parameters)
    assert not unknown, f"{fn}: expected parameters of the function, got {sorted(unknown)}"
    return fn(*positional, **keywords)


def calls_of(room: str) -> list[Call]:
    """The calls of one room."""
    return importlib.import_module(f"benchmarks.calls.{room}").CALLS


def not_called(room: str) -> dict[str, str]:
    """Public functions of a room that are no calls, each with its reason."""
    return getattr(importlib.import_module(f"benchmarks.calls.{room}"), "NOT_CALLED", {})


def rooms() -> list[str]:
    """The rooms that have calls."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
