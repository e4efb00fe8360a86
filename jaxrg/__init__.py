"""jaxrg: sample lattices, renormalise them, learn Boltzmann machines on them, and explain networks, in JAX."""

# Rooms are imported when they are first looked at, so that ``jaxrg --help`` need not wait for JAX.
import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrg import (
        base,
        checks,
        closures,
        datasets,
        exact,
        explain,
        flows,
        interactions,
        lattice,
        models,
        nets,
        plot,
        progress,
        random,
        rbm,
        rg,
        samplers,
        stats,
        store,
        sums,
        tables,
        training,
        transforms,
    )

__version__ = "0.1.0"

__all__ = [
    "base",
    "checks",
    "closures",
    "datasets",
    "exact",
    "explain",
    "flows",
    "interactions",
    "lattice",
    "models",
    "nets",
    "plot",
    "progress",
    "random",
    "rbm",
    "rg",
    "samplers",
    "stats",
    "store",
    "sums",
    "tables",
    "training",
    "transforms",
]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module 'jaxrg' has no attribute {name!r}")
    return importlib.import_module(f"jaxrg.{name}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
