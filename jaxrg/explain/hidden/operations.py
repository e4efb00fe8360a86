"""A function as the list of its operations: where each stands, what it does, and whether a derivative comes through it.

JAX's own representation of a traced function, the jaxpr, is walked equation by equation. Calls are walked into, and
loops of known length; what has a derivative rule of its own (`jax.custom_jvp`, `jax.custom_vjp`) is one operation. An
operation is found again by its path: the numbers of the equations on the way to it, and that of its output.
"""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, DropVar, Jaxpr, JaxprEqn, Literal
from jax.tree_util import Partial

from jaxrg import closures
from jaxrg.base import PyTree
from jaxrg.explain.hidden.clamps import COMPARISONS, RETURNED, USED, ZERO, Parts, clamped, is_guard, uses
from jaxrg.explain.hidden.equations import (
    COPIES,
    OWN_DERIVATIVES,
    Path,
    called,
    is_variable,
    kind_of_equation,
    opened,
)

NO_DERIVATIVE = ("floor", "ceil", "round", "sign", "stop_gradient", "while")  # or none backwards
TRANSFORMED = re.compile(r"^(?:\w+\()+|\)+$")
LOOPS = {"while": "loop"}
LIBRARIES = tuple(str(FilePath(file).parent) for file in (jax.__file__, closures.__file__))


class Operation(NamedTuple):
    """One output of one equation."""

    path: Path
    scope: tuple[str, ...]
    kind: str  # the primitive, or relu, or the name of a function with a derivative of its own
    lengths: tuple[int, ...]  # of the loops around it
    aval: Any  # shape and dtype inside the loops
    operand: int | None  # which input a relu clamps
    inside: str  # "branch" or "loop", one of unknown length; empty elsewhere
    params: Mapping[str, Any]  # of the equation


