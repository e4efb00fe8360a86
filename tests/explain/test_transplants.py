"""Layers keep their bits where they are frozen, come from where the treatment says, and intervals hold."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import nets, training
from jaxrg.explain import transplants

NUM_LAYERS = 4
NET = nets.mlp((5, 4, 4, 3))
INPUTS = jax.random.normal(jax.random.key(0), (40, 6))
LABELS = jax.random.randint(jax.random.key(1), (40,), 0, 3)


def layers_of(params):
    return [params["params"][f"Dense_{number}"] for number in range(NUM_LAYERS)]


def params_of(seed: int):
    params = NET.init(jax.random.key(seed), INPUTS)
    # A bias of -0.0 is told from +0.0 by its bits alone, and adding +0.0 to it would change them.
    return jax.tree.map(lambda leaf: jnp.where(leaf == 0, -0.0, leaf), params)


def loss_fn(key, params, batch):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(NET.apply(params, batch[0]), batch[1]))


LAYERS = transplants.layer_numbers(params_of(0), layers_of)
GRADIENT_FN = training.gradient_of(loss_fn)
OPTIMIZERS = {
    "adam": optax.adam(0.05),
    "decay": optax.adamw(0.05, weight_decay=0.5),  # wants to change parameters whose gradient vanishes
    "momentum": optax.sgd(0.1, momentum=0.9),
}


def bits(tree) -> list[bytes]:
    """Of every layer, in order."""
    return [b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(layer)) for layer in layers_of(tree)]


def fitted(optimizer, params, num_frozen):
    frozen = transplants.freeze_first(optimizer, LAYERS, num_frozen)
    return training.fit(
        jax.random.key(2), GRADIENT_FN, frozen, params, (INPUTS, LABELS), num_epochs=2, batch_size=20
    ).params


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_layers_keep_their_bits_and_all_others_move(name):
    start = params_of(0)
    for num_frozen in range(NUM_LAYERS + 1):
        before, after = bits(start), bits(fitted(OPTIMIZERS[name], start, num_frozen))
        is_same = [old == new for old, new in zip(before, after, strict=True)]
        assert is_same == [number < num_frozen for number in range(NUM_LAYERS)]


def test_nothing_frozen_is_the_plain_optimizer():
    start, optimizer = params_of(0), OPTIMIZERS["decay"]
    plain = training.fit(
        jax.random.key(2), GRADIENT_FN, optimizer, start, (INPUTS, LABELS), num_epochs=2, batch_size=20
    )
    assert bits(plain.params) == bits(fitted(optimizer, start, 0))


def test_frozen_layers_are_constants_to_the_others():
    """What is trained above frozen layers is what is trained on their outputs, by a network without them."""
    start, num_frozen = params_of(0), 2
    hidden = INPUTS
    for layer in layers_of(start)[:num_frozen]:
        hidden = jax.nn.relu(hidden @ layer["kernel"] + layer["bias"][None])

    def upper_loss_fn(key, params, batch):
        outputs = jax.nn.relu(batch[0] @ params[0]["kernel"] + params[0]["bias"][None])
        outputs = outputs @ params[1]["kernel"] + params[1]["bias"][None]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]))

    optimizer = OPTIMIZERS["momentum"]
    upper = training.fit(
        jax.random.key(2),
        training.gradient_of(upper_loss_fn),
        optimizer,
        layers_of(start)[num_frozen:],
        (hidden, LABELS),
        num_epochs=2,
        batch_size=20,
    )
    found = layers_of(fitted(optimizer, start, num_frozen))[num_frozen:]
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(upper.params), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
