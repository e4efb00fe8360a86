"""Strict numerics for every test: no silent promotion, no silent broadcasting of ranks, warnings are errors."""

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


RESIDENT = pathlib.Path("/proc/self/statm")
MAX_BYTES = 2**31  # a worker that has compiled so much starts over with the next file


@pytest.fixture(autouse=True, scope="module")
def _compiled_programs_are_given_back() -> Iterator[None]:
    yield
    if RESIDENT.exists() and int(RESIDENT.read_text().split()[1]) * resource.getpagesize() > MAX_BYTES:
        jax.clear_caches()


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 for one test that asks for it; the library itself never switches it on."""
    with jax.enable_x64(True):
        yield
