"""Samples of the Ising torus at many temperatures, networks that learn its phases from them, and where these turn."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg import exact, lattice, models, nets, samplers, training

TC = 1 / exact.critical_coupling
LOWEST, HIGHEST, NUM_TEMPERATURES = 1.0, 3.5, 101
BATCH_SIZE, RATE, PAD = 128, 3e-3, 2
ORDERED, DISORDERED = 0, 1
NUM_RESAMPLINGS, REACH = 200, 0.11  # of the errors of a crossing; of the line through it, in temperature


def temperatures(number: int = NUM_TEMPERATURES) -> np.ndarray:
    return np.linspace(LOWEST, HIGHEST, number)


def table(size: int, at: np.ndarray) -> Array:
    """ln P(E | T), exact."""
    distribution = functools.partial(exact.torus_energy_distribution, shape=(size, size))
    return jax.vmap(distribution)(jnp.asarray(1 / at, jnp.float32))


def levels(spins: Any) -> np.ndarray:
    """Number ``[...]`` of the energy of spins ``[..., L, L]`` in a table."""
    host = np.asarray(spins)
    satisfied = sum((host * np.roll(host, 1, axis)).sum((-2, -1), dtype=int) for axis in (-2, -1))
    return (2 * host.shape[-1] ** 2 - satisfied) // 4


def _num_sweeps(temperature: float, size: int) -> int:
    """Some three relaxation times of the order parameter, of a correlation length that the lattice bounds."""
    inverse = abs(2 / temperature + np.log(np.tanh(1 / temperature)))
    return int(50 + 3 * min(size, 1 / max(inverse, 1e-9)) ** 2.17)


def _as_they_are(spins: Array) -> Array:
    return spins


def sample(key: Array, size: int, num_chains: int, at: np.ndarray) -> np.ndarray:
    """Spins ``[temperatures, num_chains, L, L]``, every one from a chain of its own.

    Chains start ordered, as random ones would be caught between stripes, and are turned over at random in the end.
    """
    found = []
    for chain_key, temperature in zip(jax.random.split(key, len(at)), at, strict=True):
        sweep_key, last_key, sign_key = jax.random.split(chain_key, 3)
        ising = models.Ising(lattice.hypercubic((size, size)), jnp.float32(1 / temperature))
        sampler = samplers.multispin_heat_bath(ising, num_chains=num_chains)
        state = sampler.init(sweep_key, jnp.ones((size, size), jnp.int8))
        state = samplers.warm_up(sweep_key, sampler, state, num_steps=_num_sweeps(temperature, size))
        spins = samplers.run(last_key, sampler, state, num_steps=1, observe=_as_they_are).trace[:, 0]
        found.append(np.asarray(spins * jax.random.rademacher(sign_key, (num_chains, 1, 1), jnp.int8)))
    return np.stack(found)


def _around(spins: Array) -> Array:
    """Spins with those beyond the edges, which a network of zero padding does not know to be there."""
    return jnp.pad(spins.astype(jnp.float32), ((0, 0), (PAD, PAD), (PAD, PAD)), mode="wrap")


def _turned(key: Array, spins: Array) -> Array:
    """A batch under random symmetries of the torus and of the spins."""
    shift_key, flip_key, sign_key = jax.random.split(key, 3)
    rows, columns = jax.random.randint(shift_key, (2,), 0, spins.shape[-1])
    is_flipped, is_transposed = jax.random.bernoulli(flip_key, 0.5, (2,))
    spins = jnp.roll(spins, (rows, columns), (1, 2))
    spins = jnp.where(is_flipped, spins[:, ::-1], spins)
    spins = jnp.where(is_transposed, spins.swapaxes(1, 2), spins)
    return spins * jax.random.rademacher(sign_key, (len(spins), 1, 1), jnp.int8)


def cross_entropy(outputs: Array, labels: Array) -> Array:
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, labels))


def cuts_and_temperature(outputs: Array, targets: Array) -> Array:
    """Of all cuts of the line of temperatures at once, whether the sample lies below, and last of its temperature."""
    entropy = jnp.mean(optax.sigmoid_binary_cross_entropy(outputs[:, :-1], targets[:, :-1]))
    return entropy + jnp.mean((outputs[:, -1] - targets[:, -1]) ** 2)


class Trained(NamedTuple):
    """A network with its parameters."""

    net: nets.Net
    params: Any

    def __call__(self, spins: np.ndarray) -> np.ndarray:
        """Outputs ``[temperatures, chains, outputs]``."""
        return np.stack([np.asarray(_outputs(self.net, self.params, jnp.asarray(part))) for part in spins])


@functools.partial(jax.jit, static_argnums=0)
def _outputs(net: nets.Net, params: Any, spins: Array) -> Array:
    return net.apply(params, _around(spins))


@functools.cache
def _optimizer(num_steps: int) -> optax.GradientTransformation:
    """The same one for as many steps, so that programs are shared."""
    return optax.adam(optax.cosine_decay_schedule(RATE, num_steps))


def train(key: Array, net: nets.Net, loss: Any, spins: Any, targets: Any, num_epochs: int) -> tuple[Trained, Trained]:
    """A network before and after it has learned the targets ``[samples, ...]`` of spins ``[samples, L, L]``."""
    init_key, fit_key = jax.random.split(key)
    params = net.init(init_key, _around(jnp.asarray(spins[:1])))

    def loss_fn(key: Array, params: Any, batch: tuple[Array, Array]) -> Array:
        return loss(net.apply(params, _around(_turned(key, batch[0]))), batch[1])

    run = training.fit(
        fit_key,
        training.gradient_of(loss_fn),
        _optimizer(num_epochs * len(spins) // BATCH_SIZE),
        params,
        (jnp.asarray(spins), jnp.asarray(targets)),
        num_epochs=num_epochs,
        batch_size=BATCH_SIZE,
    )
    return Trained(net, params), Trained(net, run.params)


def logistic(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weight and offset of the best logistic function of one number, by Newton's method."""
    columns, weights = np.stack([values, np.ones_like(values)], axis=1), np.zeros(2)
    for _ in range(30):
        shares = 1 / (1 + np.exp(-np.clip(columns @ weights, -50, 50)))
        curvature = (columns * (shares * (1 - shares) + 1e-12)[:, None]).T @ columns
        weights = weights + np.linalg.solve(curvature, columns.T @ (labels - shares))
    return weights


class Crossing(NamedTuple):
    """Where a curve passes one half, and how steeply."""

    place: float
    slope: float


def crossing(curve: np.ndarray, at: np.ndarray) -> Crossing:
    """Of a line through the points near the last place where a rising curve is below one half."""
    rough = at[np.flatnonzero(curve < 0.5)[-1]]
    near = np.abs(at - rough) < max(REACH, 2.5 * (at[1] - at[0]))
    slope, offset = np.polyfit(at[near], curve[near], 1)
    return Crossing((0.5 - offset) / slope, slope)


def resampled(key: int, values: np.ndarray) -> np.ndarray:
    """Means ``[resamplings, temperatures]`` of values ``[temperatures, chains]``, for errors."""
    random, number = np.random.default_rng(key), values.shape[1]
    draws = random.multinomial(number, np.full(number, 1 / number), NUM_RESAMPLINGS)
    return draws @ values.T / number


def crossing_with_error(values: np.ndarray, at: np.ndarray) -> tuple[Crossing, Crossing]:
    """Place and slope of the mean over chains, and their errors from resampled chains."""
    found = [crossing(curve, at) for curve in resampled(0, values)]
    return crossing(values.mean(1), at), Crossing(*np.std(np.array(found), axis=0))
