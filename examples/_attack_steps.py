"""Twelve published ways to make adversarial attacks transfer, each as a change of one part of one attack step.

A step of `attack` asks the source network for a gradient and moves the perturbation by it. It has four parts: the
``inputs`` at which the gradient is taken, the ``loss``, the ``backward`` rule of the network, and the ``rule`` that
turns a gradient into a move. The plain step (I-FGSM, PGD) is ``Step()``; `METHODS` change one part each.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.scipy.signal import convolve2d

from jaxrg import interactions
from jaxrg.explain import perturbations

PATCHES = interactions.patches((28, 28), (4, 4))
NUM_COPIES = 5  # inputs at which a gradient is averaged


class Surrogate(NamedTuple):
    """A source network in two halves, on batches."""

    lower: Callable[[Array], Array]  # hidden = lower(inputs)
    upper: Callable[[Array], Array]  # outputs = upper(hidden)

    def __call__(self, inputs: Array) -> Array:
        return self.upper(self.lower(inputs))


class Case(NamedTuple):
    """What an attack is given, and the box it stays in."""

    surrogate: Surrogate
    image: Array
    label: Array
    start: Array
    epsilon: Array
    num_steps: Array
    penalty: Array  # of the interaction, where a loss has one

    @property
    def stride(self) -> Array:
        """The size that crosses half of the box in all steps."""
        return self.epsilon / self.num_steps.astype(self.epsilon.dtype)


def margin(surrogate: Surrogate, image: Array, label: Array) -> Array:
    """What every attack raises unless it changes the loss; the cross entropy of a sure network has no gradient left."""
    return perturbations.adversarial_margin(surrogate(image[None])[0], label)


def signs(case: Case, *before: optax.GradientTransformation, factor: float = 2.0) -> optax.GradientTransformation:
    """Moves of factor ε/T along the signs of a gradient that passes some transformations first."""
    return optax.chain(*before, optax.scale_by_sign(), optax.scale(factor * case.stride))


class Step(NamedTuple):
    """The parts of a step; the defaults are the plain one."""

    inputs: Callable[[Array, Array, Case], Array] = lambda key, image, case: image[None]  # [copies, ...]
    loss: Callable[[Array, Case], Callable[[Array, Array], Array]] = lambda key, case: (
        lambda key, image: margin(case.surrogate, image, case.label)
    )  # made once for a case: value = loss(key, image)
    rule: Callable[[Case], optax.GradientTransformation] = signs
    backward: Mapping[str, Any] = {}  # fields of the network's module


def attack(key: Array, case: Case, step: Step) -> Array:
    """The perturbation after all steps; |δ| ≤ ε, and the image stays between 0 and 1."""
    loss_key, steps_key = jax.random.split(key)
    loss, rule = step.loss(loss_key, case), step.rule(case)
    low, high = (jnp.clip(bound - case.image, -case.epsilon, case.epsilon) for bound in (0.0, 1.0))

    def objective(delta: Array, key: Array) -> Array:
        inputs_key, *loss_keys = jax.random.split(key, 1 + NUM_COPIES)
        copies = step.inputs(inputs_key, case.image + delta, case)
        return jnp.mean(jax.vmap(loss)(jnp.stack(loss_keys[: len(copies)]), copies))

    def move(count: Array, carry):
        delta, state = carry
        gradient = jax.grad(objective)(delta, jax.random.fold_in(steps_key, count))
        updates, state = rule.update(gradient, state, delta)
        return jnp.clip(delta + jnp.asarray(updates), low, high), state

    first = jnp.clip(case.start, low, high)
    return jax.lax.fori_loop(0, case.num_steps, move, (first, rule.init(first)))[0]


# Changes of the gradient.


def normalised() -> optax.GradientTransformation:
    """To an L1 norm of one."""

    def scale(gradient, _=None):
        values = jnp.asarray(gradient)
        return values / jnp.maximum(jnp.sum(jnp.abs(values)), jnp.finfo(values.dtype).tiny)

    return optax.stateless(scale)


def momentum(case: Case) -> optax.GradientTransformation:
    """MI: Dong et al., CVPR 2018, arXiv:1710.06081."""
    return signs(case, normalised(), optax.trace(1.0))


def smoothed(case: Case) -> optax.GradientTransformation:
    """TI: Dong et al., CVPR 2019, arXiv:1904.02884; a Gaussian kernel of 5 by 5."""
    weights = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    kernel = jnp.asarray(np.outer(weights, weights) / weights.sum() ** 2, jnp.float32)
    return signs(case, optax.stateless(lambda gradient, _: convolve2d(jnp.asarray(gradient), kernel, mode="same")))


def patchwise(case: Case) -> optax.GradientTransformation:
    """PI: Gao et al., ECCV 2020, arXiv:2007.06819; what an amplified step carries out of the box goes to neighbours."""
    size = 10 * case.stride  # amplification 10, as published
    neighbours = jnp.asarray(np.where(np.arange(9).reshape(3, 3) == 4, 0, 1 / 8), jnp.float32)

    def update(updates, state, params=None):
        stride = size * jnp.sign(jnp.asarray(updates))
        total = jnp.asarray(state) + stride
        excess = jnp.sign(total) * jnp.maximum(jnp.abs(total) - case.epsilon, 0)
        spread = size * jnp.sign(convolve2d(excess, neighbours, mode="same"))
        return stride + spread, total + spread

    return optax.GradientTransformation(lambda params: params, update)


# Changes of the inputs.


def noisy(key: Array, image: Array, case: Case) -> Array:
    """VR: Wu et al., arXiv:1802.09707; the gradient averaged over Gaussian noise as wide as the box."""
    return image[None] + case.epsilon * jax.random.normal(key, (NUM_COPIES, *image.shape))


def diverse(key: Array, image: Array, case: Case) -> Array:
    """DI: Xie et al., CVPR 2019, arXiv:1803.06978; shrunk to 24 to 28 pixels and padded, with probability 0.7."""
    size_key, place_key, choice_key = jax.random.split(key, 3)
    scale = jax.random.uniform(size_key, (), minval=24 / 28, maxval=1.0)
    shift = 28 * (1 - scale) * jax.random.uniform(place_key, (2,))
    moved = jax.image.scale_and_translate(image, image.shape, (0, 1), jnp.full(2, scale), shift, "linear")
    return jnp.where(jax.random.bernoulli(choice_key, 0.7), moved, image)[None]


def scaled(key: Array, image: Array, case: Case) -> Array:
    """SI: Lin et al., ICLR 2020, arXiv:1908.06281; the image divided by 1, 2, 4, ..."""
    return jnp.stack([image / 2**power for power in range(NUM_COPIES)])


# Changes of the backward rule.


def scaled_branch(branch: Array, factor: float) -> Array:
    """SGM: Wu et al., ICLR 2020, arXiv:2002.05990; gradients decay in residual branches, values do not."""
    return factor * branch + jax.lax.stop_gradient((1 - factor) * branch)


def straight_relu(inputs: Array) -> Array:
    """LinBP: Guo et al., NeurIPS 2020, arXiv:2012.03528; a ReLU whose derivative is one."""
    return inputs + jax.lax.stop_gradient(jax.nn.relu(inputs) - inputs)


# Changes of the loss.


def distortion(key: Array, case: Case):
    """NRDM: Naseer et al., arXiv:1811.09020; how far hidden features are moved."""
    clean = case.surrogate.lower(case.image[None])
    return lambda key, image: jnp.sum((case.surrogate.lower(image[None]) - clean) ** 2)


def intermediate(key: Array, case: Case):
    """ILA: Huang et al., ICCV 2019, arXiv:1907.10823; hidden features moved the way a plain attack moves them."""
    clean = case.surrogate.lower(case.image[None])
    direction = case.surrogate.lower((case.image + attack(key, case, Step()))[None]) - clean
    return lambda key, image: jnp.sum((case.surrogate.lower(image[None]) - clean) * direction)


def importance(key: Array, case: Case):
    """FIA: Wang et al., ICCV 2021, arXiv:2107.14185; features the label rests on in images with pixels dropped."""
    kept = jax.random.bernoulli(key, 0.7, (3 * NUM_COPIES, *case.image.shape))
    hidden = case.surrogate.lower(jnp.where(kept, case.image, 0))
    support = lambda hidden: jnp.sum(interactions.logit(case.surrogate.upper(hidden), case.label))  # noqa: E731
    weights = jnp.sum(jax.grad(support)(hidden), axis=0)
    weights = weights / jnp.maximum(jnp.linalg.norm(weights), jnp.finfo(weights.dtype).tiny)
    return lambda key, image: -jnp.sum(weights * case.surrogate.lower(image[None])[0])


def reduced(key: Array, case: Case, *, num_sampled: int = 8):
    """IR: Wang et al., ICLR 2021, arXiv:2010.04055; the pair interaction inside the perturbation is penalised."""
    num_players = interactions.num_players_of(PATCHES)

    def loss(key: Array, image: Array) -> Array:
        players = jax.random.permutation(key, num_players)[:num_sampled]
        interaction = perturbations.perturbation_interaction(
            case.surrogate, case.image, image - case.image, case.label, PATCHES, players=players
        )
        return margin(case.surrogate, image, case.label) - case.penalty * interaction

    return loss


METHODS = {
    "MI": Step(rule=momentum),
    "TI": Step(rule=smoothed),
    "PI": Step(rule=patchwise),
    "VR": Step(inputs=noisy),
    "DI": Step(inputs=diverse),
    "SI": Step(inputs=scaled),
    "SGM": Step(backward={"branch": functools.partial(scaled_branch, factor=0.5)}),
    "LinBP": Step(backward={"upper_relu": straight_relu}),
    "ILA": Step(loss=intermediate),
    "NRDM": Step(loss=distortion),
    "FIA": Step(loss=importance),
    "IR": Step(loss=reduced),
}
