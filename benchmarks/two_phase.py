"""The second phase of learning by two fast transforms, against the dense system that its authors solve."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import medians, record
from jaxrg.explain.two_phase import noisy_interactions

NUM_PLAYERS = 20
NOISE_VARIANCE = 0.01


def _dense(interactions: np.ndarray, noise_variance: float) -> np.ndarray:
    """The 2**n x 2**n equations, as they are written."""
    subsets = np.arange(interactions.size)
    triggers = ((subsets[:, None] & subsets[None, :]) == subsets[None, :]).astype(np.float64)
    noise = noise_variance * 2.0 ** np.bitwise_count(subsets)
    gram = triggers.T @ triggers
    return np.linalg.solve(gram + interactions.size * np.diag(noise), gram @ interactions)


def phase2_records(*, quick: bool = False) -> list[dict[str, Any]]:
    """Seconds at n = 20 in float64, and the ratio to the dense solution where that still fits (n = 11; quick: 9)."""
    with jax.enable_x64(True):
        solve = jax.jit(noisy_interactions)
        random = np.random.default_rng(0)
        large = jnp.asarray(random.normal(size=2**NUM_PLAYERS))
        seconds = medians(
            {"jaxrg": lambda: solve(large, NOISE_VARIANCE).block_until_ready()}, repeats=3 if quick else 11
        )["jaxrg"]

        num_players = 9 if quick else 11
        host = random.normal(size=2**num_players)
        small = jnp.asarray(host)
        np.testing.assert_allclose(solve(small, NOISE_VARIANCE), _dense(host, NOISE_VARIANCE), atol=1e-9)
        both = medians(
            {
                "jaxrg": lambda: solve(small, NOISE_VARIANCE).block_until_ready(),
                "dense": lambda: _dense(host, NOISE_VARIANCE),
            },
            repeats=3,
        )
        return [
            record("phase2_n20_seconds", seconds, "s"),
            record(
                f"phase2_n{num_players}_vs_dense",
                both["jaxrg"],
                "s",
                peer="NumPy, dense",
                peer_value=both["dense"],
                ratio=both["dense"] / both["jaxrg"],
            ),
        ]
