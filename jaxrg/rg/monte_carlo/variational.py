"""Variational Monte Carlo renormalisation: the bias that makes block spins free is minus their Hamiltonian."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import Progress
from jaxrg.checks import as_count, check_key, kind_of
from jaxrg.lattice import Operators
from jaxrg.models import OperatorModel
from jaxrg.progress import reporting
from jaxrg.rg.blocking import majority
from jaxrg.rg.monte_carlo.biased import BiasedState, biased_heat_bath
from jaxrg.rg.monte_carlo.ladders import Ladder, ladder, values_of
from jaxrg.rg.monte_carlo.linearised import as_which, jackknife_error, left_out, left_out_means
from jaxrg.rg.monte_carlo.moments import Moments, measure

RESETS = (0.1, 0.2)  # of the iterations, where the running average starts over
SPARE = 0.5  # of the largest step that a quadratic bowl of the curvature seen allows


class Renormalised(NamedTuple):
    """Couplings of block spins by the variational principle; of NumPy but for the state.

    Attributes:
        couplings: ``[num_biased]`` K' of :math:`H' = -\\sum_a K'_a S_a`.
        errors: of them, one standard deviation.
        trajectory: ``[num_iterations, num_biased]`` the running averages on the way.
        means: ``[num_biased]`` :math:`\\langle S_a \\rangle_V` per term that are left in the end, zero of free spins.
        moments: of all operators on both levels under the final bias, for `jacobian` and `linearise`.
        state: of the chains.
    """

    couplings: np.ndarray
    errors: np.ndarray
    trajectory: np.ndarray
    means: np.ndarray
    moments: Moments
    state: BiasedState


def renormalise(
    key: Array,
    model: OperatorModel,
    operators: Operators,
    *,
    block: int = 3,
    which: Sequence[int] | np.ndarray | None = None,
    num_chains: int = 128,
    num_iterations: int = 200,
    num_sweeps: int = 20,
    num_steps: int = 640,
    num_bins: int = 64,
    progress: Progress | bool | None = None,
) -> Renormalised:
    r"""Minimise the convex functional of a bias on block spins whose minimum is minus their Hamiltonian.

    .. math::
        \Omega[V] = \ln \frac{\sum_{\sigma'} e^{-H' - V}}{\sum_{\sigma'} e^{-H'}} + \langle V \rangle_\mathrm{free},
        \qquad V = \sum_a K'_a S_a, \qquad
        \frac{\partial\Omega}{\partial K'_a} = -\langle S_a \rangle_V, \qquad
        \frac{\partial^2\Omega}{\partial K'_a \partial K'_b} = \langle S_a; S_b \rangle_V

    by stochastic descent with averaging. Gradient and Hessian are those at the running average :math:`\bar K'`, of a
    few sweeps of many walkers, and :math:`K' \to K' + \mu [\langle S \rangle - \langle S;S \rangle (K' - \bar K')]`
    with steps in units of the Hessian of free spins, as long as the Hessian seen allows. Then the average is frozen,
    and a long run gives the last step of Newton's with its error. Biased block spins are free, so that nothing slows
    down at the critical point; :math:`\partial K'/\partial K` are `jacobian` and `linearise` of ``moments``.

    Args:
        key: typed key.
        model: H of the fine spins, on a periodic lattice.
        operators: a basis on the fine lattice, taken on both levels; those of ``model`` may be others.
        block: odd side of the blocks, of which the majority decides.
        which: indices of the operators of the bias, all by default: those of the symmetry of H.
        num_chains: walkers.
        num_iterations: steps of the descent.
        num_sweeps: sweeps of all walkers for each.
        num_steps: sweeps of all walkers under the frozen bias, a multiple of ``num_bins``.
        num_bins: of the moments.
        progress: called as ``progress(done, total, text)``, or True for a bar.

    Raises:
        ValueError: what `biased_heat_bath` and `ladder` refuse.
        FloatingPointError: the descent left the finite numbers.

    Reference:
        Wu & Car, Phys. Rev. Lett. 119, 220602 (2017); Valsson & Parrinello, Phys. Rev. Lett. 113, 090601 (2014).
    """
    check_key("key", key)
    if not isinstance(model, OperatorModel):
        raise ValueError(f"model: expected a models.OperatorModel, got {kind_of(model)}")
    steps = ladder(operators, functools.partial(_majority, as_count("block", block)), 2)
    chosen = as_which(which, len(operators))
    biased = Operators(
        steps.bases[1].lattice,
        tuple(operators.names[a] for a in chosen),
        tuple(steps.bases[1].terms[a] for a in chosen),
    )
    total, sweeps = as_count("num_iterations", num_iterations), as_count("num_sweeps", num_sweeps)
    state = biased_heat_bath(model, _bias(biased, jnp.zeros(len(biased))), block=block, num_chains=num_chains).init(key)
    couplings = average = jnp.zeros(len(biased), jnp.asarray(model.couplings).dtype)
    resets = {int(part * total) for part in RESETS}
    trajectory, since = [], 0
    with reporting(progress, "minimising") as report:
        for index in range(total):
            since = 1 if index in resets else since + 1
            found = _descend(key, model, state, couplings, average, np.float32(since), np.int32(sweeps), biased, block)
            state, couplings, average = found
            trajectory.append(np.asarray(average))
            if not np.isfinite(trajectory[-1]).all():
                raise FloatingPointError(f"renormalise: couplings {trajectory[-1]} after {index + 1} iterations")
            report(index + 1, total, "")
    sampler = biased_heat_bath(model, _bias(biased, average), block=block, num_chains=num_chains)
    run = measure(key, sampler, state, num_steps, steps, num_bins=num_bins, progress=progress)
    means = left_out_means(run.moments, 1, chosen)
    newton = np.linalg.solve(left_out(run.moments, (1, chosen), (1, chosen), False), means[..., None])[..., 0]
    result = np.asarray(average, np.float64) + newton
    terms = steps.bases[1].num_terms[chosen]
    trace = np.array(trajectory, np.float64)
    return Renormalised(result[0], jackknife_error(result), trace, means[0] / terms, run.moments, run.state)


def _majority(block: int, key: Array, spins: Array) -> Array:
    return majority(None, spins, (block,) * spins.ndim)


def _bias(operators: Operators, couplings: Array) -> OperatorModel:
    """V = sum K' S, a model of the couplings -K'."""
    return OperatorModel(operators, -couplings)


@functools.partial(jax.jit, static_argnames=("biased", "block"))
def _descend(
    key: Array,
    model: OperatorModel,
    state: BiasedState,
    couplings: Array,
    average: Array,
    since: Array,
    num_sweeps: Array,
    biased: Operators,
    block: int,
) -> tuple[BiasedState, Array, Array]:
    """One step of the descent, and the average over the steps ``since`` the last reset."""
    sampler = biased_heat_bath(model, _bias(biased, average), block=block, num_chains=state.down.shape[-1])
    scales = jnp.sqrt(jnp.asarray(biased.num_terms, average.dtype))
    steps = Ladder(jax.tree_util.Partial(_majority, 1), None, (biased,), 1)

    def sweep(_, carry):
        state, first, second = carry
        state, _ = sampler.step(key, state)
        blocks = jax.vmap(functools.partial(majority, None, block=(block,) * len(model.shape)))(
            sampler.measure(lambda spins: spins, state)
        )
        values = values_of(steps, jax.random.split(key, len(blocks)), blocks)[:, 0].astype(scales.dtype) / scales[None]
        return state, first + jnp.mean(values, axis=0), second + values.T @ values / len(values)

    size = len(scales)
    zeros = jnp.zeros(size, scales.dtype), jnp.zeros((size, size), scales.dtype)
    state, first, second = jax.lax.fori_loop(0, num_sweeps, sweep, (state, *zeros))
    first, second = first / num_sweeps.astype(first.dtype), second / num_sweeps.astype(first.dtype)
    hessian = second - first[:, None] * first[None, :]
    largest = jnp.maximum(jnp.linalg.eigvalsh(hessian)[-1], 1)
    change = first - hessian @ ((couplings - average) * scales)
    couplings = couplings + SPARE / largest * change / scales
    return state, couplings, average + (couplings - average) / since.astype(average.dtype)
