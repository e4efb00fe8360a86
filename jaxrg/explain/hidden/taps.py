"""Values inside any function: listed, read, set, and run on from, without a change to its code."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Jaxpr
from jax.tree_util import Partial

from jaxrg.base import PyTree
from jaxrg.checks import PLAIN, as_array, check_function, kind_of
from jaxrg.closures import as_partial
from jaxrg.explain.hidden.derivatives import Rule
from jaxrg.explain.hidden.evaluation import Plan, evaluate
from jaxrg.explain.hidden.operations import Operation, operations, traced


class Site(NamedTuple):
    """A value inside a function."""

    name: str  # scope/kind, with a number from the second one of that name on
    kind: str  # the primitive that computes it; relu; or the name of a function with a derivative rule of its own
    shape: tuple[int, ...]  # with a leading axis for every loop around it
    dtype: Any


class Reading(NamedTuple):
    """What a function returned, and the values inside it that were asked for, by the names they were asked by."""

    output: PyTree
    values: dict[str, Array]


def taps(function: Callable, *args: PyTree) -> list[Site]:
    r"""The values inside a function, in the order in which they are computed.

    The function is any one that JAX can trace, with the networks of any library inside. A site is one output of one
    operation. Its name is the `jax.named_scope` it was traced in (flax linen and equinox name theirs), or else the
    classes whose ``__call__`` it was traced in (flax NNX), the names of jitted functions on the way, and its kind:

    - the primitive of JAX, as ``dot_general`` or ``add``;
    - ``relu``, whether by `jax.nn.relu`, max(x, 0) or where(x > 0, x, 0), but for such clamps that guard a root, a
      logarithm, an exponential or a denominator, as of a variance, that are bound from above as well, or that are part
      of another activation, as of celu; x·[x > 0] and max(x, y) with an array y of zeros that the function holds are
      not seen to be one;
    - the name of a function with a derivative rule of its own (``relu6``, ``gelu``), whose inside is no site.

    Sites in a loop of known length (`jax.lax.scan`) stand for the values of all its steps. Values in a branch
    (`jax.lax.cond`) or in a loop of unknown length are no sites. Names are the same under ``jit``, ``vmap`` and
    ``grad``; with ``jax.disable_jit`` there are no jitted functions and no loops to name.

    Args:
        function: any function of ``args``.
        args: pytrees of arrays, in which functions may stand as in an equinox module; only shapes and dtypes matter.

    Raises:
        ValueError: no function, or arguments that are no arrays.

    Example:
        >>> [site.name for site in taps(lambda x: jax.nn.relu(jnp.sin(x)) + 1, jnp.ones(2))]
        ['sin', 'relu', 'add']
    """
    closed, _ = traced(_as_function(function), as_args(args))
    return [site for site, operation in _sites(closed.jaxpr).values() if not operation.inside]


def run(
    function: Callable,
    *args: PyTree,
    read: Sequence[str] = (),
    set: Mapping[str, Any] | None = None,
) -> Reading:
    """Run a function with some of the values inside it read, and some replaced by others.

    A site is set before it is read, and before anything else sees it. Operation by operation, a site set to its own
    value changes no bit; compiled, it may keep XLA from fusing what is on either side of it, as reading does, and so
    change the rounding. Differentiable in the arguments and in what is set; under ``jit`` and ``vmap`` as any function.
    What the function would change outside of itself, as a module its running averages, is not changed.

    Args:
        function: any function of ``args``.
        args: pytrees of arrays, in which functions may stand as in an equinox module.
        read: names of sites as by `taps`, or any tail of a name that only one has, as ``Conv_0/add``.
        set: what to put in place of a site, by its name: an array of its shape, one number for all of it (0.0 ablates
            it), or a function of its value, within a loop of that of one step. Other floating arrays that the function
            closes over, as a mask of units, do not compile anew; other plain numbers do.

    Returns:
        `Reading`, whose values have a leading axis for every loop they are in.

    Raises:
        ValueError: a name that no site has, or more than one; another shape or dtype; arguments that are no arrays.

    Example:
        >>> run(lambda x: jnp.sum(jnp.sin(x) ** 2), jnp.zeros(2), read=["sin"], set={"sin": lambda value: value + 1})
        Reading(output=Array(2., dtype=float32), values={'sin': Array([1., 1.], dtype=float32)})
    """
    names = [read] if isinstance(read, str) else list(read)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"read: expected names of sites, got {kind_of(read)}")
    if not isinstance(set, Mapping | None):
        raise ValueError(f"set: expected a value or a function for each name of a site, got {kind_of(set)}")
    changes = {name: _as_change(name, value) for name, value in (set or {}).items()}
    return _run(_as_function(function), as_args(args), tuple(names), changes)


def split(function: Callable, site: str) -> tuple[Partial, Partial]:
    """A function in two: up to a value inside it, and on from there.

    Args:
        function: any function of ``args``.
        site: name of a site, as for `run`.

    Returns:
        ``value = head(*args)`` and ``output = tail(value, *args)``. Of the arguments the tail uses only what reaches
        its output past the site, as a skip connection does, and parameters behind it.

    Raises:
        ValueError: no function, no name; from head and tail, the errors of `run`.

    Example:
        >>> head, tail = split(lambda x: jnp.cos(jnp.sin(x)), "sin")
        >>> float(tail(head(0.0), 0.0)), float(tail(jnp.pi, 0.0))
        (1.0, -1.0)
    """
    if not isinstance(site, str):
        raise ValueError(f"site: expected a name, got {kind_of(site)}")
    opened = _as_function(function)
    return Partial(_Head(site), opened), Partial(_Tail(site), opened)


@dataclasses.dataclass(frozen=True)
class _Head:
    site: str

    def __call__(self, function: Partial, *args: PyTree) -> Array:
        return _run(function, as_args(args), (self.site,), {}).values[self.site]


@dataclasses.dataclass(frozen=True)
class _Tail:
    site: str

    def __call__(self, function: Partial, value: Any, *args: PyTree) -> PyTree:
        return _run(function, as_args(args), (), {self.site: _as_array(self.site, value)}).output


def with_rules(function: Callable, rules: Mapping[str, Rule]) -> Partial:
    """The same function with other derivatives: those of operations of some kind go by a rule.

    Args:
        function: any function.
        rules: by kind, as `taps` says it (``relu``, ``max``, ``dot_general``), or by the name of one site: a
            `Rule`, ``cotangents = rule(pullback, cotangent, *inputs)``. Of a relu, ``inputs`` is what it clamps.

    Returns:
        A function with the same values, for ``jax.grad`` and ``jax.vjp``; forward mode does not know the rules.

    Raises:
        ValueError: when called, a rule that nothing in the function goes by, or arguments that are no arrays; when
            differentiated, cotangents of other shapes than the inputs.

    Example:
        >>> doubled = with_rules(jnp.sin, {"sin": lambda pullback, cotangent, x: pullback(2 * cotangent)})
        >>> float(doubled(0.0)), float(jax.grad(doubled)(0.0))
        (0.0, 2.0)
    """
    opened = _as_function(function)
    if not isinstance(rules, Mapping) or not rules:
        raise ValueError(f"rules: expected a rule for each kind of operation, got {kind_of(rules)}")
    for kind, rule in rules.items():
        check_function(f"rules[{kind!r}]", rule, of="a pullback, a cotangent and the inputs of an operation")
    return Partial(_Ruled(tuple(rules)), opened, *map(as_partial, rules.values()))


@dataclasses.dataclass(frozen=True)
class _Ruled:
    kinds: tuple[str, ...]

    def __call__(self, function: Partial, *given: Any) -> PyTree:
        rules, args = given[: len(self.kinds)], given[len(self.kinds) :]
        return _run_ruled(function, as_args(args), self.kinds, rules)


@functools.partial(jax.jit, static_argnames="kinds")
def _run_ruled(function: Partial, args: tuple[PyTree, ...], kinds: tuple[str, ...], rules: tuple[Rule, ...]) -> PyTree:
    closed, structure = traced(function, args)
    sites = _sites(closed.jaxpr)
    found = [operation for _, operation in sites.values() if operation.inside != "loop"]
    chosen: dict = {}
    for kind, rule in zip(kinds, rules, strict=True):
        of_kind = [operation for operation in found if operation.kind == kind]
        if not of_kind:
            of_kind = [sites[_resolve(kind, sites, listed=sorted({operation.kind for operation in found}))][1]]
        chosen |= {operation.path[:-1]: (rule, operation.operand) for operation in of_kind}
    outputs, _ = evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args), Plan(rules=chosen))
    return jax.tree.unflatten(structure, outputs)


@functools.partial(jax.jit, static_argnames="read")
def _run(function: Partial, args: tuple[PyTree, ...], read: tuple[str, ...], changes: dict[str, Any]) -> Reading:
    closed, structure = traced(function, args)
    sites = _sites(closed.jaxpr)
    reads = {name: sites[_resolve(name, sites)][1].path for name in read}
    values, functions = {}, {}
    for name, change in changes.items():
        site, operation = sites[_resolve(name, sites)]
        if operation.path in (*values, *functions):
            raise ValueError(f"set: expected one value for a site, got another one for {site.name!r} by {name!r}")
        if isinstance(change, Partial):
            functions[operation.path] = Partial(_Checked(name, operation.aval.shape, operation.aval.dtype), change)
        else:
            values[operation.path] = _as_value(name, change, site)
    plan = Plan(frozenset(reads.values()), values, functions)
    outputs, found = evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args), plan)
    return Reading(jax.tree.unflatten(structure, outputs), {name: found[path] for name, path in reads.items()})


@dataclasses.dataclass(frozen=True)
class _Checked:
    """A function of the value of a site, whose result is one."""

    name: str
    shape: tuple[int, ...]
    dtype: Any

    def __call__(self, change: Partial, value: Array) -> Array:
        found = _as_array(self.name, change(value))
        if found.shape != self.shape:
            raise ValueError(f"set[{self.name!r}]: expected shape {self.shape}, got {found.shape}")
        return _as_dtype(self.name, found, self.dtype)


def _as_value(name: str, value: Array, site: Site) -> Array:
    if value.shape not in ((), site.shape):
        raise ValueError(f"set[{name!r}]: expected shape {site.shape} or one number, got shape {value.shape}")
    return jnp.broadcast_to(_as_dtype(name, value, site.dtype), site.shape)


def _as_dtype(name: str, value: Array, dtype: Any) -> Array:
    """Real numbers for a floating site; else the very dtype, as nothing is rounded or wrapped in silence."""
    is_real = any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))
    if value.dtype != dtype and not (is_real and jnp.issubdtype(dtype, jnp.floating)):
        raise ValueError(f"set[{name!r}]: expected dtype {dtype}, got {value.dtype}")
    return value if value.dtype == dtype else value.astype(dtype)


def _as_change(name: str, value: Any) -> Any:
    return as_partial(value) if callable(value) else _as_array(name, value)


def _as_array(name: str, value: Any) -> Array:
    """Any array as it is, as of keys or complex numbers, and other numbers as one."""
    return value if isinstance(value, Array) else as_array(f"set[{name!r}]", value)


def _as_function(function: Callable) -> Partial:
    check_function("function", function, of="the arguments")
    return as_partial(function)


def as_args(args: Sequence[PyTree]) -> tuple[PyTree, ...]:
    """Arguments whose leaves are arrays; plain numbers stay weakly typed, and functions become pytrees."""
    return tuple(jax.tree.map(functools.partial(_as_leaf, f"args[{number}]"), arg) for number, arg in enumerate(args))


def _as_leaf(name: str, leaf: Any) -> Any:
    if isinstance(leaf, Array):
        return leaf
    if isinstance(leaf, PLAIN):
        array = as_array(name, leaf)
        return jax.device_put(leaf) if type(leaf) in (int, float) else array  # weakly typed, without a program
    if callable(leaf):  # as the activation of an equinox module
        return as_partial(leaf)
    raise ValueError(f"{name}: expected arrays and functions, got {kind_of(leaf)}")


def _sites(jaxpr: Jaxpr) -> dict[str, tuple[Site, Operation]]:
    """All sites by their names, and what is inside branches and loops of unknown length as ``?name``."""
    found: dict[str, tuple[Site, Operation]] = {}
    counts: collections.Counter[str] = collections.Counter()
    for operation in operations(jaxpr):
        stem = ("?" if operation.inside else "") + "/".join((*operation.scope, operation.kind))
        name = stem
        while name in found:
            counts[stem] += 1
            name = f"{stem}_{counts[stem]}"
        shape = (*operation.lengths, *operation.aval.shape)
        found[name] = Site(name, operation.kind, shape, operation.aval.dtype), operation
    return found


def check_outside_loops(name: str, function: Partial, sites: Iterable[str], *args: PyTree) -> None:
    """Raise ValueError if one of the sites stands for the values of many steps."""
    known = _sites(traced(function, args)[0].jaxpr)
    for site in sites:
        found, operation = known[_resolve(site, known)]
        if operation.lengths:
            raise ValueError(f"{name}: expected sites outside of loops, got {found.name!r}")


def _resolve(name: str, sites: Iterable[str], *, listed: Sequence[str] = ()) -> str:
    """The one site with this name or this tail of a name."""
    known = [site for site in sites if not site.startswith("?")]
    if name in known:
        return name
    found = [site for site in known if site.endswith(f"/{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"site {name!r}: expected a name that one site has, got one of {', '.join(found)}")
    if any(site[1:] == name or site.endswith(f"/{name}") for site in sites if site.startswith("?")):
        raise ValueError(
            f"site {name!r}: expected one outside of branches and of loops of unknown length, whose values may never "
            "be computed, got one inside; jax.lax.scan has a known length"
        )
    offered = ", ".join([*listed, *known]) or "none, as the function computes nothing"
    raise ValueError(f"site {name!r}: expected one of {offered}; got a name that is not there")
