import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import transforms


def subsets(n: int):
    return range(2**n)


def is_subset(small: int, large: int) -> bool:
    return small & large == small


@pytest.mark.parametrize("n", [0, 1, 3, 5])
def test_transforms_equal_their_defining_sums(n, x64):
    f = np.random.default_rng(n).normal(size=2**n)
    zeta = [sum(f[t] for t in subsets(n) if is_subset(t, s)) for s in subsets(n)]
    moebius = [sum((-1) ** (s ^ t).bit_count() * f[t] for t in subsets(n) if is_subset(t, s)) for s in subsets(n)]
    superset_zeta = [sum(f[t] for t in subsets(n) if is_subset(s, t)) for s in subsets(n)]
    products = np.array([[(-1) ** (s & ~state).bit_count() for state in subsets(n)] for s in subsets(n)])
    np.testing.assert_allclose(transforms.zeta(f), zeta, atol=1e-13)  # NumPy tables are taken too
    np.testing.assert_allclose(transforms.moebius(f), moebius, atol=1e-13)
    np.testing.assert_allclose(transforms.superset_zeta(jnp.asarray(f)), superset_zeta, atol=1e-13)
    np.testing.assert_allclose(transforms.walsh(jnp.asarray(f)), products @ f / 2**n, atol=1e-13)
    np.testing.assert_allclose(transforms.inverse_walsh(jnp.asarray(f)), products.T @ f, atol=1e-13)


def test_transforms_invert_each_other_along_the_last_axis(x64):
    f = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2**10)))
    np.testing.assert_allclose(transforms.moebius(transforms.zeta(f)), f, atol=1e-10)
    np.testing.assert_allclose(transforms.superset_moebius(transforms.superset_zeta(f)), f, atol=1e-10)
    np.testing.assert_allclose(transforms.inverse_walsh(transforms.walsh(f)), f, atol=1e-13)


@pytest.mark.parametrize("transform", transforms.BUTTERFLIES, ids=lambda transform: transform.__name__)
def test_tables_transformed_in_blocks_equal_the_plain_transform(transform, monkeypatch, x64):
    butterfly = transforms.BUTTERFLIES[transform]
    monkeypatch.setattr(transforms, "CPU_BLOCK_BYTES", 2**9)
    f = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2**9)))  # 8 rows of 64 entries, 4 panels of 16 columns
    blocked, plain = jax.jit(lambda f: (jax.vmap(transform)(f), transforms._plain(f, butterfly)))(f)
    np.testing.assert_array_equal(blocked, plain)
    if transform is transforms.walsh:  # all run the same loops
        np.testing.assert_array_equal(transform(f), plain)
        gradient = jax.jit(jax.grad(lambda x: jnp.vdot(transform(x), f[1])))(f[0])
        expected = jax.jit(jax.grad(lambda x: jnp.vdot(transforms._plain(x, butterfly), f[1])))(f[0])
        np.testing.assert_allclose(gradient, expected, atol=1e-11)
        np.testing.assert_allclose(jnp.vdot(gradient, f[0]), jnp.vdot(plain[0], f[1]), rtol=1e-10)


def test_a_large_table_is_transformed_in_place():
    table = jax.ShapeDtypeStruct((2**22,), jnp.float32)
    memory = jax.jit(transforms.moebius, donate_argnums=0).lower(table).compile().memory_analysis()
    assert memory.alias_size_in_bytes == 2**24
    assert memory.temp_size_in_bytes < 2**24


DEVICES_PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jaxrg import transforms
f = jnp.asarray(np.random.default_rng(0).normal(size=2**6), jnp.float32)
AXIS_TYPES = jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit
meshes = [jax.make_mesh((8,), ("subsets",), axis_types=(axis_type,)) for axis_type in AXIS_TYPES]
for transform, mesh in [(transform, meshes[0]) for transform in transforms.BUTTERFLIES] + [
    (transforms.zeta, mesh) for mesh in meshes[1:]
]:
    spread = jax.jit(lambda values: transforms.over_devices(transform, values, mesh, axis_name="subsets"))(f)
    np.testing.assert_allclose(spread, transform(f), atol=1e-4)
    assert len(spread.sharding.device_set) == 8
try:
    transforms.over_devices(transforms.zeta, f[:4], mesh, axis_name="subsets")
except ValueError as error:
    assert "expected a power of two of at most 4 devices, got 8" in str(error)
else:
    raise AssertionError("expected an error")
"""


def test_a_table_spread_over_eight_devices_has_the_same_transform():
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    subprocess.run([sys.executable, "-c", DEVICES_PROGRAM], env=environment, check=True)


def test_an_unknown_transform_is_not_spread():
    mesh = jax.make_mesh((1,), ("subsets",))
    with pytest.raises(ValueError, match=r"values: expected one table .* got shape \(2, 4\)"):
        transforms.over_devices(transforms.zeta, jnp.zeros((2, 4)), mesh, axis_name="subsets")
    with pytest.raises(ValueError, match=r"transform: expected one of zeta, moebius, .* got"):
        transforms.over_devices(jnp.sin, jnp.zeros(4), mesh, axis_name="subsets")


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_transforms_lower_for_every_platform(platform):
    table = jax.ShapeDtypeStruct((2**20,), jnp.float32)
    exported = jax.export.export(jax.jit(transforms.moebius), platforms=[platform])(table)
    assert exported.platforms == (platform,)


def test_a_table_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"expected a last axis of length 2\*\*n, got 6"):
        transforms.zeta(jnp.zeros(6))


@pytest.mark.parametrize("transform", [transforms.walsh, transforms.zeta])
@pytest.mark.parametrize("dtype", [jnp.bool_, jnp.int8, jnp.uint32, jnp.int32, jnp.float16])
def test_numbers_of_any_type_are_transformed_without_wrapping(transform, dtype):
    table = np.array([1, 1, 0, 1] if dtype == jnp.bool_ else [100, 100, 7, 90])
    signs = np.array([[(-1) ** (s & ~state).bit_count() for state in range(4)] for s in range(4)])
    walsh = signs @ table / 4
    zeta = [table[0], table[0] + table[1], table[0] + table[2], table.sum()]
    found = transform(jnp.asarray(table, dtype))
    np.testing.assert_array_equal(found, walsh if transform is transforms.walsh else zeta)
    is_exact = transform is transforms.zeta and dtype == jnp.int32
    assert found.dtype == (jnp.int32 if is_exact else jnp.float32)
    np.testing.assert_array_equal(transform(table.tolist()), found)


def test_one_number_is_no_table():
    for call in (transforms.num_bits, transforms.walsh):
        with pytest.raises(ValueError, match=r"values: expected a table with a last axis of length .* got one number"):
            call(3.0)
    assert transforms.num_bits([[0.0, 1.0], [2.0, 3.0]]) == 1
    with pytest.raises(ValueError, match=r"values: expected real numbers, got '0.5'"):
        transforms.moebius("0.5")


def test_integers_wide_enough_are_exact():
    counts = jnp.asarray([1, 2, 3, 2**30], jnp.int32)
    np.testing.assert_array_equal(transforms.moebius(transforms.zeta(counts)), counts)


def test_gradients_pass_through(x64):
    f = jnp.asarray(np.random.default_rng(1).normal(size=8))
    for transform in (transforms.zeta, transforms.moebius, transforms.walsh, transforms.inverse_walsh):
        matrix = jax.jacobian(transform)(f)
        np.testing.assert_allclose(matrix @ f, transform(f), atol=1e-13)
