import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models

KC = exact.critical_coupling

# sides, boundaries, couplings along each axis, field
RECTANGLES = {
    "torus_3x5_field": ((3, 5), True, (0.3, 0.5), 0.2),
    "torus_2x6": ((2, 6), True, (0.4, -0.6), 0.1),
    "open_2x6": ((2, 6), False, (0.4, 0.7), -0.3),
    "open_1x4": ((1, 4), False, (0.9, 0.6), 0.2),
    "cylinder_2x5": ((2, 5), (True, False), (-0.5, 0.4), 0.0),
    "single_site": ((1, 1), False, (0.4, 0.4), 0.7),
}


@pytest.mark.parametrize("name", RECTANGLES)
def test_agrees_with_enumeration_in_value_and_gradient(x64, name):
    shape, periodic, couplings, field = RECTANGLES[name]
    geometry = lattice.hypercubic(shape, periodic=periodic)

    def enumerated(couplings, field):
        return exact.log_partition(models.Ising(geometry, couplings, field).hamiltonian, shape)

    def transferred(couplings, field):
        return exact.strip_log_partition(couplings, shape, field=field, periodic=periodic)

    arguments = jnp.array(couplings), jnp.array(field)
    (got, got_slopes), (expected, expected_slopes) = (
        jax.jit(jax.value_and_grad(fn, (0, 1)))(*arguments) for fn in (transferred, enumerated)
    )
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), got_slopes, expected_slopes)


def test_agrees_with_kaufmans_torus(x64):
    torus, strip = (jax.jit(fn, static_argnums=1) for fn in (exact.torus_log_partition, exact.strip_log_partition))
    for shape, coupling in {(8, 8): KC, (7, 33): 0.8, (6, 4): -0.5}.items():
        np.testing.assert_allclose(strip(coupling, shape), torus(coupling, shape), rtol=1e-13)

    def specific_heat(coupling):
        curvature = jax.grad(jax.grad(lambda k: exact.strip_log_partition(k, (8, 8))))(coupling)
        return coupling**2 * curvature / 64

    np.testing.assert_allclose(jax.jit(specific_heat)(KC), 1.145559239894409, rtol=1e-11)


def test_long_strips_and_strong_couplings_do_not_overflow(x64):
    closed = jax.jit(lambda coupling: exact.strip_log_partition(coupling, (999, 4)))(40.0)
    np.testing.assert_allclose(closed / 3996, 80 + np.log(2) / 3996, rtol=1e-14)
    opened = jax.jit(lambda coupling: exact.strip_log_partition(coupling, (999, 4), periodic=(False, True)))(40.0)
    np.testing.assert_allclose(opened, 40.0 * (4 * 999 + 4 * 998) + np.log(2), rtol=1e-14)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="width: expected at most 12 sites, got 13"):
        exact.strip_log_partition(0.4, (13, 13))
    with pytest.raises(ValueError, match="shape: expected an integer >= 2, got 1"):
        exact.strip_log_partition(0.4, (1, 4))
    with pytest.raises(ValueError, match="shape: expected 2 sides"):
        exact.strip_log_partition(0.4, (2, 2, 2))
    with pytest.raises(ValueError, match=r"field: expected shape \(\), got \(2,\)"):
        exact.strip_log_partition(0.4, (2, 2), field=jnp.ones(2))


@pytest.mark.parametrize(
    "fn",
    [
        lambda k: exact.strip_log_partition(k, (5, 3), field=k),
        lambda k: exact.strip_correlation_length(k, 3),
        lambda k: exact.torus_specific_heat(k, (6, 4)),
        exact.onsager_specific_heat,
        exact.yang_magnetization,
        lambda k: exact.chain_log_partition(k, k, 5),
        jax.grad(lambda k: exact.log_partition(lambda s: k * s[0].astype(jnp.float32), (3,))),
        lambda k: exact.expectation(lambda s: k * s[0].astype(jnp.float32), lambda s: s, (3,)),
        lambda k: exact.coarse_grain(
            lambda s: k * s[0].astype(jnp.float32), (2,), lambda h, s: k * (h[0] * s[0]).astype(jnp.float32), (1,)
        ),
    ],
)
def test_everything_lowers_for_every_platform(fn):
    exported = jax.export.export(jax.jit(fn), platforms=["cpu", "cuda", "tpu"])(jax.ShapeDtypeStruct((), jnp.float32))
    assert exported.platforms == ("cpu", "cuda", "tpu")
