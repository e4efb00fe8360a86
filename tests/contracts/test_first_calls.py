"""What a call costs: programs compiled by the first call of every public function, and none by the second."""

import importlib
import inspect
import typing
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import pytest

import jaxrg
from benchmarks.calls import Call, calls_of, not_called, rooms

COMPILED = "/jax/core/compile/jaxpr_to_mlir_module_duration"  # once a program, cached on disk or not
count = 0


def _listen(event: str, duration: float, **_) -> None:
    global count
    count += event == COMPILED


jax.monitoring.register_event_duration_secs_listener(_listen)


@contextmanager
def compilations() -> Iterator[list[int]]:
    """A list that gets the number of programs compiled inside."""
    found: list[int] = []
    before = count
    yield found
    found.append(count - before)


CALLS = [call for room in rooms() for call in calls_of(room)]
NOT_CALLED = {name: reason for room in rooms() for name, reason in not_called(room).items()}
# What the library itself is made of: called inside compiled functions, with arrays that have been checked.
MACHINERY = {"base", "checks", "closures", "progress", "store", "sums"}


def marks(index: int) -> tuple:
    """Compiling all anew takes a quarter of an hour: few by default, a quarter among the slow, all at a release."""
    if index % 32 == 0:
        return ()
    return (pytest.mark.slow,) if index % 4 == 0 else (pytest.mark.exhaustive,)


ROWS = [pytest.param(call, id=call.name, marks=marks(index)) for index, call in enumerate(CALLS)]


@pytest.mark.parametrize("call", ROWS)
def test_the_first_call_compiles_once_and_the_second_never(call: Call):
    first, second = call.arguments(0), call.arguments(1)
    jax.clear_caches()
    with compilations() as found:
        call(first)
    with compilations() as found_again:
        call(second)
    assert found[0] <= call.most[0], f"first call of {call.name}: expected at most {call.most[0]} programs"
    assert found_again[0] <= call.most[1], f"second call of {call.name}: expected at most {call.most[1]} programs"
    assert (call.most == Call._field_defaults["most"]) == (not call.why), "a call that compiles more says why"


def public_functions() -> Iterator[str]:
    """Names of all functions of all rooms, and of the rooms inside them."""
    for room in jaxrg.__all__:
        if not room.startswith("__") and room not in MACHINERY:
            yield from functions_of(importlib.import_module(f"jaxrg.{room}"))


def functions_of(module) -> Iterator[str]:
    path = module.__name__.removeprefix("jaxrg.")
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    for name in getattr(module, "__all__", [name for name in own if not name.startswith("_")]):
        value = getattr(module, name)
        if inspect.ismodule(value):
            yield from functions_of(value)
        elif callable(value) and not inspect.isclass(value) and typing.get_origin(value) is None:
            yield f"{path}.{name}"


def test_every_public_function_is_called():
    called = {call.name for call in CALLS}
    assert set(public_functions()) - set(NOT_CALLED) <= called
    assert not called & set(NOT_CALLED)
    assert set(NOT_CALLED) <= set(public_functions())
