"""Strict numerics for every test: no silent promotion, no silent broadcasting of ranks, warnings are errors."""

import gc
import os
import pathlib
import resource
import warnings
from collections.abc import Iterator

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_enable_x64", False)


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Orbax and tensorstore import modules that warn about their own dependencies.
        warnings.filterwarnings("default", module=r"(orbax|tensorstore|etils|flax|sklearn|google)\b.*")
        yield


# Two workers on two cores gain nothing by splitting the code of one program for several threads of the compiler.
ONE_PART = "--xla_cpu_parallel_codegen_split_count=1"
QUICK_COMPILE = f"{ONE_PART} --xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"


def pytest_configure(config: pytest.Config) -> None:
    """Default tests are thousands of small programs, each run once: compiled by XLA's older emitters, not optimised.

    The slow tests are compiled as a user's programs are, but in one part each, and all are where ``XLA_FLAGS`` is set
    (it may be empty). The flags are known to be there in these versions of jax only.
    """
    is_default = config.option.markexpr.startswith("not slow")
    if jax.__version_info__[:2] == (0, 10) and "XLA_FLAGS" not in os.environ:
        os.environ["XLA_FLAGS"] = QUICK_COMPILE if is_default else ONE_PART  # for workers and programs of tests too


RESIDENT = pathlib.Path("/proc/self/statm")
ROOM = 2**30
most_bytes = 2 * ROOM  # a worker that has compiled so much starts over with the next file


def resident_bytes() -> int:
    return int(RESIDENT.read_text().split()[1]) * resource.getpagesize() if RESIDENT.exists() else 0


@pytest.fixture(autouse=True, scope="module")
def _compiled_programs_are_given_back() -> Iterator[None]:
    global most_bytes
    yield
    if resident_bytes() > most_bytes:
        jax.clear_caches()
        gc.collect()
        most_bytes = max(most_bytes, resident_bytes() + ROOM)  # what stays is not given back by the next file either


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 for one test that asks for it; the library itself never switches it on."""
    with jax.enable_x64(True):
        yield
