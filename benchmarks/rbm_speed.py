"""A training epoch of a Boltzmann machine beside its matrix products and other packages; exact partition functions.

All sides train 1600 visible and 400 hidden units on the same samples in batches of 100, through their own ``fit`` or
batch step, and do the same five matrix products per batch; these alone, by XLA, are the limit. scikit-learn keeps
float32 if it is given float32, and turns integers into float64; its algorithm is persistent contrastive divergence, as
that of the package rbms is, which is compared where it is installed.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.neural_network import BernoulliRBM

from benchmarks.peers.rbms_pcd import rbms_training
from jaxrg import rbm, training

NUM_VISIBLE, NUM_HIDDEN, BATCH_SIZE, LEARNING_RATE = 1600, 400, 100, 0.01
NUM_UNITS_EXACT = 20
SETTLE = 0.4  # seconds: workers of OpenBLAS and XLA spin for a while after their last product and slow what comes next

Record = dict[str, Any]


def _seconds(work: Callable[[], Any]) -> float:
    time.sleep(SETTLE)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _jaxrg_training(spins: np.ndarray, num_epochs: int, *, is_persistent: bool, dtype) -> Callable[[], Any]:
    machine = rbm.init(jax.random.key(0), NUM_VISIBLE, NUM_HIDDEN, dtype=dtype)
    chains = rbm.persistent_chains(jax.random.key(1), machine, BATCH_SIZE) if is_persistent else None
    make_gradient = (
        rbm.persistent_contrastive_divergence_gradient if is_persistent else rbm.contrastive_divergence_gradient
    )
    fit = functools.partial(
        training.fit,
        jax.random.key(2),
        make_gradient(num_steps=1),
        optax.sgd(LEARNING_RATE),
        machine,
        jnp.asarray(spins),
        aux=chains,
        num_epochs=num_epochs,
        batch_size=BATCH_SIZE,
    )
    return lambda: jax.block_until_ready(fit().params)


def _sklearn_training(spins: np.ndarray, num_epochs: int, dtype) -> Callable[[], Any]:
    model = BernoulliRBM(
        n_components=NUM_HIDDEN,
        batch_size=BATCH_SIZE,
        n_iter=num_epochs,
        learning_rate=LEARNING_RATE,
        random_state=0,
    )
    binary = (spins > 0).astype(dtype)
    return lambda: model.fit(binary)


@functools.partial(jax.jit, static_argnums=2)
def _products(weights: jax.Array, spins: jax.Array, num_epochs: int) -> jax.Array:
    """The five products of every batch of an epoch, and the step with what they give."""

    def step(weights, start):
        visible = jax.lax.dynamic_slice_in_dim(spins, start, BATCH_SIZE).astype(weights.dtype)
        hidden = visible @ weights
        model_visible = jax.lax.dot_general(hidden, weights, (((1,), (1,)), ((), ())))
        model_hidden = model_visible @ weights
        gradient = model_visible.T @ model_hidden - visible.T @ hidden
        return weights - 1e-9 * gradient, None

    starts = jnp.tile(jnp.arange(0, len(spins) - BATCH_SIZE + 1, BATCH_SIZE), num_epochs)
    return jax.lax.scan(step, weights, starts)[0]


def _gemm(spins: np.ndarray, num_epochs: int) -> Callable[[], Any]:
    weights = rbm.init(jax.random.key(0), NUM_VISIBLE, NUM_HIDDEN).weights
    data = jnp.asarray(spins)
    return lambda: jax.block_until_ready(_products(weights, data, num_epochs))


def _compare_epochs(num_samples: int, num_epochs: int, num_repeats: int) -> list[Record]:
    spins = np.where(np.random.default_rng(0).random((num_samples, NUM_VISIBLE)) < 0.5, 1, -1).astype(np.int8)
    with jax.enable_x64(True):
        in_double = _jaxrg_training(spins, num_epochs, is_persistent=False, dtype=jnp.float64)

    def train_in_double():
        with jax.enable_x64(True):
            in_double()

    work = {
        "cd": _jaxrg_training(spins, num_epochs, is_persistent=False, dtype=jnp.float32),
        "pcd": _jaxrg_training(spins, num_epochs, is_persistent=True, dtype=jnp.float32),
        "cd_float64": train_in_double,
        "gemm": _gemm(spins, num_epochs),
        "sklearn": _sklearn_training(spins, num_epochs, np.float32),
        "sklearn_float64": _sklearn_training(spins, num_epochs, np.float64),
    }
    peer = rbms_training((spins > 0).astype(np.float32), NUM_HIDDEN, num_epochs, BATCH_SIZE, LEARNING_RATE)
    if peer is not None:
        work["rbms"] = peer
    first = {name: _seconds(run) for name, run in work.items()}
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(num_repeats):  # interleaved, so that what else the machine does meets all of them
        for name, run in work.items():
            times[name].append(_seconds(run) / num_epochs)
    median = {name: float(np.median(values)) for name, values in times.items()}
    sklearn, products = "scikit-learn BernoulliRBM", "its five matrix products alone"
    pairs = {
        "rbm_epoch_vs_gemm": ("cd", "gemm", products),
        "rbm_epoch_vs_sklearn": ("cd", "sklearn", sklearn),
        "rbm_pcd_epoch_vs_sklearn": ("pcd", "sklearn", sklearn),
        "rbm_epoch_vs_sklearn_both_float64": ("cd_float64", "sklearn_float64", sklearn),
        "rbm_epoch_vs_sklearn_defaults": ("cd", "sklearn_float64", sklearn),
    }
    if peer is not None:
        pairs["rbm_epoch_vs_rbms"] = ("pcd", "rbms", "rbms, PCD-1 on PyTorch")
    records = [
        {
            "name": name,
            "value": median[ours],
            "unit": f"s/epoch of {num_samples}",
            "peer": peer_name,
            "peer_value": median[theirs],
            "ratio": median[theirs] / median[ours],
        }
        for name, (ours, theirs, peer_name) in pairs.items()
    ]
    return [*records, _plain("rbm_epoch_compile", max(0.0, first["cd"] - num_epochs * median["cd"]), "s")]


def _plain(name: str, value: float, unit: str) -> Record:
    return {"name": name, "value": value, "unit": unit, "peer": None, "peer_value": None, "ratio": None}


def _exact_rate(num_repeats: int) -> list[Record]:
    with jax.enable_x64(True):
        machine = rbm.init(jax.random.key(0), NUM_UNITS_EXACT, NUM_UNITS_EXACT, scale=0.3, dtype=jnp.float64)
        jax.block_until_ready(rbm.log_partition(machine))
        seconds = [_seconds(lambda: jax.block_until_ready(rbm.log_partition(machine))) for _ in range(num_repeats)]
    return [_plain("rbm_log_partition_20_by_20_float64", 2**NUM_UNITS_EXACT / float(np.median(seconds)), "states/s")]


def run(*, quick: bool) -> list[Record]:
    """Records of all comparisons: medians of interleaved repeats, compilation apart."""
    num_samples, num_epochs, num_repeats = (1000, 2, 3) if quick else (5000, 4, 7)
    return [*_compare_epochs(num_samples, num_epochs, num_repeats), *_exact_rate(num_repeats)]
