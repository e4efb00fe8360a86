"""A function as the list of its operations: where each stands, and evaluation in which some are looked at or changed.

JAX's own representation of a traced function, the jaxpr, is walked equation by equation. Calls are walked into, and
loops of known length; what has a derivative rule of its own (`jax.custom_jvp`, `jax.custom_vjp`) is one operation. An
operation is found again by its path: the numbers of the equations on the way to it, and that of its output.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import jax
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, DropVar, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun
from jax.tree_util import Partial

from jaxrg import closures
from jaxrg.base import PyTree
from jaxrg.explain.hidden.derivatives import Rule, ruled

Path = tuple[int, ...]

CALLS = {"jit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat2": "jaxpr"}
OWN_DERIVATIVES = ("custom_jvp_call", "custom_vjp_call")
ZERO = "zero"
COPIES = ("broadcast_in_dim", "convert_element_type", "copy", "reshape", "squeeze")
COMPARISONS = {"gt": "above", "ge": "above", "lt": "below", "le": "below"}
NO_DERIVATIVE = ("floor", "ceil", "round", "sign", "stop_gradient", "while")  # or none backwards
LIBRARIES = tuple(str(FilePath(file).parent) for file in (jax.__file__, closures.__file__))


class Operation(NamedTuple):
    """One output of one equation."""

    path: Path
    scope: tuple[str, ...]
    kind: str  # the primitive, or relu, or the name of a function with a derivative of its own
    lengths: tuple[int, ...]  # of the loops around it
    aval: Any  # shape and dtype inside the loops
    operand: int | None  # which input a relu clamps
    is_inside: bool  # a branch, or a loop of unknown length
    params: Mapping[str, Any]  # of the equation


class Plan(NamedTuple):
    """What to do at which outputs, and which equations have another derivative."""

    reads: frozenset[Path] = frozenset()
    values: Mapping[Path, Array] = {}
    functions: Mapping[Path, Partial] = {}
    rules: Mapping[Path, tuple[Rule, int | None]] = {}

    def touches(self, path: Path) -> bool:
        """Whether anything is to be done inside this equation."""
        equations = [*self.rules, *(key[:-1] for key in (*self.reads, *self.values, *self.functions))]
        return any(len(equation) > len(path) and equation[: len(path)] == path for equation in equations)


def traced(function: Partial, args: Sequence[PyTree]) -> tuple[ClosedJaxpr, Any]:
    """The jaxpr of a function, and the structure of what it returns."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    return closed, jax.tree.structure(shapes)


# What a value is known to be, so that a ReLU is seen however it is written: zero, a comparison of another value with
# zero, or that other value, by an identity of its own.
def operations(jaxpr: Jaxpr, known: Sequence[Any] | None = None, path: Path = (), scope: tuple[str, ...] = (),
               lengths: tuple[int, ...] = (), is_inside: bool = False) -> Iterator[Operation]:  # fmt: skip
    """Every output of every equation, in the order in which they are computed."""
    facts: dict[Any, Any] = {var: (path, var) for var in (*jaxpr.constvars, *jaxpr.invars)}
    facts |= dict(zip(jaxpr.invars, known or [], strict=False))

    def fact(atom: Any) -> Any:
        if isinstance(atom, Literal):
            return ZERO if getattr(atom.val, "ndim", 0) == 0 and atom.val == 0 else object()
        return facts[atom]

    for number, eqn in enumerate(jaxpr.eqns):
        here, inputs = (*path, number), [fact(atom) for atom in eqn.invars]
        around = (*scope, *scope_of(eqn))
        name, results = eqn.primitive.name, [((*here, place), "") for place, _ in enumerate(eqn.outvars)]
        facts |= dict(zip(eqn.outvars, results, strict=True))
        if name in COPIES and inputs[0] is ZERO:
            facts[eqn.outvars[0]] = ZERO
        if name in COMPARISONS and inputs[1] is ZERO:
            facts[eqn.outvars[0]] = (COMPARISONS[name], inputs[0])
        if name in CALLS:
            inner = around if name == "remat2" else (*around, str(eqn.params.get("name", "")))
            inner = tuple(part for part in inner if part)
            yield from operations(_opened(eqn.params[CALLS[name]])[0], inputs, here, inner, lengths, is_inside)
            continue
        for branch, (jaxpr_inside, length) in enumerate(_insides(eqn)):
            at = (*here, branch) if name == "cond" else here
            is_known = length is not None and not is_inside
            inner_lengths = (*lengths, length) if length is not None else lengths
            yield from operations(jaxpr_inside, None, at, (*around, name), inner_lengths, not is_known)
        operand = _clamped(eqn, inputs)
        kind = "relu" if operand is not None else _kind(eqn)
        for place, var in enumerate(eqn.outvars):
            if not isinstance(var, DropVar) and hasattr(var.aval, "shape"):
                yield Operation((*here, place), around, kind, lengths, var.aval, operand, is_inside, eqn.params)


def _opened(jaxpr: ClosedJaxpr | Jaxpr) -> tuple[Jaxpr, Sequence[Any]]:
    return (jaxpr.jaxpr, jaxpr.consts) if isinstance(jaxpr, ClosedJaxpr) else (jaxpr, ())


def _insides(eqn: JaxprEqn) -> list[tuple[Jaxpr, int | None]]:
    """The bodies of a loop or the branches of a condition, and how often each runs, if that is known."""
    if eqn.primitive.name == "scan":
        return [(_opened(eqn.params["jaxpr"])[0], eqn.params["length"])]
    if eqn.primitive.name == "cond":
        return [(_opened(branch)[0], None) for branch in eqn.params["branches"]]
    if eqn.primitive.name == "while":
        return [(_opened(eqn.params["body_jaxpr"])[0], None)]
    return []