def traced(function: Partial, args: Sequence[PyTree]) -> tuple[ClosedJaxpr, Any]:
    """The jaxpr of a function, and the structure of what it returns."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    return closed, jax.tree.structure(shapes)


def operations(jaxpr: Jaxpr) -> Iterator[Operation]:
    """Every output of every equation, in the order in which they are computed."""
    parts = Parts()
    for operation in list(_operations(jaxpr, _Place((), (), (), "", parts), None, [{RETURNED}] * len(jaxpr.outvars))):
        primitive = parts.found.get(operation.path[:-1])
        yield operation._replace(kind=primitive, operand=None) if primitive else operation


class _Place(NamedTuple):
    """Where a jaxpr stands in the whole function."""

    path: Path
    scope: tuple[str, ...]
    lengths: tuple[int, ...]
    inside: str
    parts: Parts


# What a value is known to be, so that a ReLU is seen however it is written: zero, a comparison of another value with
# zero, or that other value, by an identity of its own.
def _operations(
    jaxpr: Jaxpr, place: _Place, known: Sequence[Any] | None, ends: Sequence[set[str]]
) -> Generator[Operation, None, list[Any]]:
    """The operations; what its outputs are known to be is returned."""
    facts: dict[Any, Any] = {var: (place.path, var) for var in (*jaxpr.constvars, *jaxpr.invars)}
    facts |= dict(zip(jaxpr.invars, known or [], strict=False))
    ways = uses(jaxpr, ends)

    def fact(atom: Any) -> Any:
        if isinstance(atom, Literal):
            return ZERO if getattr(atom.val, "ndim", 0) == 0 and atom.val == 0 else object()
        return facts[atom]

    for number, eqn in enumerate(jaxpr.eqns):
        here, inputs = (*place.path, number), [fact(atom) for atom in eqn.invars]
        scope, name = (*place.scope, *scope_of(eqn)), eqn.primitive.name
        onward = [ways[var] for var in eqn.outvars]
        if (body := called(eqn)) is not None:
            title = "" if name == "remat2" else str(eqn.params.get("name", ""))
            inner = place._replace(path=here, scope=(*scope, title) if title else scope)
            found = yield from _operations(body, inner, inputs, onward)
            facts |= dict(zip(eqn.outvars, found, strict=True))
            continue
        facts |= {var: ((*here, output), "") for output, var in enumerate(eqn.outvars)}
        if name in COPIES and inputs[0] is ZERO:
            facts[eqn.outvars[0]] = ZERO
        if name in COMPARISONS and inputs[1] is ZERO:
            facts[eqn.outvars[0]] = (COMPARISONS[name], inputs[0])
        for branch, (body, length) in enumerate(_insides(eqn)):
            inner = place._replace(path=(*here, branch) if name == "cond" else here, scope=(*scope, name))
            if length is None:
                inner = inner._replace(inside="loop" if "loop" in (place.inside, LOOPS.get(name)) else "branch")
            else:
                inner = inner._replace(lengths=(*place.lengths, length))
            yield from _operations(body, inner, None, _ends_inside(eqn, onward, len(body.outvars)))
        operand = clamped(eqn, inputs)
        if operand is not None and name not in OWN_DERIVATIVES and is_guard(onward[0]):
            operand = None
        place.parts.note(eqn, here, inputs, ((*here, 0), ""), operand)
        kind = "relu" if operand is not None else kind_of_equation(eqn)
        for output, var in enumerate(eqn.outvars):
            if not isinstance(var, DropVar) and hasattr(var.aval, "shape"):
                path = (*here, output)
                yield Operation(path, scope, kind, place.lengths, var.aval, operand, place.inside, eqn.params)
    return [fact(atom) for atom in jaxpr.outvars]


def _insides(eqn: JaxprEqn) -> list[tuple[Jaxpr, int | None]]:
    """The bodies of a loop or the branches of a condition, and how often each runs, if that is known."""
    if eqn.primitive.name == "scan":
        return [(opened(eqn.params["jaxpr"])[0], eqn.params["length"])]
    if eqn.primitive.name == "cond":
        return [(opened(branch)[0], None) for branch in eqn.params["branches"]]
    if eqn.primitive.name == "while":
        return [(opened(eqn.params["body_jaxpr"])[0], None)]
    return []


def _ends_inside(eqn: JaxprEqn, onward: Sequence[set[str]], count: int) -> list[set[str]]:
    """What becomes of the outputs of a step or of a branch; a loop goes on with what it carries."""
    if eqn.primitive.name == "cond":
        return list(onward)
    carried = eqn.params.get("num_carry", count)
    return [{USED}] * carried + list(onward[carried:])


def scope_of(eqn: JaxprEqn) -> tuple[str, ...]:
    """The named scopes an equation was traced in; without any, the classes whose ``__call__`` it was traced in.

    Transformations that wrap a scope, as in ``vmap(scope)``, leave its name.
    """
    named = [TRANSFORMED.sub("", part) for part in str(eqn.source_info.name_stack).split("/")]
    if any(named):
        return tuple(part for part in named if part)
    found: list[str] = []
    for frame in getattr(eqn.source_info.traceback, "frames", ()):  # the innermost first
        if frame.function_name.startswith("trace_to_jaxpr"):
            break
        caller, _, method = frame.function_name.rpartition(".")
        if method == "__call__" and "<" not in caller and not frame.file_name.startswith(LIBRARIES):
            found.append(caller)
    return tuple(reversed(found))


def blocked(jaxpr: Jaxpr, moves: Sequence[bool]) -> tuple[list[bool], list[str]]:
    """Which outputs have a derivative by the inputs that move, and the kinds of operations that stop it."""
    reached = {var for var, is_one in zip(jaxpr.invars, moves, strict=True) if is_one}
    stops: list[str] = []
    for eqn in jaxpr.eqns:
        given = [is_variable(atom) and atom in reached for atom in eqn.invars]
        if not any(given):
            continue
        name = eqn.primitive.name
        passes = [jnp.issubdtype(getattr(var.aval, "dtype", int), jnp.inexact) for var in eqn.outvars]
        if (body := called(eqn)) is not None:
            passes, inner = blocked(body, given)
            stops += inner
        elif name in ("scan", "cond"):
            passes, inner = _blocked_inside(eqn, given)
            stops += inner
        elif name in NO_DERIVATIVE or not any(passes):
            passes = [False] * len(eqn.outvars)
            stops.append(name)
        reached |= {var for var, is_one in zip(eqn.outvars, passes, strict=True) if is_one}
    return [is_variable(atom) and atom in reached for atom in jaxpr.outvars], stops


def _blocked_inside(eqn: JaxprEqn, given: list[bool]) -> tuple[list[bool], list[str]]:
    """The same of branches, any of which may be taken, and of a loop, by a step whose carry moves if it ever does."""
    if eqn.primitive.name == "cond":
        found = [blocked(opened(branch)[0], given[1:]) for branch in eqn.params["branches"]]
        passes = [any(ways) for ways in zip(*(each for each, _ in found), strict=True)]
        return passes, [stop for _, stops in found for stop in stops]
    body = opened(eqn.params["jaxpr"])[0]
    first, count = eqn.params["num_consts"], eqn.params["num_carry"]
    while True:
        passes, stops = blocked(body, given)
        carried = [old or new for old, new in zip(given[first : first + count], passes[:count], strict=True)]
        if carried == given[first : first + count]:
            return passes, stops
        given = [*given[:first], *carried, *given[first + count :]]
