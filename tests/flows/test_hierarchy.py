"""Hierarchical flows against plain NumPy, their Jacobians, and the indices of the published codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import flows
from jaxrg.base import Bijector
from jaxrg.flows import bijectors
from jaxrg.flows.passes import generate, on_blocks, renormalise
from tests.flows import plain_hierarchy as plain


def linear(event: tuple[int, ...]) -> Bijector:
    """Every number of a block mixed with every other: y = Q (s x), with one rotation Q and scales s as parameters."""
    size = int(np.prod(event))
    rotation = np.linalg.qr(np.random.default_rng(size).normal(size=(size, size)))[0]

    def scaled(way, scales, x):
        matrix = jnp.asarray(rotation, x.dtype)
        values, each = x.reshape(size, -1), jnp.exp(scales)[:, None]
        out = matrix @ (each * values) if way > 0 else (matrix.T @ values) / each
        return out.reshape(x.shape), jnp.broadcast_to(way * jnp.sum(scales), x.shape[len(event) :])

    return Bijector(
        lambda key: 0.3 * jax.random.normal(key, (size,)),
        lambda scales, x: scaled(1, scales, x),
        lambda scales, y: scaled(-1, scales, y),
    )


def matrix_of(scales) -> np.ndarray:
    """``[size, size]`` of a layer with these scales."""
    size = len(scales)
    return np.linalg.qr(np.random.default_rng(size).normal(size=(size, size)))[0] * np.exp(np.asarray(scales))


TREES = {
    "chain": {"sides": (8,), "block": 2, "offsets": ((1,), (0,))},
    "rg-flow paper": {"sides": (8, 8), "block": 2, "offsets": ((1, 1), (0, 0))},
    "neuralrg code": {"sides": (4, 4), "block": 2, "offsets": ((0, 0), (1, 1), (0, 0), (1, 1))},
    "rg-flow code": {"sides": (8, 8), "block": 4, "offsets": ((0, 0), (2, 2))},
    "image": {"sides": (16, 16), "block": 4, "offsets": ((2, 2), (0, 0)), "is_periodic": False, "channels": 2},
    "open chain": {"sides": (8,), "block": 2, "offsets": ((1,), (0,)), "is_periodic": False, "channels": 2},
    "image, moved last": {"sides": (8, 8), "block": 2, "offsets": ((0, 0), (1, 1)), "is_periodic": False},
    "two components": {"sides": (4, 8), "block": 2, "offsets": ((1, 0), (0, 0)), "channels": 2},
    "cube": {"sides": (4, 4, 4), "block": 2, "offsets": ((1, 1, 1), (0, 0, 0))},
}


def flow_of(tree: dict, **options) -> Bijector:
    channels = tree.get("channels")
    event = (tree["block"],) * len(tree["sides"]) + (() if channels is None else (channels,))
    layer = linear(event)
    return flows.rg_flow(
        tree["sides"],
        block=tree["block"],
        disentangler=layer,
        decimator=layer,
        channels=channels,
        offsets=tree["offsets"],
        is_periodic=tree.get("is_periodic", True),
        **options,
    )


def plain_tree(tree: dict, flow: Bijector) -> dict:
    kept = {name: tree[name] for name in ("sides", "block", "offsets")}
    levels = {"num_levels": flows.geometry(flow).num_levels, "is_periodic": tree.get("is_periodic", True)}
    return kept | levels


def at_sites(flow: Bijector, latents: dict) -> np.ndarray:
    """All latents, with their lanes, in one array of the shape of the field."""
    tree = flows.geometry(flow)
    lanes = latents[0].shape[len(tree.latent_shapes[0]) :]
    field = np.zeros((int(np.prod(tree.sides)), *tree.channels, *lanes), latents[0].dtype)
    for level, sites in flows.latent_sites(tree.sides, tree.num_levels).items():
        field[sites.ravel()] = np.asarray(latents[level]).reshape(-1, *tree.channels, *lanes)
    return field.reshape(*tree.shape, *lanes)


QUICK = [(name, False) for name in ("chain", "neuralrg code", "rg-flow code", "image", "cube")] + [("chain", True)]
SLOW = [(name, False) for name in TREES if (name, False) not in QUICK] + [("image, moved last", True)]
CASES = QUICK + [pytest.param(*case, marks=pytest.mark.slow) for case in SLOW]


@pytest.mark.parametrize(("name", "is_shared"), CASES)
def test_a_flow_agrees_with_numpy_and_with_its_matrix(name, is_shared, x64):
    """Blocks are linear: the images of all unit fields, as lanes, are the matrix of the whole."""
    tree = TREES[name]
    flow = flow_of(tree, is_shared=is_shared)
    params = flow.init(jax.random.key(0))
    shape = flows.geometry(flow).shape
    size = int(np.prod(shape))
    fields = np.eye(size).reshape(*shape, size)
    latents, log_det = flow.inverse(params, fields)

    def inverse(level, number, block):
        scales = params["levels"][number] if is_shared else params["levels"][level][number]
        return np.linalg.solve(matrix_of(scales), block.reshape(len(scales), -1)).reshape(block.shape)

    expected = plain.renormalise(fields, inverse, **plain_tree(tree, flow))
    np.testing.assert_allclose(at_sites(flow, latents), expected, atol=1e-10)
    for level, sites in flows.latent_sites(tree["sides"], flows.geometry(flow).num_levels).items():
        coordinates = np.stack(np.unravel_index(sites.ravel(), tree["sides"]), axis=1)
        assert {plain.level_of(site, flows.geometry(flow).num_levels) for site in coordinates.tolist()} == {level}
    np.testing.assert_allclose(log_det, np.linalg.slogdet(expected.reshape(size, size))[1], rtol=1e-9)
    again, back = flow.forward(params, latents)
    np.testing.assert_allclose(again, fields, atol=1e-12)
    np.testing.assert_allclose(back, -log_det, rtol=1e-12)


@pytest.mark.parametrize(
    ("side", "block", "offsets", "num_levels"),
    [(8, 2, (0, 1), 3), (16, 2, (0, 1), 4), (16, 4, (0, 2), 3), (32, 4, (0, 2), 4)],
)
def test_blocks_are_those_of_the_published_codes(side, block, offsets, num_levels):
    """NeuralRG: dilation 2^h, stride 2 2^h, offsets 0 and 2^h; RG-Flow: stride 4 2^h, offsets 0 and 2 2^h."""
    swap = bijectors.permutation((block, block), np.arange(block**2).reshape(block, block)[::-1].copy())
    flow = flows.rg_flow((side, side), block=block, disentangler=swap, decimator=swap, offsets=offsets)
    tree = flows.geometry(flow)
    assert tree.num_levels == num_levels
    for level in range(num_levels):
        index = np.arange(side**2).reshape(side, side)[:: 2**level, :: 2**level]
        for number, offset in enumerate(offsets):
            found = []

            def act(level, number, blocks, into=found):
                into.append(blocks.reshape(block**2, -1).T)
                return blocks, None

            on_blocks(tree, level, number, act, index)
            ours = {frozenset(zip(*divmod(sites, side), strict=True)) for sites in found[0]}
            theirs = plain.published_indices(side, block, block * 2**level, 2**level, offset * 2**level)
            assert ours == {frozenset(sites) for sites in theirs}
            assert len(ours) == len(theirs)


@pytest.mark.parametrize("offsets", [(0, 1), (1, 0)])  # as in both codes, and as in the formula of RG-Flow
def test_passes_come_in_the_order_of_their_offsets(offsets):
    tree = flows.geometry(flows.rg_flow((8, 8), disentangler=TURN, decimator=TURN, offsets=offsets))
    seen = []

    def act(level, number, blocks):
        seen.append((level, int(blocks.reshape(4, -1)[0, 0])))
        return blocks, None

    latents, _ = renormalise(tree, act, np.arange(64).reshape(8, 8))
    there = [(level, offset * 2**level * 9) for level in range(3) for offset in offsets]  # first sites of first blocks
    assert seen == there
    seen.clear()
    generate(tree, act, latents)
    assert seen == there[::-1]


def test_latents_of_the_published_configurations():
    def sizes(side, block):
        swap = bijectors.permutation((block, block), np.arange(block**2).reshape(block, block)[::-1].copy())
        shapes = flows.geometry(flows.rg_flow((side, side), block=block, disentangler=swap, decimator=swap))
        return [int(np.prod(shape)) for shape in shapes.latent_shapes.values()]

    assert sizes(32, 4) == [768, 192, 48, 16]  # RG-Flow, with three channels 48 variables at the top
    assert sizes(16, 2) == [192, 48, 12, 4]


def test_lanes_are_many_fields_and_vmap_is_the_same():
    flow = flow_of({"sides": (4,), "block": 2, "offsets": ((1,), (0,)), "channels": 2})
    params = flow.init(jax.random.key(0))
    fields = jax.random.normal(jax.random.key(1), (4, 2, 3, 5))
    latents, log_det = flow.inverse(params, fields)
    assert log_det.shape == (3, 5)
    mapped, many = jax.vmap(lambda field: flow.inverse(params, field), in_axes=2)(fields)
    np.testing.assert_allclose(many, log_det, rtol=1e-5)
    encoded, log_dets = flows.encode(flow, params, jnp.moveaxis(fields[..., 0, :], -1, 0))
    np.testing.assert_allclose(log_dets, log_det[0], rtol=1e-5)
    for level in latents:
        np.testing.assert_allclose(np.moveaxis(mapped[level], 0, -2), latents[level], atol=1e-5)
        np.testing.assert_allclose(encoded[level], np.moveaxis(latents[level][..., 0, :], -1, 0), atol=1e-5)
    decoded, back = flows.decode(flow, params, encoded)
    np.testing.assert_allclose(decoded, np.moveaxis(fields[..., 0, :], -1, 0), atol=1e-5)
    np.testing.assert_allclose(back, -log_dets, rtol=1e-5)


def test_weights_that_levels_share_serve_twice_the_side():
    small, large = (
        flow_of({"sides": (side, side), "block": 2, "offsets": ((1, 1), (0, 0))}, is_shared=True) for side in (4, 8)
    )
    params = small.init(jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, jax.eval_shape(large.init, jax.random.key(0)))
    field = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    latents, _ = large.inverse(params, np.tile(field, (2, 2)))
    alone, _ = small.inverse(params, field)
    np.testing.assert_allclose(latents[0], np.tile(alone[0], (1, 2, 2)), atol=1e-5)  # of a field twice as periodic


def test_weights_of_levels_are_extended_by_a_copy_of_the_finest():
    small, large = (flow_of({"sides": (side,), "block": 2, "offsets": ((1,), (0,))}) for side in (4, 8))
    params = small.init(jax.random.key(0))
    longer = {**params, "levels": params["levels"][:1] + params["levels"]}
    field = np.random.default_rng(0).normal(size=4).astype(np.float32)
    latents, _ = large.inverse(longer, np.tile(field, 2))
    np.testing.assert_allclose(latents[0], np.tile(small.inverse(params, field)[0][0], (1, 2)), atol=1e-5)


def test_the_top_is_mixed_as_a_whole(x64):
    layer, top = linear((2,)), linear((2,))
    flow = flows.rg_flow((4,), disentangler=layer, decimator=layer, top=top, offsets=(0,))
    params = flow.init(jax.random.key(0))
    field = jax.random.normal(jax.random.key(1), (4,))
    latents, log_det = flow.inverse(params, field)
    assert (
        abs(
            log_det
            + sum(
                np.sum(scales) * count
                for scales, count in zip(
                    (params["levels"][0][0], params["levels"][1][0], params["top"]), (2, 1, 1), strict=True
                )
            )
        )
        < 1e-12
    )
    plain_flow = flows.rg_flow((4,), disentangler=layer, decimator=layer, offsets=(0,))
    before, _ = plain_flow.inverse({**params, "top": ()}, field)
    np.testing.assert_allclose(latents[1], np.linalg.solve(matrix_of(params["top"]), before[1]), rtol=1e-9)
    np.testing.assert_allclose(flow.forward(params, latents)[0], field, atol=1e-12)


def test_layers_may_differ_by_level_and_by_pass():
    """A shear at level 0, another kind of layer at level 1: what is not alike is not compiled as one."""
    turn = bijectors.permutation((2, 2), [[3, 2], [1, 0]])
    flow = flows.rg_flow((4, 4), disentangler=lambda level: turn if level else linear((2, 2)), decimator=turn)
    params = flow.init(jax.random.key(0))
    assert params["levels"][1] == ((), ())
    field = jax.random.normal(jax.random.key(1), (4, 4))
    latents, _ = flow.inverse(params, field)
    np.testing.assert_allclose(flow.forward(params, latents)[0], field, atol=1e-5)


@pytest.mark.slow
def test_float32_round_trip_of_an_image_flow():
    event = (4, 4, 3)
    mask = np.broadcast_to((np.indices((4, 4)).sum(axis=0) % 2 == 0)[..., None], event)
    net = bijectors.perceptron((16,))
    pair = bijectors.chain([bijectors.affine_coupling(event, part, net) for part in (mask, ~mask)])
    layer = bijectors.repeat(pair, 2)
    flow = flows.rg_flow((32, 32), block=4, channels=3, disentangler=layer, decimator=layer, is_periodic=False)
    params = jax.tree.map(lambda leaf: leaf + 0.05, flow.init(jax.random.key(0)))
    fields = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    latents, log_det = flows.encode(flow, params, fields)
    again, back = flows.decode(flow, params, latents)
    assert float(jnp.max(jnp.abs(again - fields))) < 1e-4
    np.testing.assert_allclose(back, -log_det, atol=1e-2)


TURN = bijectors.permutation((2, 2), [[3, 2], [1, 0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (6, 5)}, "block: expected a divisor"),
        ({"shape": 8}, "shape: expected a sequence"),
        ({"block": 3}, "block: expected an even"),
        ({"num_levels": 4}, "num_levels: expected at most 3"),
        ({"num_levels": 0}, "num_levels: expected"),
        ({"disentangler": 3}, "disentangler: expected a Bijector"),
        ({"decimator": bijectors.permutation((3,), [2, 1, 0])}, "expected shape"),
        ({"decimator": Bijector(lambda key: (), lambda p, x: (x, x), lambda p, x: (x, x))}, "decimator: expected"),
        ({"offsets": (2, 0)}, "offsets: expected numbers from 0 to 1"),
        ({"offsets": ()}, "offsets: expected one offset of every pass"),
        ({"offsets": ((0, 1, 0),)}, "offsets: expected"),
        ({"channels": 0}, "channels: expected"),
    ],
)
def test_what_is_no_hierarchy_is_refused(options, message):
    arguments = {"shape": (8, 8), "disentangler": TURN, "decimator": TURN} | options
    with pytest.raises((ValueError, TypeError), match=message):
        flows.rg_flow(arguments.pop("shape"), **arguments)


def test_what_does_not_fit_a_flow_is_refused():
    flow = flows.rg_flow((4, 4), disentangler=TURN, decimator=TURN)
    params = flow.init(jax.random.key(0))
    latents, _ = flows.encode(flow, params, jnp.zeros((2, 4, 4)))
    for wrong, message in (
        ({0: latents[0]}, "latents: expected a dictionary of the levels"),
        (latents | {1: jnp.zeros((2, 3, 3))}, "latents: expected shape"),
        (latents | {0: latents[0].at[0].set(jnp.nan)}, "latents: expected finite"),
    ):
        with pytest.raises(ValueError, match=message):
            flows.decode(flow, params, wrong)
    for wrong, message in (
        (jnp.zeros((2, 5, 4)), "field: expected shape"),
        (jnp.full((2, 4, 4), jnp.inf), "fields: expected finite"),
        (jnp.zeros((4, 4)), "fields: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            flows.encode(flow, params, wrong)
    with pytest.raises(ValueError, match="params: expected"):
        flows.encode(flow, (), jnp.zeros((2, 4, 4)))
    other = bijectors.affine_coupling((2, 2), [[True, False], [False, True]], bijectors.perceptron((2,)))
    for those in (
        flows.rg_flow((4, 4), disentangler=other, decimator=other),
        flows.rg_flow((4, 4), disentangler=TURN, decimator=TURN, offsets=(0,)),
    ):
        with pytest.raises(ValueError, match=r"params.*: expected"):
            flows.encode(flow, those.init(jax.random.key(0)), jnp.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match="fields: expected"):
        flows.encode(flow, params, "abc")
    broken = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), latents)
    one = jax.tree.map(lambda leaf: leaf[1], latents)
    with pytest.raises(ValueError, match="coarse: expected finite"):
        flows.mix(latents, broken, 1)
    with pytest.raises(ValueError, match="values: expected finite"):
        flows.traverse(flow, params, one, 1, (0, 0), jnp.array([jnp.inf]))
    with pytest.raises(ValueError, match="flow: expected a flow that rg_flow made"):
        flows.geometry(TURN)