def _kind(eqn: JaxprEqn) -> str:
    if eqn.primitive.name in OWN_DERIVATIVES:
        return _opened(eqn.params["call_jaxpr"])[0].debug_info.func_name
    return eqn.primitive.name


def _clamped(eqn: JaxprEqn, inputs: Sequence[Any]) -> int | None:
    """Which input this equation clamps at zero, if it does nothing else."""
    name = eqn.primitive.name
    if name in OWN_DERIVATIVES and _kind(eqn) == "relu":
        return 0
    if name == "max" and (inputs[0] is ZERO) != (inputs[1] is ZERO):
        return int(inputs[0] is ZERO)
    if name == "select_n" and len(inputs) == 3:  # which, where it is false, where it is true
        for kept, other, side in ((2, 1, "above"), (1, 2, "below")):
            if inputs[other] is ZERO and inputs[0] == (side, inputs[kept]):
                return kept
    return None


def scope_of(eqn: JaxprEqn) -> tuple[str, ...]:
    """The named scopes an equation was traced in; without any, the classes whose ``__call__`` it was traced in."""
    named = str(eqn.source_info.name_stack)
    if named:
        return tuple(named.split("/"))
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
        given = [not isinstance(atom, Literal) and atom in reached for atom in eqn.invars]
        if not any(given):
            continue
        passes = [jax.numpy.issubdtype(getattr(var.aval, "dtype", int), jax.numpy.inexact) for var in eqn.outvars]
        if eqn.primitive.name in CALLS:
            inside, inner = blocked(_opened(eqn.params[CALLS[eqn.primitive.name]])[0], given)
            passes, stops = inside, stops + inner
        elif eqn.primitive.name in NO_DERIVATIVE:
            passes = [False] * len(eqn.outvars)
        if not any(passes) and eqn.primitive.name not in CALLS:
            stops.append(eqn.primitive.name)
        reached |= {var for var, is_one in zip(eqn.outvars, passes, strict=True) if is_one}
    return [not isinstance(atom, Literal) and atom in reached for atom in jaxpr.outvars], stops


def evaluate(
    jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any], plan: Plan, path: Path = ()
) -> tuple[list[Any], dict[Path, Array]]:
    """What the function returns, and what was to be read, stacked along a leading axis for every loop around it."""
    environment = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
    found: dict[Path, Array] = {}
    for number, eqn in enumerate(jaxpr.eqns):
        here = (*path, number)
        if plan.touches(here):
            inputs = [atom.val if isinstance(atom, Literal) else environment[atom] for atom in eqn.invars]
            outputs, inside = _inside(eqn, inputs, plan, here)
            found |= inside
        else:
            apply, variables = _alone(jaxpr, eqn)
            if here in plan.rules:
                rule, operand = plan.rules[here]
                apply = ruled(apply, rule, [operand is None or eqn.invars[operand] is var for var in variables])
            outputs = list(apply(*(environment[var] for var in variables)))
        for place, var in enumerate(eqn.outvars):
            place_path = (*here, place)
            if place_path in plan.values:
                outputs[place] = plan.values[place_path]
            if place_path in plan.functions:
                outputs[place] = plan.functions[place_path](outputs[place])
            if place_path in plan.reads:
                found[place_path] = outputs[place]
            environment[var] = outputs[place]
    outputs = [atom.val if isinstance(atom, Literal) else environment[atom] for atom in jaxpr.outvars]
    return outputs, found


def _inside(eqn: JaxprEqn, inputs: list[Any], plan: Plan, path: Path) -> tuple[list[Any], dict[Path, Array]]:
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        return _scanned(params, inputs, plan, path)
    if name == "cond":  # its branches have rules alone
        branches = [
            lambda *values, branch=branch, number=number: evaluate(*_opened(branch), values, plan, (*path, number))[0]
            for number, branch in enumerate(params["branches"])
        ]
        return lax.switch(inputs[0], branches, *inputs[1:]), {}
    jaxpr, consts = _opened(params[CALLS[name]])
    if name == "remat2":
        again = jax.checkpoint(
            lambda *values: evaluate(jaxpr, consts, values, plan, path),
            prevent_cse=params["prevent_cse"],
            policy=params["policy"],
        )
        return again(*inputs)
    return evaluate(jaxpr, consts, inputs, plan, path)


def _alone(jaxpr: Jaxpr, eqn: JaxprEqn) -> tuple[Any, list[Any]]:
    """One equation as a function of its variables, and these."""
    variables = list(dict.fromkeys(atom for atom in eqn.invars if not isinstance(atom, Literal)))
    small = jaxpr.replace(
        constvars=[],
        invars=variables,
        outvars=eqn.outvars,
        eqns=[eqn],
        effects=eqn.effects,
        debug_info=jaxpr.debug_info.with_unknown_names(),
    )
    return jaxpr_as_fun(ClosedJaxpr(small, ())), variables


def _scanned(
    params: Mapping[str, Any], inputs: list[Any], plan: Plan, path: Path
) -> tuple[list[Any], dict[Path, Array]]:
    """A loop, whose values to be set come in slices and whose values to be read leave it stacked."""
    jaxpr, consts = _opened(params["jaxpr"])
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    inside = {key: value for key, value in plan.values.items() if key[: len(path)] == path}

    def body(carry: Any, slices: Any) -> tuple[Any, Any]:
        given, values = slices
        now = plan._replace(values={**plan.values, **values})
        outputs, reads = evaluate(jaxpr, consts, [*inputs[:first], *carry, *given], now, path)
        num_carry = params["num_carry"]
        return outputs[:num_carry], (outputs[num_carry:], reads)

    carry, (stacked, reads) = lax.scan(
        body,
        inputs[first:last],
        (inputs[last:], inside),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *stacked], reads
