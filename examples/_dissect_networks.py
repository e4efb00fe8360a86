"""Networks for the study of dissection, their training, and the maps of their layers as functions of the image."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen
from jax.tree_util import Partial

from jaxrg import exact, lattice, models, nets, samplers, training
from jaxrg.explain import dissection

BATCH_SIZE = 50
BURN_IN = 20  # samples of five sweeps, many times the autocorrelation time of these


class Convolution(NamedTuple):
    """One layer: so many units, each of a square of pixels, at every so-manieth position."""

    num_units: int
    size: int
    stride: int


def neighbourhoods(maps: jax.Array, layer: Convolution, is_periodic: bool) -> jax.Array:
    """What each position of a layer sees, along the last axis: on a CPU, one product is faster than a convolution."""
    rim, mode = layer.size // 2, "wrap" if is_periodic else "constant"
    wide = jnp.pad(maps, ((0, 0), (rim, rim), (rim, rim), (0, 0)), mode=mode)
    rows, columns = ((side - 1) // layer.stride * layer.stride + 1 for side in maps.shape[1:3])
    return jnp.concatenate(
        [
            wide[:, y : y + rows : layer.stride, x : x + columns : layer.stride]
            for y in range(layer.size)
            for x in range(layer.size)
        ],
        axis=-1,
    )


class Layers(linen.Module):
    """Convolutions with ReLU, then one linear layer on the mean and the largest value of every unit of the last."""

    layers: tuple[Convolution, ...]
    num_outputs: int
    is_periodic: bool
    centre: float = 0.0  # of what comes in
    scale: float = 1.0

    @linen.compact
    def __call__(self, images: jax.Array, depth: int | None = None) -> jax.Array:
        """The outputs, or the maps after so many layers."""
        hidden = (images.astype(jnp.float32) - self.centre) * self.scale
        for layer in self.layers[:depth]:
            hidden = jax.nn.relu(linen.Dense(layer.num_units)(neighbourhoods(hidden, layer, self.is_periodic)))
        if depth is not None:
            return hidden
        pooled = [jnp.mean(hidden, axis=(1, 2)), jnp.max(hidden, axis=(1, 2))]
        return linen.Dense(self.num_outputs)(jnp.concatenate(pooled, axis=-1))

    def anchor(self, depth: int) -> dissection.Anchor:
        """Where the positions of these maps lie."""
        fields = [(layer.size, layer.stride, layer.size // 2) for layer in self.layers[:depth]]
        return dissection.receptive_field_anchor(fields)


@functools.cache
def _maps(module: Layers, depth: int) -> Callable:
    """The same function whenever the same layer is asked for, so that its programs are shared."""

    def maps(params: Any, basis: jax.Array, images: jax.Array) -> jax.Array:
        return module.apply(params, images, depth) @ basis  # type: ignore[operator]

    return maps


def layer_of(module: Layers, params: Any, depth: int, basis: Any = None) -> Partial:
    """Maps of a layer as a function of images; in another basis, if one is given."""
    size = module.layers[depth - 1].num_units
    maps: Any = _maps(module, depth)  # type: ignore[arg-type]
    return Partial(maps, params, jnp.eye(size) if basis is None else basis)


def trained(key: jax.Array, module: Layers, images: Any, targets: Any, num_epochs: int) -> tuple[Any, Any]:
    """Parameters before and after training on yes-no questions ``targets[images, outputs]``."""
    init_key, fit_key = jax.random.split(key)
    net = nets.from_linen(module)
    first = net.init(init_key, images[:1])

    def loss_fn(key: jax.Array, params: Any, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        outputs = net.apply(params, batch[0])
        return jnp.mean(optax.sigmoid_binary_cross_entropy(outputs, batch[1]))

    steps = num_epochs * (len(images) // BATCH_SIZE)
    run = training.fit(
        fit_key,
        training.gradient_of(loss_fn),
        optax.adam(optax.cosine_decay_schedule(3e-3, steps)),
        first,
        (images, targets),
        num_epochs=num_epochs,
        batch_size=BATCH_SIZE,
    )
    return first, run.params


def balanced_accuracy(module: Layers, params: Any, images: Any, targets: np.ndarray) -> np.ndarray:
    """``[outputs]`` mean of the shares of yes and of no that are right."""
    apply = nets.from_linen(module).apply
    parts = [np.asarray(apply(params, images[start : start + 250])) for start in range(0, len(images), 250)]
    said, is_yes = np.concatenate(parts) > 0, np.asarray(targets) > 0.5
    hit = (said & is_yes).sum(0) / np.maximum(is_yes.sum(0), 1)
    return (hit + (~said & ~is_yes).sum(0) / np.maximum((~is_yes).sum(0), 1)) / 2


# %% Configurations of lattice models, and what they are at every site.
class Fields(NamedTuple):
    """A model whose two phases a network tells apart, with fields that are known exactly."""

    name: str
    critical: float  # temperature
    temperatures: tuple[float, float]  # range that is drawn from
    draw: Callable  # (key, side, temperatures, number at each) -> images [samples, side, side, channels]
    labels: Callable  # of images: int8 [samples, maps, side, side]
    concepts: tuple[str, ...]
    categories: tuple[str, ...]
    category_of: np.ndarray  # int32 [concepts]
    asked: tuple[int, ...]  # concepts of most interest


def _drawn(key: jax.Array, sampler_of: Callable, side: int, temperatures: np.ndarray, num_samples: int) -> np.ndarray:
    """``[temperatures, num_samples, side, side]`` of one chain at each temperature."""
    square, parts = lattice.hypercubic((side, side)), []
    for number, temperature in enumerate(temperatures):
        sampler = samplers.thin(sampler_of(square, 1 / temperature), 5)
        init_key, run_key = jax.random.split(jax.random.fold_in(key, number))
        drawn = samplers.run(run_key, sampler, sampler.init(init_key), BURN_IN + num_samples, observe=lambda s: s).trace
        parts.append(np.asarray(drawn)[0, BURN_IN:])
    return np.stack(parts)


def ising_spins(key: jax.Array, side: int, temperatures: np.ndarray, num_samples: int) -> np.ndarray:
    """Spins ``[samples, side, side, 1]``."""
    sampler_of = lambda square, coupling: samplers.swendsen_wang(models.Ising(square, coupling))  # noqa: E731
    spins = _drawn(key, sampler_of, side, temperatures, num_samples)
    # Which colour is up says nothing.
    signs = [np.random.default_rng(number).choice([-1, 1], (num_samples, 1, 1)) for number in range(len(temperatures))]
    return (spins * np.stack(signs)).reshape(-1, side, side, 1).astype(np.float32)


def ising_labels(images: np.ndarray) -> np.ndarray:
    """Labels of all sites, int8 ``[samples, 3, side, side]``, one map for each category."""
    square = lattice.hypercubic(images.shape[1:3])

    def of_one(one: jax.Array) -> jax.Array:
        is_largest = models.largest_cluster(square, one)
        up = jnp.where(one > 0, 0, 1)
        return jnp.stack([up, 2 + models.unlike_neighbours(square, one), jnp.where(is_largest, 7, 8)])

    return np.asarray(jax.jit(jax.vmap(of_one))(jnp.asarray(images[..., 0]))).astype(np.int8)


def xy_spins(key: jax.Array, side: int, temperatures: np.ndarray, num_samples: int) -> np.ndarray:
    """Both components of planar spins, ``[samples, side, side, 2]``, all of a sample turned by an angle of its own."""
    sampler_of = lambda square, coupling: samplers.swendsen_wang_embedding(models.XY(square, coupling))  # noqa: E731
    angles = _drawn(key, sampler_of, side, temperatures, num_samples).reshape(-1, side, side)
    angles = angles + np.random.default_rng(0).uniform(-np.pi, np.pi, (len(angles), 1, 1))
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)


def xy_labels(images: np.ndarray) -> np.ndarray:
    """Vortices by their first corner, and neighbours turned away, int8 ``[samples, 2, side, side]``."""
    square = lattice.hypercubic(images.shape[1:3])

    def of_one(one: jax.Array) -> jax.Array:
        charge = models.vortices(square, jnp.arctan2(one[..., 1], one[..., 0]))
        steps = [(step, axis) for step in (-1, 1) for axis in (0, 1)]
        away = sum((jnp.sum(one * jnp.roll(one, *step), axis=-1) < 0).astype(jnp.int32) for step in steps)
        return jnp.stack([jnp.where(charge > 0, 0, jnp.where(charge < 0, 1, 2)), 3 + away])

    return np.asarray(jax.jit(jax.vmap(of_one))(jnp.asarray(images))).astype(np.int8)


ISING = Fields(
    "Ising", 1 / exact.critical_coupling, (1.0, 3.5), ising_spins, ising_labels,
    ("spin up", "spin down", "none unlike", "one unlike", "two unlike", "three unlike", "four unlike",
     "largest cluster", "others"),
    ("spin", "local energy", "cluster"), np.array([0, 0, 1, 1, 1, 1, 1, 2, 2], np.int32), (7,),
)  # fmt: skip
XY = Fields(
    "XY", 1 / 1.11996, (0.4, 1.6), xy_spins, xy_labels,
    ("vortex", "antivortex", "neither", "none turned", "one turned", "two turned", "three turned", "four turned"),
    ("vortices", "turned neighbours"), np.array([0, 0, 0, 1, 1, 1, 1, 1], np.int32), (0, 1),
)  # fmt: skip
