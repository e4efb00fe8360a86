# %% [markdown]
# # Inverse Ising: couplings recovered from data by gradient descent
# The mean of an observable over a chain is a function of the couplings that can be differentiated: the first derivative
# of the log-likelihood is data minus model, the second is the derivative of the model's moments, Fisher's information,
# and gives every coupling its error. Beside it stands the pseudolikelihood, which needs no chain and has larger errors.

# %%
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import _study as study
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from jax import Array
from matplotlib.figure import Figure

from jaxrg import exact, lattice, models, rg, samplers
from jaxrg.samplers.ensembles import expectation


class Scale(NamedTuple):
    """How much is sampled."""

    torus: int = 8  # side of the lattice with one coupling
    coupling: float = 0.35
    small: int = 4  # side of the glass whose states are enumerated
    large: int = 8
    width: float = 0.3  # of the Gaussian couplings of a glass
    data: tuple[int, int, int] = (2_000, 5, 30)  # chains, samples of each, sweeps between them
    chain: tuple[int, int, int] = (256, 20, 20)  # chains of one gradient, sweeps of each, and before them
    num_steps: int = 300
    fisher_sweeps: int = 200


SMOKE = Scale(4, 0.3, 3, 3, data=(50, 2, 10), chain=(16, 5, 5), num_steps=30, fisher_sweeps=20)


class Estimate(NamedTuple):
    """Couplings with their covariance, in the order of the parameters."""

    values: np.ndarray  # [n]
    covariance: np.ndarray  # [n, n]

    @property
    def errors(self) -> np.ndarray:
        return np.sqrt(np.diag(self.covariance))


class Family(NamedTuple):
    """Models with parameters ``[n]`` on a torus; static, so that glasses of one size share their programs."""

    model_of: Callable[[int, Array], Any]
    side: int
    num_params: int

    def __call__(self, params: Array) -> Any:
        return self.model_of(self.side, params)

    def statistics(self, spins: Array) -> Array:
        """[n] -dH/d(parameter)."""
        return -jax.grad(lambda params: self(params).hamiltonian(spins))(jnp.zeros(self.num_params))


def ising_of(side: int, params: Array) -> models.Ising:
    return models.Ising(lattice.hypercubic((side, side)), params[0])


def glass_of(side: int, params: Array) -> models.Glass:
    return models.Glass(lattice.hypercubic((side, side)), params.reshape(2, side, side))


class Problem(NamedTuple):
    """A family, and the parameters to be found."""

    family: Family
    truth: np.ndarray  # [n]

    @property
    def shape(self) -> tuple[int, int]:
        return self.family.side, self.family.side


def glass(key: Array, side: int, width: float) -> Problem:
    size = 2 * side * side
    return Problem(Family(glass_of, side, size), width * np.asarray(jax.random.normal(key, (size,)), float))


# %%
def sampled(key: Array, problem: Problem, scale: Scale) -> Array:
    """``[samples, *shape]`` data of the true couplings, almost independent."""
    num_chains, num_each, spacing = scale.data
    model = problem.family(jnp.asarray(problem.truth, jnp.float32))
    sampler = samplers.replicas(samplers.thin(samplers.heat_bath(model), spacing), num_chains)
    start_key, burn_key, key = jax.random.split(key, 3)
    observe = jnp.copy  # configurations; the same for both runs, which are then one program
    start = samplers.run(burn_key, sampler, sampler.init(start_key), num_each, observe=observe).state
    return samplers.run(key, sampler, start, num_each, observe=observe).trace.reshape(-1, *problem.shape)


Moments = Callable[[Array, Array], Array]  # of a key and parameters [n], [n]


@functools.cache
def chain_moments(family: Family, num_chains: int, num_steps: int, num_burn_in: int) -> Moments:
    """Means over a chain, with derivatives."""

    def moments(key: Array, params: Array) -> Array:
        mean = expectation(
            key, family.statistics, family, num_steps=num_steps, num_burn_in=num_burn_in, num_chains=num_chains
        )
        return mean(params)

    return moments


@functools.cache
def exact_moments(family: Family) -> Moments:
    """Derivatives of ln Z: Kaufman's of one coupling, of many by enumeration."""

    def log_partition(params: Array) -> Array:
        if family.num_params == 1:
            return exact.torus_log_partition(params[0], (family.side, family.side))
        return exact.log_partition(family(params).hamiltonian, (family.side, family.side))

    return lambda key, params: jax.grad(log_partition)(params)


def matrix_of(fn: Callable[[Array], Array], at: Array) -> Array:
    """``[n, n]`` derivative, a row at a time."""
    return jax.lax.map(jax.linearize(fn, at)[1], jnp.eye(at.size))


