"""Schemes against finite tori, Onsager, duality, and their own finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact
from jaxrg.rg import tensor as networks

SCHEMES = {"trg": networks.trg, "btrg": networks.btrg, "hotrg": networks.hotrg}
CRITICAL = exact.critical_coupling
COUPLING = 0.42

pytestmark = pytest.mark.usefixtures("x64")


def value(name, coupling):
    """ln Z per site at χ = 8 of a torus of 2^30 spins."""
    return SCHEMES[name](networks.ising_tensor(coupling), 8, 30).log_partition[-1]


@functools.partial(jax.jit, static_argnums=0)
def jet(name, coupling):
    """ln Z per site with its first and second derivative, forward."""
    first = lambda k: jax.jvp(functools.partial(value, name), (k,), (jnp.ones_like(k),))  # noqa: E731
    (found, slope), (_, curvature) = jax.jvp(first, (coupling,), (jnp.ones_like(coupling),))
    return jnp.stack([found, slope, curvature])


compiled = jax.jit(value, static_argnums=0)


def log_partition(name, coupling):
    return compiled(name, jnp.float64(coupling))


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize(("coupling", "field"), [(0.3, 0.2), ([0.3, 0.5], 0.2), (-0.3, 0.1)])
def test_torus_of_four_spins(name, coupling, field):
    tensor = networks.ising_tensor(coupling, field=field)
    flow = SCHEMES[name](tensor, 16 if name != "hotrg" else 4, 2)
    expected = exact.strip_log_partition(coupling, (2, 2), field=field)
    np.testing.assert_allclose(4 * flow.log_partition[-1], expected, rtol=1e-13)
    assert float(flow.truncation.max()) < 1e-7
    np.testing.assert_allclose(networks.free_energy(flow.tensor), flow.log_partition[-1], rtol=1e-13)
    assert float(flow.tensor.num_sites) == 4


def test_torus_of_sixteen_spins():
    flow = networks.hotrg(networks.ising_tensor(COUPLING), 16, 4)
    np.testing.assert_allclose(16 * flow.log_partition[-1], exact.torus_log_partition(COUPLING, (4, 4)), rtol=1e-13)


@pytest.mark.parametrize(("name", "published"), [("trg", 6.91e-5), ("btrg", 1.06e-5), ("hotrg", 1.36e-5)])
def test_error_of_the_free_energy_at_the_critical_point(name, published):
    truth = exact.onsager_free_energy(jnp.float64(CRITICAL))
    assert float(abs(log_partition(name, CRITICAL) / truth - 1)) == pytest.approx(published, rel=0.05)


@pytest.mark.parametrize("name", SCHEMES)
def test_duality(name):
    dual = 0.5 * np.arcsinh(1 / np.sinh(2 * COUPLING))
    values = [log_partition(name, k) - 0.5 * np.log(np.sinh(2 * k)) for k in (COUPLING, dual)]
    assert abs(float(values[0] - values[1])) < 2e-4


ONE_BY_DEFAULT = ["btrg", *(pytest.param(name, marks=pytest.mark.slow) for name in ("trg", "hotrg"))]


@pytest.mark.parametrize("name", ONE_BY_DEFAULT)
def test_first_and_second_derivative(name):
    """Against finite differences of what is differentiated, and against Onsager as far as χ = 8 goes."""
    step = 1e-4
    before, found, after = (np.asarray(jet(name, jnp.float64(COUPLING + shift))) for shift in (-step, 0, step))
    np.testing.assert_allclose(found[1:], (after - before)[:2] / (2 * step), rtol=1e-5)
    exact_values = -exact.onsager_energy(COUPLING), exact.onsager_specific_heat(COUPLING) / COUPLING**2
    np.testing.assert_allclose(found[1:], exact_values, rtol=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMES)
def test_reverse_mode(name):
    backward = jax.jit(jax.grad(functools.partial(value, name)))(COUPLING)
    np.testing.assert_allclose(backward, jet(name, jnp.float64(COUPLING))[1], rtol=1e-9)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def magnetizations(name, chi, num_steps, coupling, field):
    """The derivative of ln Z by the field, after every step."""
    of_field = lambda h: getattr(networks, name)(networks.ising_tensor(coupling, field=h), chi, num_steps)  # noqa: E731
    return jax.jvp(lambda h: of_field(h).log_partition, (field,), (jnp.ones_like(field),))[1]


@pytest.mark.parametrize(
    ("name", "chi", "tolerance"),
    [
        ("btrg", 8, 2e-4),
        pytest.param("btrg", 24, 3e-7, marks=pytest.mark.slow),
        pytest.param("trg", 8, 3e-4, marks=pytest.mark.slow),
        pytest.param("hotrg", 8, 2e-4, marks=pytest.mark.slow),
        pytest.param("loop_tnr", 4, 5e-4, marks=pytest.mark.slow),
    ],
)
def test_magnetization_by_the_derivative_in_a_field(name, chi, tolerance):
    """Against Yang's below the critical temperature; above it is h times the susceptibility."""
    ordered, disordered = (
        np.asarray(magnetizations(name, chi, 30, jnp.float64(coupling), jnp.float64(1e-7))) for coupling in (0.5, 0.4)
    )
    # h M N: of 2^16 spins 0.006, both directions are as likely; of 2^30 spins 100, the torus is aligned.
    assert ordered[15] < 0.02
    np.testing.assert_allclose(ordered[-1], exact.yang_magnetization(0.5), rtol=tolerance)
    assert 0 < disordered[-1] < 1e-5


