"""Stacks, receptive fields and locality on machines made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import rbm, training
from jaxrg.rbm import stack as stack_module

locality = jax.jit(rbm.locality, static_argnums=1)


def test_fields_are_products_with_a_fixed_sign():
    first, second = np.random.default_rng(0).normal(size=(2, 6, 6)).astype(np.float32)
    machines = [
        rbm.RBM(jnp.asarray(first[:, :4]), jnp.zeros(6), jnp.zeros(4)),
        rbm.RBM(jnp.asarray(second[:4, :3]), jnp.zeros(4), jnp.zeros(3)),
    ]
    fields = rbm.receptive_fields(machines)
    for found, product in zip(fields, (first[:, :4], first[:, :4] @ second[:4, :3]), strict=True):
        np.testing.assert_allclose(np.abs(found), np.abs(product), rtol=1e-5)
        signs = np.sign(np.asarray(found)) * np.sign(product)
        assert np.all(signs == signs[:1])
        assert np.all(np.take_along_axis(np.asarray(found), np.abs(product).argmax(0)[None], 0) > 0)
    # A flipped hidden unit takes its weights, its bias and the weights above it along: the same machine.
    flips = jnp.array([1.0, -1.0, 1.0, -1.0])
    flipped = [
        machines[0]._replace(weights=machines[0].weights * flips[None, :]),
        machines[1]._replace(weights=machines[1].weights * flips[:, None]),
    ]
    for found, expected in zip(rbm.receptive_fields(flipped), fields, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_locality_of_hand_made_fields():
    shape = (8, 6)
    spot = np.zeros(shape)
    spot[3, 2] = -4.0
    pair_across_the_seam = np.zeros(shape)
    pair_across_the_seam[[0, 7], 1] = 1.0, -1.0
    block = np.zeros(shape)
    block[2:4, 4:6] = 0.5
    line = np.zeros(shape)
    line[5, :] = 1.0
    line[5, 0] = 3.0
    uniform = np.ones(shape)
    fields = jnp.asarray(
        np.stack([x.ravel() for x in (spot, pair_across_the_seam, block, line, uniform)], 1), jnp.float32
    )
    found = locality(fields, shape)
    # The line: weights 9 at its centre, 1 elsewhere, squared distances 0 1 4 9 4 1.
    expected = [0.0, 0.5, np.sqrt(0.5), np.sqrt(19 / 14)]
    np.testing.assert_allclose(found.radius[:4], expected, atol=1e-3)
    np.testing.assert_allclose(found.participation, [1, 2, 4, 14**2 / (81 + 5), 48], rtol=1e-5)
    uniform_radius = np.sqrt((8**2 + 2) / 12 + (6**2 + 2) / 12)
    np.testing.assert_allclose(found.uniform_radius, uniform_radius, rtol=1e-6)
    assert abs(float(found.radius[4]) - uniform_radius) < 1 / uniform_radius
    weight = np.sum(np.asarray(fields) ** 2, 0)
    np.testing.assert_allclose(found.mean_radius, np.average(found.radius, weights=weight), rtol=1e-6)
    np.testing.assert_allclose(found.mean_participation, np.average(found.participation, weights=weight), rtol=1e-6)


def test_locality_moves_with_the_field_and_ignores_its_scale():
    shape = (9, 5)
    field = np.random.default_rng(1).normal(size=shape) * np.exp(-np.arange(9.0))[:, None]
    moved = np.roll(field, (4, 3), (0, 1))
    fields = jnp.asarray(np.stack([field.ravel(), moved.ravel(), 1e-25 * field.ravel()], 1), jnp.float32)
    found = locality(fields, shape)
    np.testing.assert_allclose(found.radius, found.radius[0], rtol=1e-4)
    np.testing.assert_allclose(found.participation, found.participation[0], rtol=1e-5)


def test_shuffled_sites_keep_the_participation_and_lose_the_radius():
    shape = (12, 12)
    x, y = np.meshgrid(np.arange(12) - 6, np.arange(12) - 6, indexing="ij")
    blobs = np.stack([np.roll(np.exp(-(x**2 + y**2) / 4), (s, 2 * s), (0, 1)).ravel() for s in range(12)], 1)
    local = locality(jnp.asarray(blobs, jnp.float32), shape)
    shuffled = locality(jnp.asarray(np.random.default_rng(2).permutation(blobs), jnp.float32), shape)
    np.testing.assert_allclose(shuffled.mean_participation, local.mean_participation, rtol=1e-5)
    assert float(local.mean_radius) < 0.35 * float(local.uniform_radius)
    assert float(shuffled.mean_radius) > 0.75 * float(local.uniform_radius)


def test_dead_units_are_reported_and_do_not_count():
    fields = jnp.zeros((16, 2)).at[3, 0].set(1.0)
    found = locality(fields, (4, 4))
    assert np.isnan(found.radius).tolist() == [False, True]
    assert np.isnan(found.participation).tolist() == [False, True]
    assert float(found.mean_radius) == 0.0
    assert float(found.mean_participation) == 1.0
    assert np.isnan(locality(fields.at[0, 1].set(jnp.nan), (4, 4)).mean_radius)


def test_lift_draws_samples_of_the_conditional(monkeypatch, random_machine):
    machine = random_machine(3, 5, 3)
    spins = jnp.where(jax.random.bernoulli(jax.random.key(0), shape=(1, 5)), 1, -1).astype(jnp.int8)
    num_samples = 2 * stack_module.MAP_BATCH + 77
    lifted = np.asarray(rbm.lift(jax.random.key(1), machine, jnp.tile(spins, (num_samples, 1))))
    assert lifted.shape == (num_samples, 3)
    assert lifted.dtype == np.int8
    assert set(np.unique(lifted)) == {-1, 1}
    means = np.asarray(rbm.hidden_mean(machine, spins[0]))
    assert np.all(np.abs(lifted.mean(0) - means) < 5 * np.sqrt((1 - means**2) / num_samples))
    blocks = lifted[: stack_module.MAP_BATCH], lifted[stack_module.MAP_BATCH : 2 * stack_module.MAP_BATCH]
    assert np.any(blocks[0] != blocks[1])


def test_stack_trains_layer_on_layer(tmp_path):
    generator = np.random.default_rng(4)
    blocks = np.repeat(generator.choice([-1, 1], size=(600, 2)), 4, axis=1)
    data = jnp.asarray(blocks * generator.choice([1, -1], p=[0.9, 0.1], size=(600, 8)), jnp.int8)
    # Machines of one shape share one compiled epoch.
    arguments = {"num_epochs": 12, "batch_size": 50, "optimizer": optax.sgd(0.1, momentum=0.5), "scale": 0.1}
    arguments |= {"checkpoint_dir": tmp_path, "checkpoint_every": 6}
    stack, histories = rbm.train_stack(jax.random.key(5), data, (8, 8), **arguments)
    assert [machine.weights.shape for machine in stack] == [(8, 8), (8, 8)]
    errors = histories[0]["reconstruction_error"]
    assert errors.shape == (12,)
    assert float(errors[-1]) < 0.75 * float(errors[0])
    # The blocks of four copies are found: the fields live on few sites, and reach two layers up.
    fields = rbm.receptive_fields(stack)
    assert float(locality(fields[0], (8,)).mean_participation) < 6
    assert float(locality(fields[1], (8,)).mean_radius) < 0.7 * float(locality(fields[1], (8,)).uniform_radius)

    again, _ = rbm.train_stack(jax.random.key(5), data, (8, 8), **arguments)
    assert all(map(np.array_equal, jax.tree.leaves(again), jax.tree.leaves(stack)))

    keys = jax.random.split(jax.random.key(6), 600)
    reconstruct = jax.vmap(rbm.reconstruct, (0, None, 0))
    shallow, deep = jax.jit(lambda stack: (reconstruct(keys, stack[:1], data), reconstruct(keys, stack, data)))(stack)
    assert shallow.shape == deep.shape == data.shape
    assert np.mean(np.sign(np.asarray(shallow)) == np.asarray(data)) > 0.75
    assert np.mean(np.asarray(deep) * np.asarray(data)) > 0.05


def test_a_folder_knows_the_stack_as_a_whole_before_anything_is_touched(tmp_path):
    data = jnp.where(jax.random.bernoulli(jax.random.key(0), shape=(20, 4)), 1, -1).astype(jnp.int8)
    folder = tmp_path / "stack"

    def train(num_epochs=2, layer_sizes=(4, 4), rate=0.1, batch_size=10):
        return rbm.train_stack(
            jax.random.key(1),
            data,
            layer_sizes,
            num_epochs=num_epochs,
            batch_size=batch_size,
            optimizer=optax.sgd(rate),
            checkpoint_dir=folder,
        )[0]

    with pytest.raises(ValueError, match="batch_size: expected at most the 20 samples"):
        train(batch_size=21)
    assert list(folder.iterdir()) == []  # a failure before the first checkpoint leaves it to others
    stack = train()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for words, change in (
        ("num_epochs 2, .* got 5", {"num_epochs": 5}),
        ("layer_sizes .* got", {"layer_sizes": (4, 3)}),
        ("optimizer", {"rate": 0.2}),
    ):
        with pytest.raises(ValueError, match=f"checkpoint_dir: expected a run with .*{words}"):
            train(**change)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert all(map(np.array_equal, jax.tree.leaves(train()), jax.tree.leaves(stack)))


@pytest.mark.slow
def test_stack_with_persistent_chains_and_bad_input():
    data = jnp.where(jax.random.bernoulli(jax.random.key(0), shape=(40, 6)), 1, -1).astype(jnp.int8)
    optimizer = optax.sgd(0.01)
    seen, arguments = [], {"num_epochs": 2, "batch_size": 20, "num_chains": 5, "optimizer": optimizer}
    stack, histories = rbm.train_stack(
        jax.random.key(1), data, (6, 6), progress=lambda *values: seen.append(values), **arguments
    )
    assert [values[:2] for values in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert seen[2][2].startswith("machine 2: magnetization_gap ")
    assert histories[0]["magnetization_gap"].shape == (2,)
    with pytest.raises(ValueError, match=r"data: expected spins \+1 or -1, got 0"):
        rbm.train_stack(jax.random.key(1), 0 * data, (3,), num_epochs=1)
    # Handed to the loop directly, 0/1 data are traced and can only be caught by their NaN.
    gradient_fn, chains = rbm.persistent_contrastive_divergence_gradient(), jnp.ones((5, 6), jnp.int8)
    zeros = {"data": jnp.maximum(data, 0).astype(jnp.int8), "aux": chains, "num_epochs": 1, "batch_size": 20}
    with pytest.raises(FloatingPointError, match="step 0 of epoch 1"):
        training.fit(jax.random.key(2), gradient_fn, optimizer, stack[0], **zeros)
    with pytest.raises(ValueError, match="data: expected shape"):
        rbm.train_stack(jax.random.key(1), data[0], (3,), num_epochs=1)
    with pytest.raises(ValueError, match="layer_sizes: expected at least one"):
        rbm.train_stack(jax.random.key(1), data, (), num_epochs=1)
    with pytest.raises(ValueError, match="layer_sizes: expected an integer >= 1, got 0"):
        rbm.train_stack(jax.random.key(1), data, (3, 0), num_epochs=1)
    with pytest.raises(ValueError, match="stack: expected 3 visible units at level 2, got 6"):
        rbm.receptive_fields([rbm.init(jax.random.key(3), 6, 3)] * 2)
    with pytest.raises(ValueError, match="stack: expected a non-empty sequence"):
        rbm.receptive_fields(stack[0])
    with pytest.raises(ValueError, match=r"fields: expected shape \(6, num_fields\), got \(5, 3\)"):
        rbm.locality(jnp.ones((5, 3)), (2, 3))
    with pytest.raises(ValueError, match=r"visible: expected shape \(6,\)"):
        rbm.reconstruct(jax.random.key(0), stack, jnp.ones(5))
