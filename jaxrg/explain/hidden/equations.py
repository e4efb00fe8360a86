"""Equations of a jaxpr: which are calls, which copy, and how to open what is inside."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

Path: TypeAlias = tuple[int, ...]

CALLS = {"jit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat2": "jaxpr"}
OWN_DERIVATIVES = ("custom_jvp_call", "custom_vjp_call")
COPIES = ("broadcast_in_dim", "convert_element_type", "copy", "reshape", "squeeze")


def opened(jaxpr: ClosedJaxpr | Jaxpr) -> tuple[Jaxpr, Sequence[Any]]:
    """A jaxpr and its constants."""
    return (jaxpr.jaxpr, jaxpr.consts) if isinstance(jaxpr, ClosedJaxpr) else (jaxpr, ())


def called(eqn: JaxprEqn) -> Jaxpr | None:
    """What a call calls; None of what is no call."""
    name = eqn.primitive.name
    return opened(eqn.params[CALLS[name]])[0] if name in CALLS else None


def kind_of_equation(eqn: JaxprEqn) -> str:
    """The primitive, or the name of a function with a derivative of its own."""
    if eqn.primitive.name in OWN_DERIVATIVES:
        return opened(eqn.params["call_jaxpr"])[0].debug_info.func_name
    return eqn.primitive.name


def is_variable(atom: Any) -> bool:
    return not isinstance(atom, Literal)


def is_factor(atom: Any, value: Any) -> bool:
    """Whether an operand is one number for all of another one."""
    return not atom.aval.shape and (not is_variable(atom) or bool(value.aval.shape))
