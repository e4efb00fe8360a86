"""Chains as contestants: steps that are timed without what a user would observe of them, or with it."""

from collections.abc import Callable
from typing import Any

import jax

from jaxrg import samplers

WIDE = {"xla_cpu_prefer_vector_width": "512"}  # what `samplers.run` asks for on a CPU


class Chain:
    """A sampler that goes on from where it was; a call is ``num_steps`` steps and waits for them."""

    def __init__(self, sampler, num_steps: int, *, relax: int = 0, is_wide: bool = True):
        self.sampler, self.num_steps = sampler, num_steps
        self._advance = jax.jit(_advance, static_argnums=2, compiler_options=_options(is_wide))
        self.state = sampler.init(jax.random.key(0))
        if relax:
            self.state = samplers.run(jax.random.key(1), sampler, self.state, relax).state

    def __call__(self) -> None:
        self.state = jax.block_until_ready(self._advance(self.sampler, self.state, self.num_steps))


def _options(is_wide: bool) -> dict[str, str] | None:
    return WIDE if is_wide and jax.default_backend() == "cpu" else None


def _advance(sampler, state, num_steps):
    # No observables and no infos leave the scan: this is the price of the steps alone.
    return samplers.run(jax.random.key(2), sampler, state, num_steps).state


def observed(chain: Chain, observe: Callable) -> Callable[[], Any]:
    """The same steps, every one of them observed; the infos are dropped here too."""
    trace = jax.jit(
        lambda sampler, state: samplers.run(jax.random.key(2), sampler, state, chain.num_steps, observe=observe).trace,
        compiler_options=_options(is_wide=True),
    )
    return lambda: jax.block_until_ready(trace(chain.sampler, chain.state))
