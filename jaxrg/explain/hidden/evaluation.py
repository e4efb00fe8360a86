"""Evaluation of a function operation by operation, in which some are looked at, set, or differentiated by a rule."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun
from jax.tree_util import Partial

from jaxrg.explain.hidden.derivatives import Rule, ruled
from jaxrg.explain.hidden.equations import CALLS, Path, opened


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
            lambda *values, branch=branch, number=number: evaluate(*opened(branch), values, plan, (*path, number))[0]
            for number, branch in enumerate(params["branches"])
        ]
        return lax.switch(inputs[0], branches, *inputs[1:]), {}
    jaxpr, consts = opened(params[CALLS[name]])
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
    jaxpr, consts = opened(params["jaxpr"])
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
