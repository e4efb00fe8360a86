"""Monte Carlo renormalisation of a real field with linear block spins."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _mcrg import report

from jaxrg import lattice, models, rg, samplers
from jaxrg.rg import monte_carlo

CRITICAL = {"kappa": 0.27088, "quartic": 0.022}  # as `jaxrg.models.kappa_phi4` says


class FieldScale(NamedTuple):
    """Size of the study."""

    side: int = 32
    num_levels: int = 4
    num_chains: int = 64
    num_steps: int = 2_048
    num_bins: int = 64


def operators(field: Any) -> Any:
    """Squares, neighbours, diagonals and fourth powers."""
    pairs = [(0, 0), (0, 1), (1, 1)]
    turned = [(jnp.roll(field, step, (0, 1)), jnp.roll(field, (step[1], -step[0]), (0, 1))) for step in pairs]
    return jnp.stack([*(jnp.sum(field * (one + other)) for one, other in turned), jnp.sum(field**4)])


def block_means(_: Any, field: Any) -> Any:
    """Linear block spins, times 2^{eta / 2} with the exact eta = 1/4: another factor leaves the critical point."""
    return rg.block_means(None, field, 2**0.125)


def scalar_field(scale: FieldScale) -> list[dict[str, Any]]:
    """The two largest even exponents, level by level.

    Linear blocks keep the sum of the field, so that its square is a scaling operator of the exponent 2 y_h - 2 = 7/4:
    redundant, as it belongs to the scale of the field, and largest. The next one is y_T.
    """
    model = models.kappa_phi4(lattice.hypercubic((scale.side, scale.side)), **CRITICAL)
    moves = [samplers.swendsen_wang_embedding(model), samplers.hmc(model, 0.36 / scale.side**0.5, 8)]
    sampler = samplers.replicas(samplers.mixture(moves, [0.5, 0.5]), scale.num_chains)
    key, watch = jax.random.key(8), report("field")
    start = samplers.warm_up(key, sampler, sampler.init(key), scale.num_steps // 8)
    steps = monte_carlo.ladder(operators, block_means, scale.num_levels)
    run = monte_carlo.measure(key, sampler, start, scale.num_steps, steps, num_bins=scale.num_bins, progress=watch)
    levels = []
    for level in range(1, scale.num_levels):
        found = monte_carlo.linearise(run.moments, 2, level=level)
        exponents, errors = np.asarray(found.scaling.exponents.real), found.exponent_errors
        entry = {"side": scale.side >> level, "condition": found.jacobian.condition_number}
        levels.append(entry | {"exponents": exponents[:2].tolist(), "errors": errors[:2].tolist()})
    return levels