def test_gauge_of_the_legs_does_not_matter():
    tensor = networks.ising_tensor(COUPLING, field=0.1)
    turn = jnp.asarray([[np.cos(0.7), np.sin(0.7)], [-np.sin(0.7), np.cos(0.7)]])
    turned = jnp.einsum("abcd,ax,cz,by,dw->xyzw", tensor.entries, turn, turn, turn, turn)
    for scheme in SCHEMES.values():
        values = [scheme(tensor._replace(entries=each), 6, 10).log_partition for each in (tensor.entries, turned)]
        np.testing.assert_allclose(*values, rtol=1e-10)


def test_potts_of_two_states_is_ising():
    flow = networks.trg(networks.potts_tensor(2, 2 * COUPLING), 8, 30)
    np.testing.assert_allclose(flow.log_partition[-1] - 2 * COUPLING, log_partition("trg", COUPLING), rtol=1e-9)


def test_two_spins_of_a_cubic_lattice():
    """A step joins along the last axis; bonds along the others close on a spin itself."""
    flow = networks.hotrg(networks.ising_tensor(np.array([0.3, 0.4, 0.2]), ndim=3), 4, 1)
    expected = 2 * (0.3 + 0.4) + np.log(4 * np.cosh(2 * 0.2))
    np.testing.assert_allclose(2 * flow.log_partition[-1], expected, rtol=1e-13)


def test_cubic_lattice_at_high_temperature():
    """ln 2 + Σ ln cosh K + Σ over pairs of axes tanh² tanh², up to the sixth power."""
    couplings = np.array([0.1, 0.12, 0.07])
    flow = networks.hotrg(networks.ising_tensor(couplings, ndim=3), 5, 24)
    squares = np.tanh(couplings) ** 2
    plaquettes = (squares.sum() ** 2 - (squares**2).sum()) / 2
    expected = np.log(2) + np.log(np.cosh(couplings)).sum() + plaquettes
    assert abs(float(flow.log_partition[-1]) - expected) < 0.1 * plaquettes


def test_single_precision_and_observation():
    with jax.enable_x64(False):
        flow = networks.btrg(networks.ising_tensor(CRITICAL), 8, 20, observe=lambda tensor: tensor.num_sites)
        assert flow.log_partition.dtype == jnp.float32
        np.testing.assert_allclose(flow.log_partition[-1], exact.onsager_free_energy(CRITICAL), rtol=3e-5)
        np.testing.assert_array_equal(flow.observed, 2.0 ** np.arange(1, 21))


def test_what_is_refused():
    tensor = networks.ising_tensor(0.4)
    with pytest.raises(ValueError, match=r"tensor.num_sites: expected how many spins"):
        networks.trg(networks.Tensor(tensor.entries), 4, 2)
    with pytest.raises(ValueError, match="tensor: expected a Tensor"):
        networks.btrg(tensor.entries, 4, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"chi: expected a step with legs of 300 within .* bytes"):
        networks.trg(tensor, 300, 2)
    with pytest.raises(ValueError, match="chi: expected a step with legs of 16"):
        networks.hotrg(networks.ising_tensor(0.4, ndim=3), 16, 2)
    with pytest.raises(ValueError, match="expected 4 legs"):
        networks.trg(networks.ising_tensor(0.4, ndim=3), 4, 2)
    with pytest.raises(ValueError, match="opposite legs"):
        networks.trg(networks.Tensor(jnp.ones((2, 2, 3, 2)), num_sites=1), 4, 2)


def test_bonds_without_symmetry_are_taken_as_they_are():
    """Chiral spins on a torus of three by one with weights of their own, which tell left from right."""
    random = np.random.default_rng(0)
    bonds, sites = random.uniform(0.2, 2, (3, 3)), random.uniform(0.5, 1.5, (3, 3))

    def exactly(matrix):
        along = [(weights * np.diag(matrix))[:, None] * matrix for weights in sites]
        return np.trace(np.linalg.multi_dot(along))

    tensors = [networks.spin_tensor(bonds, weights) for weights in sites]
    rows = [np.trace(each.entries, axis1=1, axis2=3) * np.exp(each.log_factor) for each in tensors]
    np.testing.assert_allclose(np.trace(np.linalg.multi_dot(rows)), exactly(bonds), rtol=1e-12)
    for other in (bonds.T, (bonds + bonds.T) / 2):
        assert abs(exactly(other) / exactly(bonds) - 1) > 1e-3


@pytest.mark.parametrize("scheme", SCHEMES.values())
def test_entries_that_say_nothing_are_refused(scheme):
    for bad in (jnp.full((2,) * 4, jnp.nan), jnp.zeros((2,) * 4)):
        with pytest.raises(ValueError, match=r"tensor.entries: expected finite numbers, not all 0, got a largest size"):
            scheme(networks.Tensor(bad, 0.0, 1.0), 2, 2)
    with pytest.raises(ValueError, match=r"tensor.num_sites: expected a number between 0 and inf, got 0"):
        scheme(networks.Tensor(jnp.ones((2,) * 4), 0.0, 0.0), 2, 2)
