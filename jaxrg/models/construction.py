"""How models are made: couplings checked when a user makes one, and taken as they are when JAX takes one apart."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
from jax import Array

from jaxrg.checks import PLAIN, as_floating, as_parameter, as_spins, is_traced, kind_of

Model = TypeVar("Model")
Method = TypeVar("Method", bound=Callable)


def pytree(*, data_fields: tuple[str, ...], meta_fields: tuple[str, ...]) -> Callable[[type[Model]], type[Model]]:
    """A decorator that makes a dataclass a pytree, which JAX rebuilds without the checks of its constructor.

    Leaves may then be batched by ``vmap`` or be no arrays at all, while what a user constructs is checked in full.
    Classes registered by ``jax.tree_util.register_dataclass`` count, before jax 0.12, as one structure when they have
    as many fields and equal static ones, and now and then a compiled function serves the wrong class; these do not.

    Args:
        data_fields: names of the fields that hold arrays: couplings, which may change without compiling again.
        meta_fields: names of the static fields, hashable: shapes and choices.

    Raises:
        ValueError: a class that is no dataclass, or names that are not those of its fields.

    Example:
        >>> import dataclasses
        >>> @pytree(data_fields=("coupling",), meta_fields=("num_sites",))
        ... @dataclasses.dataclass(frozen=True)
        ... class Ring:
        ...     num_sites: int
        ...     coupling: float
        >>> jax.tree.map(lambda leaf: 2 * leaf, Ring(6, 0.5))
        Ring(num_sites=6, coupling=1.0)
    """

    def decorate(cls: type[Model]) -> type[Model]:
        found = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
        if sorted((*data_fields, *meta_fields)) != sorted(found):
            raise ValueError(
                f"pytree: expected every field of a dataclass once, in data_fields or in meta_fields, got "
                f"{(*data_fields, *meta_fields)} for {cls.__name__} with {tuple(found)}"
            )
        keys = [jax.tree_util.GetAttrKey(name) for name in data_fields]

        def flatten(model: Model) -> tuple[list, tuple]:
            return [getattr(model, name) for name in data_fields], tuple(getattr(model, name) for name in meta_fields)

        def flatten_with_keys(model: Model) -> tuple[list, tuple]:
            data, meta = flatten(model)
            return list(zip(keys, data, strict=True)), meta

        def unflatten(meta: tuple, data: Any) -> Model:
            model = object.__new__(cls)
            for name, value in (*zip(data_fields, data, strict=True), *zip(meta_fields, meta, strict=True)):
                object.__setattr__(model, name, value)
            return model

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
        return cls

    return decorate


def as_couplings(name: str, value: Any, *shapes: tuple[int, ...]) -> Array:
    """Finite couplings as floats of at least single precision, of one of these shapes.

    Raises:
        ValueError: no real numbers, NaN or infinite ones that can be seen, or another shape.
    """
    if not isinstance(value, (*PLAIN, Array)):
        raise ValueError(f"{name}: expected real numbers, got {kind_of(value)}")
    if is_traced(value):
        array = as_floating(name, value)
    else:
        with jax.ensure_compile_time_eval():  # a number met inside a traced function is still a number
            array = as_parameter(name, value)
    if array.shape not in shapes:
        expected = " or ".join(f"shape {shape}" if shape else "a scalar" for shape in shapes)
        raise ValueError(f"{name}: expected {expected}, got {array.shape}")
    return array


def of_spins(fn: Method) -> Method:
    """A method of one configuration that checks its spins and is compiled once."""
    compiled = jax.jit(fn, inline=True)

    @functools.wraps(fn)
    def checked(self: Any, spins: Array) -> Any:
        return compiled(self, as_spins("spins", spins, self.shape))

    return cast(Method, checked)


def of_sites(fn: Method) -> Method:
    """A method of one configuration that the model's ``sites`` check; compiled once."""
    compiled = jax.jit(fn, inline=True)

    @functools.wraps(fn)
    def checked(self: Any, configuration: Any) -> Any:
        name = "spins" if self.sites.is_integer else "field"
        return compiled(self, self.sites.checked(name, configuration, self.shape))

    return cast(Method, checked)
