"""Causal cones, receptive fields, traversals, exchanged latents and statistics by level."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import flows
from jaxrg.flows import cones
from jaxrg.flows import latents as latent_functions
from tests.flows import plain_hierarchy as plain
from tests.flows.test_hierarchy import TREES, at_sites, flow_of, linear, plain_tree

NAMES = ["chain", "rg-flow code", "image", "two components"]


def sites_of(name: str) -> tuple:
    tree = TREES[name]
    return tree, flow_of(tree), tuple(side // 2 - 1 for side in tree["sides"])


@pytest.mark.parametrize("name", NAMES)
def test_cones_and_fields_are_those_of_plain_loops(name):
    tree, flow, site = sites_of(name)
    mask = np.zeros(tree["sides"], bool)
    mask[site] = True
    cone = flows.causal_cone(flow, mask)
    assert {level: part.shape for level, part in cone.items()} == flows.geometry(flow).latent_shapes
    latents = at_sites(flow, cone)
    latents = latents.any(axis=-1) if tree.get("channels") else latents
    np.testing.assert_array_equal(latents, plain.spread(mask, True, **plain_tree(tree, flow)))
    for level, sites in flows.latent_sites(tree["sides"], flows.geometry(flow).num_levels).items():
        alone = np.zeros(tree["sides"], bool)
        alone.ravel()[sites.ravel()[-1]] = True
        index = tuple(side - 1 for side in flows.geometry(flow).latent_shapes[level])
        expected = plain.spread(alone, False, **plain_tree(tree, flow))
        np.testing.assert_array_equal(flows.receptive_field(flow, level, index), expected)


@pytest.mark.parametrize("name", ["chain", pytest.param("two components", marks=pytest.mark.slow)])
def test_cones_are_where_derivatives_are(name):
    """Blocks mix all their numbers, so that a derivative is zero exactly outside the cone."""
    _, flow, site = sites_of(name)
    params = flow.init(jax.random.key(0))
    tree = flows.geometry(flow)
    mask = np.zeros(tree.sides, bool)
    mask[site] = True
    latents, _ = flow.inverse(params, np.zeros(tree.shape, np.float32))
    jacobian = jax.jacobian(lambda z: flow.forward(params, z)[0][site].sum())(latents)
    for level, part in flows.causal_cone(flow, mask).items():
        np.testing.assert_array_equal(np.asarray(jacobian[level]) != 0, part)
    batch = {level: jnp.stack([z, z + 1]) for level, z in latents.items()}
    programs = []
    for level, shape in tree.latent_shapes.items():
        index = tuple(side - 1 for side in shape)
        strength = flows.sensitivity(flow, params, batch, level, index)
        moves = np.asarray(strength) > 0
        moves = moves.any(axis=-1) if tree.channels else moves
        np.testing.assert_array_equal(moves, flows.receptive_field(flow, level, index))
        moved = flows.traverse(flow, params, latents, level, index, [0.0, 1.0])
        change = np.abs(moved[1] - moved[0])
        np.testing.assert_allclose(strength, change, atol=1e-5)  # of a linear flow
        programs.append((cones._sensitivity._cache_size(), latent_functions._traverse._cache_size()))
    assert len(programs) > 1
    assert len(set(programs)) == 1  # another level compiles nothing


def test_cones_grow_as_the_logarithm_of_the_side():
    sizes, widths = [], []
    for side in (8, 16, 32, 64, 128):
        layer = linear((2, 2))
        flow = flows.rg_flow((side, side), disentangler=layer, decimator=layer)
        mask = np.zeros((side, side), bool)
        mask[side // 2, side // 2] = True
        sizes.append(sum(part.sum() for part in flows.causal_cone(flow, mask).values()))
        if side == 128:
            fields = [flows.receptive_field(flow, level, (0, 0, 0)) for level in range(5)]
            widths = [int(field.any(axis=0).sum()) for field in fields]
    assert np.ptp(np.diff(sizes)) == 0  # so many latents a level
    assert sizes[-1] < 128
    assert all(1.5 < wide / narrow <= 2.5 for narrow, wide in itertools.pairwise(widths[1:]))


def test_a_top_is_one_dependence():
    layer = linear((2,))
    flow = flows.rg_flow((8,), num_levels=2, disentangler=layer, decimator=layer, top=linear((4,)))
    mask = np.arange(8) == 2
    assert flows.causal_cone(flow, mask)[1].all()
    assert flows.receptive_field(flow, 1, 0).all()


def test_mix_takes_details_of_one_and_scales_of_the_other():
    fine = {level: jnp.full(2, level) for level in range(3)}
    coarse = {level: jnp.full(2, 10 + level) for level in range(3)}
    assert [int(part[0]) for part in flows.mix(fine, coarse, 1).values()] == [0, 11, 12]
    assert [int(part[0]) for part in flows.mix(fine, coarse, 3).values()] == [0, 1, 2]
    for arguments, message in (
        ((fine, coarse, 4), "level: expected an integer from 0 to 3"),
        ((fine, coarse, 1.0), "level: expected"),
        ((fine, {0: jnp.zeros(2)}, 0), "coarse: expected latents of shapes"),
        ((jnp.zeros(2), coarse, 0), "fine: expected a dictionary of levels"),
    ):
        with pytest.raises(ValueError, match=message):
            flows.mix(*arguments)


def test_statistics_by_level_of_known_distributions():
    keys = jax.random.split(jax.random.key(0), 2)
    normal = 1.0 + 2.0 * jax.random.normal(keys[0], (4000, 3))
    laplace = jax.random.laplace(keys[1], (4000, 2))
    found = flows.level_statistics({0: normal, 1: laplace})
    expected = {0: (1.0, 4.0, 0.0, 0.0), 1: (0.0, 2.0, 0.0, 3.0)}
    for level, moments in expected.items():
        for (value, error), moment in zip(found[level], moments, strict=True):
            assert abs(value - moment) < 5 * error
            assert 0 < error < 0.5
    # errors of a mean and a variance of independent numbers
    np.testing.assert_allclose(found[0].mean[1], 2 / np.sqrt(12000), rtol=0.05)
    np.testing.assert_allclose(found[0].variance[1], 4 * np.sqrt(2 / 12000), rtol=0.1)


def test_what_is_no_latent_is_refused():
    flow = flow_of(TREES["chain"])
    params = flow.init(jax.random.key(0))
    latents = {0: jnp.zeros((1, 4)), 1: jnp.zeros((1, 2)), 2: jnp.zeros(2)}
    for fn, message in (
        (lambda: flows.causal_cone(flow, np.zeros(7, bool)), "sites: expected booleans"),
        (lambda: flows.causal_cone(flow, np.zeros(8)), "sites: expected booleans"),
        (lambda: flows.receptive_field(flow, 5), "level: expected one of"),
        (lambda: flows.receptive_field(flow, 0, (0, 9)), "index: expected an index"),
        (lambda: flows.traverse(flow, params, latents, 0, (0, 4), [1.0]), "index: expected an entry"),
        (lambda: flows.traverse(flow, params, latents, 0, (0,), [1.0]), "index: expected one number of each axis"),
        (lambda: flows.traverse(flow, params, latents, 0, (0, 0), 1.0), "values: expected one axis"),
        (lambda: flows.level_statistics({0: jnp.zeros((1, 2))}), "latents: expected at least two samples"),
    ):
        with pytest.raises(ValueError, match=message):
            fn()


def test_latents_of_any_flow_by_level():
    flow = flows.decimation_flow((4, 4), num_pairs=1, num_features=2)
    shapes, params = flows.latent_shapes(flow, (4, 4)), flow.init(jax.random.key(0))
    assert shapes == {0: (3, 2, 2), 1: (2, 2)}
    latents, _ = flows.gaussian(shapes).sample(jax.random.key(1), (), 3)
    one = {level: part[0] for level, part in latents.items()}
    strength = flows.sensitivity(flow, params, jax.tree.map(lambda part: part[None], one), 1, (0, 0))
    near, far = flows.traverse(flow, params, one, 1, (0, 0), one[1][0, 0] + jnp.array([-1e-2, 1e-2]))
    np.testing.assert_allclose(strength, np.abs(far - near) / 2e-2, rtol=2e-2, atol=2e-3)
    with pytest.raises(ValueError, match="with latents by level"):
        flows.latent_shapes(linear((2, 2)), (2, 2))
