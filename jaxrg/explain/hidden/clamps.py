"""Clamps at zero: which are ReLUs, which keep a value in the domain of a function, and which are part of another.

`jax.nn.relu` is a ReLU wherever it stands. max(x, 0) and where(x > 0, x, 0) are, but for guards, by `is_guard` of their
`uses`, and for a part of another activation, by `Parts`.
"""

import collections
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn

from jaxrg.explain.hidden.equations import (
    COPIES,
    OWN_DERIVATIVES,
    Path,
    called,
    is_factor,
    is_variable,
    kind_of_equation,
)

ZERO = "zero"
COMPARISONS = {"gt": "above", "ge": "above", "lt": "below", "le": "below"}
DOMAINS = ("rsqrt", "sqrt", "cbrt", "log", "log1p", "exp", "exp2", "expm1")
SUMS = ("add", "sub", "neg")
BENDS = (*DOMAINS, "abs", "erf", "integer_pow", "logistic", "max", "min", "pow", "select_n", "square", "tanh")

GUARDED, AVERAGED, RETURNED, USED = "guarded", "averaged", "returned", "used"


def clamped(eqn: JaxprEqn, inputs: Sequence[Any]) -> int | None:
    """Which input this equation clamps at zero, if it does nothing else."""
    name = eqn.primitive.name
    if name in OWN_DERIVATIVES and kind_of_equation(eqn) == "relu":
        return 0
    if name == "max" and (inputs[0] is ZERO) != (inputs[1] is ZERO):
        return int(inputs[0] is ZERO)
    if name == "select_n" and len(inputs) == 3:  # which, where it is false, where it is true
        for kept, other, side in ((2, 1, "above"), (1, 2, "below")):
            if inputs[other] is ZERO and inputs[0] == (side, inputs[kept]):
                return kept
    return None


def uses(jaxpr: Jaxpr, ends: Sequence[set[str]]) -> Mapping[Any, set[str]]:
    """What becomes of every value, perhaps with something added or times a number, given what becomes of the outputs.

    It goes into a root, a logarithm, an exponential, a denominator or a bound from above (guarded); out of the whole
    function, as it is (returned) or times a number, as a variance into its running average (averaged); or elsewhere
    (used). What nothing comes of has no uses.
    """
    found: Mapping[Any, set[str]] = collections.defaultdict(set)

    def note(atoms: Sequence[Any], ways: Iterable[set[str]]) -> None:
        for atom, way in zip(atoms, ways, strict=True):
            if is_variable(atom):
                found[atom].update(way)

    note(jaxpr.outvars, ends)
    for eqn in reversed(jaxpr.eqns):
        onward = [found[var] for var in eqn.outvars]
        if any(onward):
            note(eqn.invars, _ways(eqn, onward))
    return found


def _ways(eqn: JaxprEqn, onward: Sequence[set[str]]) -> Sequence[set[str]]:
    name, atoms = eqn.primitive.name, eqn.invars
    if (inner := called(eqn)) is not None:
        found = uses(inner, onward)
        return [found[var] for var in inner.invars]
    if name in DOMAINS:
        return [{GUARDED}]
    if name in (*COPIES, *SUMS, "scatter", "stop_gradient"):  # flax NNX assigns an average by the latter two
        return [onward[0]] * len(atoms)
    if name in ("mul", "div", "min"):
        scaled = {AVERAGED if use == RETURNED else use for use in onward[0]} if name != "min" else {GUARDED}
        first = scaled if is_factor(atoms[1], atoms[0]) else {USED}
        second = scaled if is_factor(atoms[0], atoms[1]) else {USED}
        return [first, {GUARDED} if name == "div" else second]
    return [{USED}] * len(atoms)


def is_guard(ways: set[str]) -> bool:
    """Whether a clamp with these uses only keeps something where a function is defined, as a variance under a root."""
    return GUARDED in ways and ways <= {GUARDED, AVERAGED}


class Parts:
    """Clamps of one activation with others: terms of a sum, or of a choice, with a bent function of what they clamp.

    As max(x, 0) in max(x, 0) + min(0, exp(x) - 1). Found while the equations are walked in their order, through calls;
    a value is whatever stands for it in ``inputs``.
    """

    def __init__(self) -> None:
        self.found: dict[Path, str] = {}  # by the path of the equation, the primitive
        self._clamps: dict[Hashable, dict[Path, tuple[Hashable, str]]] = {}  # in a value, with what each one clamps
        self._sources: dict[Hashable, tuple[list[Hashable], bool]] = {}  # what a value is an elementwise function of

    def note(self, eqn: JaxprEqn, path: Path, inputs: Sequence[Any], value: Hashable, operand: int | None) -> None:
        """Take notice of an equation with these inputs, whose output is this value and may clamp one of them."""
        name, atoms = eqn.primitive.name, eqn.invars
        if operand is not None and name not in OWN_DERIVATIVES:
            self._clamps[value] = {path: (inputs[operand], name)}
        if operand is not None or name not in (*COPIES, *SUMS, *BENDS, "mul", "div"):
            return
        if name in (*SUMS, "select_n"):
            self._meet(inputs)
        arrays = [
            _compared(each)
            for each, atom, other in zip(inputs, atoms, reversed(atoms), strict=True)
            if is_variable(atom) and each is not ZERO and not is_factor(atom, other)
        ]
        is_linear, is_alone = name not in BENDS and (name != "div" or is_factor(atoms[1], atoms[0])), len(arrays) == 1
        carried = {place: clamp for each in arrays for place, clamp in self._clamps.get(each, {}).items()}
        if carried and is_linear and (is_alone or name != "mul"):
            self._clamps[value] = carried
        if is_alone or name == "mul" or name in BENDS:  # of a sum of two arrays it is a function of neither alone
            self._sources[value] = arrays, not is_linear

    def _meet(self, inputs: Sequence[Any]) -> None:
        for number, each in enumerate(inputs):
            if each in self._clamps:
                bent = set().union(*(self._bent(other) for other in (*inputs[:number], *inputs[number + 1 :])))
                self.found |= {path: name for path, (of, name) in self._clamps[each].items() if of in bent}

    def _bent(self, value: Hashable) -> set[Hashable]:
        """What a value is an elementwise function of, but a linear one."""
        seen: set[tuple[Hashable, bool]] = set()
        todo = [(value, False)]
        while todo:
            this = todo.pop()
            if this not in seen:
                seen.add(this)
                sources, bends = self._sources.get(this[0], ([], False))
                todo += [(source, this[1] or bends) for source in sources]
        return {source for source, is_bent in seen if is_bent}


def _compared(fact: Any) -> Any:
    """Of a comparison with zero, what is compared."""
    return fact[1] if isinstance(fact, tuple) and fact[0] in COMPARISONS.values() else fact