@functools.partial(jax.jit, static_argnames=("moments", "precise_moments", "num_steps"))
def maximum_likelihood(
    moments: Moments, precise_moments: Moments, statistics: Array, *, num_steps: int
) -> tuple[Array, Array, Array]:
    """``[steps, n]`` parameters on the way down -ln L, the mean of their second half, and Fisher's information there.

    The gradient is model minus data. The variance of a moment is the curvature along its own parameter, so gradients
    are divided by those of the data ``[samples, n]``.
    """
    wanted, curvature = jnp.mean(statistics, axis=0), jnp.var(statistics, axis=0)
    optimizer = optax.sgd(0.3)

    def step(carry: Any, key: Array) -> Any:
        params, state = carry
        updates, state = optimizer.update((moments(key, params) - wanted) / curvature, state)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    start = jnp.zeros_like(wanted)
    keys = jax.random.split(jax.random.key(3), num_steps)
    path = jax.lax.scan(step, (start, optimizer.init(start)), keys)[1]
    params = jnp.mean(path[num_steps // 2 :], axis=0)
    return path, params, matrix_of(functools.partial(precise_moments, jax.random.key(4)), params)


def fitted(problem: Problem, data: Array, scale: Scale, *, exactly: bool = False) -> tuple[np.ndarray, Estimate]:
    """The way down and the estimate, by chains or by the exact ln Z."""
    statistics = jax.jit(jax.vmap(problem.family.statistics))(data)
    if exactly:
        moments = precise = exact_moments(problem.family)
    else:
        num_chains, num_sweeps, num_burn_in = scale.chain
        moments = chain_moments(problem.family, num_chains, num_sweeps, num_burn_in)
        precise = chain_moments(problem.family, num_chains, scale.fisher_sweeps, num_burn_in)
    path, params, information = maximum_likelihood(moments, precise, statistics, num_steps=scale.num_steps)
    return np.asarray(path), Estimate(np.asarray(params), np.linalg.inv(np.asarray(information, float)) / len(data))


# %%
def pseudolikelihood(problem: Problem, data: Array, num_steps: int = 8) -> Estimate:
    """Newton's method for one parameter a bond; the covariance is that of a maximum of what is no likelihood."""

    def loss(params: Array, spins: Array) -> Array:
        return -jnp.sum(jax.nn.log_sigmoid(2 * spins * problem.family(params).local_field(spins)))

    @jax.jit
    def fit(data: Array) -> tuple[Array, Array, Array]:
        spins = data.astype(jnp.float32)
        gradient = jax.grad(lambda params: jnp.mean(jax.vmap(loss, (None, 0))(params, spins)))

        def step(params: Array, _: None) -> tuple[Array, None]:
            return params - jnp.linalg.solve(matrix_of(gradient, params), gradient(params)), None

        params, _ = jax.lax.scan(step, jnp.zeros(problem.truth.size), length=num_steps)
        scores = jax.vmap(jax.grad(loss), (None, 0))(params, spins)
        return params, matrix_of(gradient, params), jnp.cov(scores.T).reshape(params.size, params.size)

    params, curvature, scatter = (np.asarray(part, float) for part in fit(data))
    inverse = np.linalg.inv(curvature)
    return Estimate(params, inverse @ scatter @ inverse / len(data))


def mean_field(problem: Problem, data: Array) -> np.ndarray:
    """The control: couplings of the naive mean-field theory, minus the inverse of the matrix of correlations."""
    correlations = np.cov(np.asarray(data, float).reshape(len(data), -1).T)
    sites = jnp.arange(data[0].size, dtype=jnp.float32).reshape(problem.shape)
    model = problem.family(jnp.zeros(problem.truth.size))
    first, second = (np.asarray(end, int).ravel() for end in model.bond_ends(sites))
    return -np.linalg.inv(correlations)[first, second]


def mean_square(values: np.ndarray, problem: Problem, errors: np.ndarray) -> str:
    """Of z-scores of all parameters, one if the errors are right."""
    z = (values - problem.truth) / errors
    return study.show(np.mean(z**2), np.sqrt(2 / z.size), 2)


# %%
def one_coupling(scale: Scale) -> tuple[list[study.Claim], np.ndarray, float]:
    """A torus with one coupling, whose partition function Kaufman knows."""
    problem = Problem(Family(ising_of, scale.torus, 1), np.array([scale.coupling]))
    data = sampled(jax.random.key(10), problem, scale)
    path, found = fitted(problem, data, scale)
    _, right = fitted(problem, data, scale, exactly=True)
    basis = lattice.standard_operators(lattice.hypercubic(problem.shape), ["nearest_neighbour"])
    pseudo = rg.pseudo_likelihood_couplings(data, basis)
    number, error, size = found.values[0], found.errors[0], f"{scale.torus} x {scale.torus}"
    exactly = study.show(right.values[0], right.errors[0], 5)
    ratio = float(pseudo.errors[0]) / error
    rows = [
        study.Claim(f"K of {size}, likelihood", f"{scale.coupling}", study.show(number, error, 5), f"exact: {exactly}"),
        study.Claim(
            f"K of {size}, pseudolikelihood",
            f"{scale.coupling}",
            study.show(pseudo.couplings[0], pseudo.errors[0], 5),
            f"its error over that of the likelihood: {ratio:.2f}",
        ),
    ]
    return rows, path[:, 0], float(right.values[0])


def enumerated_glass(scale: Scale) -> list[study.Claim]:
    """A glass so small that its likelihood is known: does the descent end at its maximum, with the right errors?"""
    problem = glass(jax.random.key(11), scale.small, scale.width)
    data = sampled(jax.random.key(12), problem, scale)
    _, found = fitted(problem, data, scale)
    _, right = fitted(problem, data, scale, exactly=True)
    size = f"{problem.truth.size} bonds"
    distance = np.sqrt(np.mean(((found.values - right.values) / right.errors) ** 2))
    ratio = found.errors / right.errors
    return [
        study.Claim(
            f"mean z² of {size}",
            "1",
            mean_square(found.values, problem, found.errors),
            f"exact likelihood: {mean_square(right.values, problem, right.errors)}",
        ),
        study.Claim("distance from its exact maximum / errors", "0", f"{distance:.3f}", "of two sets of data: 1.41"),
        study.Claim(
            "errors over exact ones", "1", study.show(ratio.mean(), ratio.std(), 3), "standard deviation of bonds"
        ),
    ]


class Recovered(NamedTuple):
    """A glass and what is found of it."""

    truth: np.ndarray
    likelihood: Estimate
    pseudo: Estimate
    mean_field: np.ndarray


def large_glass(scale: Scale) -> tuple[list[study.Claim], Recovered]:
    """A glass beyond enumeration, by both likelihoods."""
    problem = glass(jax.random.key(13), scale.large, scale.width)
    data = sampled(jax.random.key(14), problem, scale)
    _, found = fitted(problem, data, scale)
    pseudo, control = pseudolikelihood(problem, data), mean_field(problem, data)
    size = f"{problem.truth.size} bonds"
    ratio = pseudo.errors / found.errors
    misses = [np.sqrt(np.mean((values - problem.truth) ** 2)) for values in (found.values, pseudo.values, control)]
    naive = np.mean(((control - problem.truth) / found.errors) ** 2)
    rows = [
        study.Claim(
            f"mean z² of {size}, likelihood",
            "1",
            mean_square(found.values, problem, found.errors),
            f"naive mean field, same errors: {naive:.1f}",
        ),
        study.Claim(
            f"mean z² of {size}, pseudolikelihood", "1", mean_square(pseudo.values, problem, pseudo.errors), "none"
        ),
        study.Claim(
            "error by pseudolikelihood over that by likelihood",
            ">= 1",
            f"{ratio.mean():.3f}, of a bond {ratio.min():.3f} to {ratio.max():.3f}",
            f"root mean square misses {misses[0]:.4f}, {misses[1]:.4f}; naive mean field {misses[2]:.4f}",
        ),
    ]
    return rows, Recovered(problem.truth, found, pseudo, control)


def figure(path: np.ndarray, maximum: float, found: Recovered, scale: Scale) -> Figure:
    """The way of one coupling, recovered couplings over the true ones, and how far off they are in errors."""
    drawn, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    axes[0].plot(np.arange(1, len(path) + 1), path, label="descent")
    axes[0].axhline(maximum, color="0.4", linestyle=":", label="exact maximum of the likelihood")
    axes[0].set(xlabel="gradient steps", ylabel=f"coupling $K$ of the {scale.torus} x {scale.torus} torus")
    axes[0].legend()
    axes[1].plot(found.truth, found.mean_field, "x", color="0.6", markersize=4, label="naive mean field")
    shapes = {"pseudolikelihood": {"markersize": 6, "markerfacecolor": "none"}, "likelihood": {"markersize": 2}}
    for name, one in (("pseudolikelihood", found.pseudo), ("likelihood", found.likelihood)):
        axes[1].errorbar(found.truth, one.values, one.errors, marker="o", linestyle="", label=name, **shapes[name])
        z = (one.values - found.truth) / one.errors
        axes[2].hist(z, bins=np.linspace(-4, 4, 25), density=True, histtype="step", label=name)
    ends = np.array([found.truth.min(), found.truth.max()])
    axes[1].plot(ends, ends, color="0.4", linewidth=1)
    axes[1].set(xlabel="true coupling $J$ of a bond", ylabel="recovered")
    axes[1].legend()
    grid = np.linspace(-4, 4, 200)
    axes[2].plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), color="0.4", linewidth=1, label="normal")
    axes[2].set(xlabel="(recovered - true) / error", ylabel="share of bonds per unit")
    axes[2].legend()
    return drawn


def main(smoke: bool = False, out: str | Path = "out/inverse_ising") -> None:
    scale = SMOKE if smoke else Scale()
    rows, path, maximum = one_coupling(scale)
    rows += enumerated_glass(scale)
    more, found = large_glass(scale)
    study.print_claims([study.HEADER, *rows, *more])
    drawn = figure(path, maximum, found, scale)
    study.save({"inverse_ising": drawn}, out)
    plt.close(drawn)


# %%
if __name__ == "__main__":
    study.run_main(main, "Couplings of Ising models recovered from data by gradient descent.")
