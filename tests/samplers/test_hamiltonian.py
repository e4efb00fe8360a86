"""The leapfrog and HMC: reversible, of Jacobian one, in balance by quadrature; then against closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers, stats
from jaxrg.base import Status
from jaxrg.samplers import hamiltonian
from jaxrg.samplers.kinetic import _filtered, as_kinetic

KEY = jax.random.key(1)
PAIR = lattice.hypercubic((2,), periodic=False)
SITE = lattice.hypercubic((1,), periodic=False)


@jax.jit
def travel(model, step_size, num_leapfrog, field, momentum):
    return hamiltonian.leapfrog(model.action, step_size, num_leapfrog, field, momentum)


def test_the_leapfrog_is_reversible_and_keeps_volume(x64):
    model = models.Phi4(PAIR, jnp.float64(-1.0), jnp.float64(0.8))
    field, momentum = jnp.array([0.7, -0.4]), jnp.array([0.3, 1.1])
    there = travel(model, jnp.float64(0.25), 7, field, momentum)
    back = travel(model, jnp.float64(0.25), 7, there.field, -there.momentum)
    np.testing.assert_allclose(back.field, field, atol=1e-13)
    np.testing.assert_allclose(back.momentum, -momentum, atol=1e-13)
    assert float(jnp.linalg.norm(there.field - field)) > 0.1
    np.testing.assert_allclose(there.start_action, model.action(field), rtol=1e-14)
    np.testing.assert_allclose(there.end_action, model.action(there.field), rtol=1e-14)

    def flow(point):
        end = hamiltonian.leapfrog(model.action, jnp.float64(0.25), 7, point[:2], point[2:])
        return jnp.concatenate([end.field, end.momentum])

    jacobian = jax.jit(jax.jacfwd(flow))(jnp.concatenate([field, momentum]))
    np.testing.assert_allclose(jnp.linalg.det(jacobian), 1, atol=1e-12)
    assert float(jnp.max(jnp.abs(jacobian - jnp.eye(4)))) > 0.5


def test_the_leapfrog_is_the_plain_one_of_second_order(x64):
    model = models.Phi4(SITE, jnp.float64(0.5), jnp.float64(0.3))

    def plain(x, p, step, count):
        force = lambda x: -(2 * 0.5 * x + 4 * 0.3 * x**3)  # noqa: E731
        for _ in range(count):
            p += 0.5 * step * force(x)
            x += step * p
            p += 0.5 * step * force(x)
        return x, p

    found = travel(model, jnp.float64(0.2), 5, jnp.array([0.9]), jnp.array([-0.4]))
    np.testing.assert_allclose([found.field[0], found.momentum[0]], plain(0.9, -0.4, 0.2, 5), rtol=1e-13)
    changes = []
    for count in (8, 16):
        end = travel(model, jnp.float64(1.6 / count), count, jnp.array([0.9]), jnp.array([-0.4]))
        changes.append(abs(float(hamiltonian.energy_change(jnp.array([-0.4]), end))))
    assert 3.5 < changes[0] / changes[1] < 4.6


def test_detailed_balance_by_quadrature(x64):
    """Of one site, in the weak form: sum of pi(x) N(p) a(x, p) f(x) g(y) is symmetric in f and g, and pi P = pi."""
    model = models.Phi4(SITE, jnp.float64(-1.0), jnp.float64(0.5))
    points = np.linspace(-6, 6, 601)
    x, p = (jnp.asarray(part.reshape(-1, 1)) for part in np.meshgrid(points[130:471], points, indexing="ij"))

    @jax.jit
    @jax.vmap
    def proposal(x, p):
        end = hamiltonian.leapfrog(model.action, jnp.float64(0.45), 3, x, p)
        change = hamiltonian.energy_change(p, end)
        return end.field, jnp.exp(-end.start_action - 0.5 * p[0] ** 2), change

    y, weight, change = proposal(x, p)
    accept = np.asarray(hamiltonian.metropolis_acceptance(change))
    x, y, weight = np.asarray(x)[:, 0], np.asarray(y)[:, 0], np.asarray(weight)
    weight = weight / weight.sum()
    assert 0.5 < np.average(accept, weights=weight) < 0.98
    f, g = np.tanh, np.square
    np.testing.assert_allclose(
        np.sum(weight * accept * f(x) * (y > 0.5)), np.sum(weight * accept * f(y) * (x > 0.5)), atol=2e-3
    )
    np.testing.assert_allclose(
        np.sum(weight * accept * np.cos(x) * g(y)), np.sum(weight * accept * np.cos(y) * g(x)), atol=2e-5
    )
    drift = np.sum(weight * accept * (g(y) - g(x)))
    control = np.sum(weight * (g(y) - g(x)))  # what all accepted would do
    assert abs(drift) < 2e-5
    assert abs(control) > 1e-2


MARGIN = 30  # of the first samples


def scores(sampler, observe, exact, num_steps=1500):
    run = samplers.run(KEY, sampler, sampler.init(jax.random.key(0)), num_steps, observe=observe)
    found = stats.summary(run.trace[:, MARGIN:])
    return (np.asarray(found.mean) - exact) / np.asarray(found.error), run


def moments(field):
    return jnp.stack([jnp.sum(field), jnp.sum(field**2), jnp.prod(field)])


def pair_moments(mass_squared, quartic):
    points = np.linspace(-5, 5, 801)
    x, y = np.meshgrid(points, points, indexing="ij")
    action = (x - y) ** 2 + mass_squared * (x**2 + y**2) + quartic * (x**4 + y**4)
    weight = np.exp(-action)
    return [np.average(values, weights=weight) for values in (x + y, x**2 + y**2, x * y)]


@pytest.mark.slow
def test_two_sites_have_the_moments_of_the_quadrature():
    model = models.Phi4(PAIR, -0.5, 0.4)
    chain = samplers.replicas(samplers.hmc(model, 0.35, 3), 16)
    found, run = scores(chain, moments, pair_moments(-0.5, 0.4))
    assert np.all(np.abs(found) < 5)
    change = np.asarray(run.info.energy_change)[:, MARGIN:]
    unit = np.exp(-change)
    assert abs(unit.mean() - 1) < 5 * unit.std() / np.sqrt(unit.size / 4)  # Creutz's equality
    assert 0.5 < np.mean(run.info.acceptance) < 0.99
    np.testing.assert_allclose(np.mean(run.info.is_accepted), np.mean(run.info.acceptance), atol=0.01)


@pytest.mark.parametrize("geometry", [lattice.hypercubic((4, 3)), lattice.triangular((3, 5))], ids=["square", "bent"])
def test_modes_of_a_free_field_move_at_one_pace_with_masses_of_their_own(x64, geometry):
    """Masses as the stiffness: all frequencies are one, and four steps of this size are half a period of every mode."""
    model = models.Phi4(geometry, jnp.float64(0.3), jnp.float64(0.0))
    kinetic = as_kinetic(2 * (lattice.laplacian_eigenvalues(geometry) + 0.3), jnp.zeros(geometry.shape))
    field = jax.random.normal(KEY, geometry.shape, jnp.float64)
    momentum = kinetic.momentum(jax.random.key(2), field)
    step_size = jnp.sqrt(2 - 2 * jnp.cos(jnp.pi / 4))
    end = hamiltonian.leapfrog(model.action, step_size, 4, field, momentum, kinetic.velocity)
    np.testing.assert_allclose(end.field, -field, atol=1e-13)
    np.testing.assert_allclose(hamiltonian.energy_change(momentum, end, kinetic.velocity), 0, atol=1e-12)
    assert float(jnp.max(jnp.abs(end.field + field))) < 1e-3 * float(
        jnp.max(jnp.abs(travelled(model, field, momentum)))
    )


def travelled(model, field, momentum):
    """How far from its mirror image the field is without masses."""
    return travel(model, jnp.float64(0.765), 4, field, momentum).field + field


def test_momenta_have_the_covariance_of_their_masses(x64):
    """Of each component of a field of two, along odd and even sides, as a whole matrix."""
    masses = np.random.default_rng(0).uniform(0.5, 2.0, (3, 4))
    masses += np.roll(np.flip(masses), 1, (0, 1))
    kinetic = as_kinetic(masses, jnp.zeros((3, 4, 2)))
    unit = jnp.eye(24, dtype=jnp.float64).reshape(24, 3, 4, 2)
    inverse = jax.vmap(kinetic.velocity)(unit).reshape(24, 24)
    root = jax.vmap(lambda wave: _filtered(jnp.sqrt(masses), wave))(unit).reshape(24, 24)
    np.testing.assert_allclose(inverse @ (root @ root.T), np.eye(24), atol=1e-12)
    np.testing.assert_allclose(inverse, inverse.T, atol=1e-12)
    draws = jax.vmap(kinetic.momentum, (0, None))(jax.random.split(KEY, 20_000), unit[0]).reshape(-1, 24)
    found = np.cov(draws.T) - root @ root.T
    assert np.abs(found).max() < 5 * np.sqrt(2) * masses.max() / np.sqrt(20_000)


@pytest.mark.slow
@pytest.mark.parametrize("is_accelerated", [False, True])
def test_a_free_field_has_its_propagator(is_accelerated):
    grid, mass_squared = lattice.hypercubic((6, 6)), 0.4
    model = models.Phi4(grid, mass_squared, 0.0)
    mass = lattice.laplacian_eigenvalues(grid) + 0.6
    sampler = samplers.hmc(model, 0.31, 4, mass=mass) if is_accelerated else samplers.hmc(model, 0.17, 9)
    chain = samplers.replicas(sampler, 8)

    def spectrum(field):
        return jnp.abs(jnp.fft.rfft2(field))[:, :3] ** 2 / 36

    k = 2 * np.pi * np.arange(6) / 6
    expected = 0.5 / (mass_squared + 4 * np.sin(k / 2)[:, None] ** 2 + 4 * np.sin(k[:3] / 2)[None, :] ** 2)
    found, _ = scores(chain, spectrum, expected, 2000)
    assert np.all(np.abs(found) < 5)
    assert 0.4 < np.mean(found**2) < 2.5


@pytest.mark.slow
def test_long_waves_are_not_slow_with_masses_of_their_own():
    """A field of correlation length 10 on 16 x 16 sites, trajectories of five steps at about one acceptance."""
    grid, mass_squared = lattice.hypercubic((16, 16)), 0.01
    model = models.Phi4(grid, mass_squared, 0.0)
    mass = lattice.laplacian_eigenvalues(grid) + mass_squared

    def slowness(sampler):
        chain = samplers.replicas(sampler, 8)
        run = samplers.run(KEY, chain, chain.init(KEY), 3000, observe=lambda field: jnp.mean(field) ** 2)
        found = stats.summary(run.trace[:, 200:])
        score = (float(found.mean) - 1 / (2 * mass_squared * grid.num_sites)) / float(found.error)
        return float(found.tau_int), float(jnp.mean(run.info.acceptance)), score

    plain, accelerated = slowness(samplers.hmc(model, 0.2, 5)), slowness(samplers.hmc(model, 0.25, 5, mass=mass))
    assert min(plain[1], accelerated[1]) > 0.6
    assert max(abs(plain[2]), abs(accelerated[2])) < 5
    assert plain[0] > 10 * accelerated[0]


@pytest.mark.slow
def test_a_tree_with_a_bare_action():
    """A product of two normal distributions with covariances of their own, one leaf each."""
    widths = {"coarse": jnp.float32(0.5), "fine": jnp.array([1.0, 2.0])}

    def action(tree):
        terms = jax.tree.map(lambda x, width: 0.5 * jnp.sum((x / width) ** 2), tree, widths)
        return terms["coarse"] + terms["fine"]

    start = {"coarse": 0.1, "fine": np.zeros(2)}
    chain = samplers.replicas(samplers.hmc(action, 0.45, 4, start=start), 4)
    found, run = scores(chain, lambda tree: jnp.append(tree["fine"] ** 2, tree["coarse"] ** 2), [1.0, 4.0, 0.25])
    assert np.all(np.abs(found) < 5)
    assert run.state.field["fine"].shape == (4, 2)
    spread = {"coarse": np.arange(4.0), "fine": np.zeros((4, 2))}
    assert chain.init(KEY, spread).field["coarse"].tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="field: expected a tree"):
        chain.init(KEY, {"coarse": 0.1})


def test_masses_and_step_sizes_inside_a_transformation():
    """Where they cannot be seen: the masses of k and -k are taken to be their mean, and NaN is told."""
    model = models.Phi4(lattice.hypercubic((3, 4)), 0.5, 0.1)
    mass = np.random.default_rng(0).uniform(0.5, 2.0, (3, 4)).astype(np.float32)
    mean = (mass + np.roll(np.flip(mass), 1, (0, 1))) / 2

    @jax.jit
    def step(mass, step_size):
        sampler = samplers.hmc(model, step_size, 3, mass=mass)
        return sampler.step(KEY, sampler.init(KEY))

    found, info = step(mass, 0.2)
    expected, _ = step(mean, 0.2)
    np.testing.assert_allclose(found.field, expected.field, atol=1e-5)
    assert (int(info.status[0]), int(step(mean, jnp.nan)[1].status[0])) == (0, Status.NOT_FINITE)


def test_what_diverges_is_rejected_and_what_is_not_finite_is_told():
    model = models.Phi4(lattice.hypercubic((4, 4)), -4.0, 6.0)
    chain = samplers.hmc(model, 3.0, 10)
    start = chain.init(KEY, np.full((4, 4), 2.0))
    state, info = chain.step(KEY, start)
    assert not np.isfinite(info.energy_change[0])
    assert (float(info.acceptance[0]), bool(info.is_accepted[0]), int(info.status[0])) == (0, False, 0)
    np.testing.assert_array_equal(state.field, start.field)

    def with_hole(field):
        return jnp.sqrt(jnp.sum(field**2))  # whose gradient at zero is NaN

    broken = samplers.hmc(with_hole, 0.1, 2, start=np.zeros(3))
    _, info = broken.step(KEY, broken.init(KEY))
    assert int(info.status[0]) == Status.NOT_FINITE
    with pytest.raises(FloatingPointError, match="run: a NaN or infinite number at or before step"):
        samplers.run(KEY, broken, broken.init(KEY), 2)


@pytest.mark.slow
def test_step_sizes_are_tuned_to_the_acceptance_wanted():
    model = models.Phi4(lattice.hypercubic((4, 4)), -4.0, 6.008)
    make = functools.partial(make_replicas, model)
    found = samplers.tune_step_size(KEY, make, make(1.0).init(KEY), 1.0, 150, target_acceptance=0.7)
    chain = make(found.step_size)
    run = samplers.run(jax.random.key(3), chain, found.state, 200)
    assert 0.6 < float(jnp.mean(run.info.acceptance)) < 0.8
    assert 0.55 < float(found.acceptance) < 0.85
    assert int(found.state.step) == 150
    programs = hamiltonian._tune._cache_size()
    broken = found.state._replace(field=found.state.field.at[0].set(jnp.nan))
    assert np.isnan(samplers.tune_step_size(KEY, make, broken, 0.3, 20).step_size)
    assert hamiltonian._tune._cache_size() == programs


def make_replicas(model, step_size):
    return samplers.replicas(samplers.hmc(model, step_size, 4), 4)


REFUSED = [
    (lambda phi4: samplers.hmc(phi4, 0.0, 5), "step_size: expected a number between 0"),
    (lambda phi4: samplers.hmc(phi4, [0.1, 0.2], 5), "step_size: expected one number"),
    (lambda phi4: samplers.hmc(phi4, 0.1, 0), "num_leapfrog: expected an integer >= 1"),
    (lambda phi4: samplers.hmc(phi4.action, 0.1, 5), "start: expected a configuration"),
    (lambda phi4: samplers.hmc(3, 0.1, 5), "model: expected a function of one configuration, or a FieldModel"),
    (lambda phi4: samplers.hmc(models.Phi4, 0.1, 5), "model: expected"),
    (lambda phi4: samplers.hmc(jnp.square, 0.1, 5, start=np.zeros(3)), "model: expected a floating scalar"),
    (lambda phi4: samplers.hmc(jnp.sum, 0.1, 5, start=[np.nan]), "start: expected finite values"),
    (lambda phi4: samplers.hmc(jnp.sum, 0.1, 5, start={}), "start: expected a tree of arrays"),
    (lambda phi4: samplers.hmc(phi4, 0.1, 5, start=np.zeros(3)), "start: expected shape"),
    (lambda phi4: samplers.hmc(phi4, 0.1, 5, mass=1.0), "mass: expected the leading sides"),
    (lambda phi4: samplers.hmc(phi4, 0.1, 5, mass=np.zeros(phi4.shape)), "mass: expected finite positive"),
    (lambda phi4: samplers.hmc(jnp.sum, 0.1, 5, start=np.zeros(3), mass=[1, 2, 3]), "mass: expected the same mass"),
    (
        lambda phi4: samplers.hmc(lambda tree: jnp.sum(tree[0]), 0.1, 5, start=[np.zeros(3)], mass=np.ones(3)),
        "mass: expected None",
    ),
    (
        lambda phi4: samplers.tune_step_size(KEY, lambda size: 3, None, 0.1, 5),
        "make: expected a Sampler",
    ),
    (
        lambda phi4: samplers.tune_step_size(KEY, samplers.hmc, None, 0.1, 5, target_acceptance=1.0),
        "target_acceptance: expected a number between 0",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_makes_no_sampler_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(models.Phi4(PAIR, 1.0, 1.0))
