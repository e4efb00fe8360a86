import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jaxrg import exact, lattice, models, rg, samplers

NAMES = ["field", "nearest_neighbour", "next_nearest_neighbour", "corner", "plaquette"]
COUPLINGS = jnp.array([0.1, 0.3, -0.1, 0.05, 0.2])


@pytest.mark.parametrize("geometry", [lattice.hypercubic((3, 4)), lattice.hypercubic((3, 4), periodic=False)])
def test_projection_recovers_the_couplings_of_a_table(geometry, x64):
    basis = lattice.standard_operators(geometry, NAMES)
    table = exact.energies(models.OperatorModel(basis, COUPLINGS).hamiltonian, geometry.shape)
    result = rg.project(table + 7, basis)
    np.testing.assert_allclose(result.couplings, COUPLINGS, atol=1e-7)
    np.testing.assert_allclose(result.constant, 7, atol=1e-6)
    assert result.residual < 1e-6


def test_projection_is_the_least_squares_fit_and_reports_the_rest(x64):
    geometry = lattice.hypercubic((3, 3), periodic=False)
    whole, part = (lattice.standard_operators(geometry, names) for names in (NAMES, NAMES[:2]))
    table = exact.energies(models.OperatorModel(whole, COUPLINGS).hamiltonian, (3, 3))
    states = jnp.asarray(np.unravel_index(np.arange(512), (2,) * 9)).T[:, ::-1].reshape(-1, 3, 3) * 2 - 1
    design = np.column_stack(
        [np.ones(512), -np.asarray(jax.jit(jax.vmap(lambda s: lattice.evaluate(part, s)))(states))]
    )
    solution, rest, *_ = np.linalg.lstsq(design, np.asarray(table), rcond=None)
    result = rg.project(table, part)
    np.testing.assert_allclose(result.couplings, solution[1:], atol=1e-6)
    np.testing.assert_allclose(result.residual, np.sqrt(rest[0] / 512), atol=1e-6)


def test_projection_refuses_tables_and_bases_that_do_not_fit():
    geometry = lattice.hypercubic((3, 3))
    with pytest.raises(ValueError, match=r"table: expected 2\*\*9 states"):
        rg.project(jnp.zeros(2**8), lattice.standard_operators(geometry, NAMES))
    with pytest.raises(ValueError, match="table: expected finite energies"):
        rg.project(jnp.full(2**9, jnp.inf), lattice.standard_operators(geometry, NAMES))
    twice = lattice.hypercubic((2, 2))
    same = lattice.operators(twice, {"diagonal": [(0, 0), (1, 1)], "triple_diagonal": [(0, 0), (3, 1)]})
    with pytest.raises(ValueError, match="operators: expected independent ones"):
        rg.project(jnp.zeros(2**4), same)


def test_pseudo_likelihood_is_exact_on_the_whole_distribution():
    """Every state of a small lattice, as often as its weight says: the couplings come back, far within their errors."""
    geometry = lattice.hypercubic((3, 3), periodic=False)
    basis = lattice.standard_operators(geometry, NAMES[:3])
    truth = jnp.array([0.2, 0.3, -0.1])
    table = np.asarray(exact.energies(models.OperatorModel(basis, truth).hamiltonian, (3, 3)))
    p = np.exp(-table) / np.exp(-table).sum()
    counts = np.round(p * 40_000).astype(int)
    index = np.random.default_rng(0).permutation(np.repeat(np.arange(512), counts))
    spins = jnp.asarray((((index[:, None] >> np.arange(9)) & 1) * 2 - 1).astype(np.int8)).reshape(-1, 3, 3)
    result = rg.pseudo_likelihood_couplings(spins, basis)
    np.testing.assert_allclose(result.couplings, truth, atol=2e-3)
    assert np.all(np.asarray(result.errors) < 0.02)
    assert result.gradient_norm < 1e-5


@pytest.mark.slow
def test_pseudo_likelihood_errors_are_honest():
    """Pulls of the couplings over 32 independent chains have unit variance."""
    geometry = lattice.hypercubic((16, 16))
    basis = lattice.standard_operators(geometry)
    truth = np.array([0.3, 0.0, 0.0, 0.0])
    sampler = samplers.multispin_heat_bath(models.Ising(geometry, 0.3), num_chains=32)
    state = samplers.run(jax.random.key(0), sampler, sampler.init(jax.random.key(1)), 200).state
    thinned = samplers.thin(sampler, 20)
    configurations = samplers.run(jax.random.key(0), thinned, state, 64, observe=lambda s: s).trace
    pulls = []
    for chain in range(32):
        result = rg.pseudo_likelihood_couplings(configurations[chain], basis)
        pulls.append((np.asarray(result.couplings) - truth) / np.asarray(result.errors))
    pulls = np.array(pulls)
    assert np.all(np.abs(pulls) < 5)
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 5 / np.sqrt(32))
    assert 0.6 < np.mean(pulls**2) < 1.7  # 128 pulls, a little over 1 for groups of two samples


def test_pseudo_likelihood_refuses_bad_samples():
    basis = lattice.standard_operators(lattice.hypercubic((4, 4)))
    with pytest.raises(ValueError, match=r"samples: expected shape \[num_samples"):
        rg.pseudo_likelihood_couplings(jnp.ones((4, 4), jnp.int8), basis)
    with pytest.raises(ValueError, match="at least num_groups = 32"):
        rg.pseudo_likelihood_couplings(jnp.ones((8, 4, 4), jnp.int8), basis)
    with pytest.raises(FloatingPointError, match="expected a pseudo-likelihood with a maximum"):
        rg.pseudo_likelihood_couplings(jnp.ones((64, 4, 4), jnp.int8), basis)
    with pytest.raises(ValueError, match=r"spins \+1 or -1, got 0"):
        rg.pseudo_likelihood_couplings(jnp.zeros((64, 4, 4), jnp.int8), basis)


TORUS = lattice.standard_operators(lattice.hypercubic((4, 4)))
LOW_TEMPERATURE = np.array([0.6, 0.1, 0.02, -0.1])


def site_terms(spins: np.ndarray) -> np.ndarray:
    """``[num_samples, num_sites, num_operators]`` s_x dO_a/ds_x from the products that hold a site."""
    flat = spins.reshape(len(spins), -1).astype(float)
    terms = np.zeros((*flat.shape, len(TORUS)))
    for a, orbits in enumerate(TORUS.site_products()):
        for sites in np.concatenate(orbits):
            terms[:, sites, a] += np.prod(flat[:, sites], axis=1)[:, None]
    return terms


@pytest.fixture(scope="module")
def ordered_samples():
    """``draw(seed, count)``: exact independent samples of a 4x4 torus deep in its ordered phase."""
    states = np.arange(2**16)[:, None] >> np.arange(16) & 1
    spins = (2 * states - 1).astype(np.int8).reshape(-1, 4, 4)
    products = [
        sum(np.prod(spins.reshape(-1, 16)[:, sites], axis=1, dtype=np.int32) for sites in np.concatenate(orbits))
        for orbits in TORUS.site_products()
    ]
    weights = np.exp(np.einsum("a,as->s", LOW_TEMPERATURE, np.array(products)) - 20)
    weights /= weights.sum()
    return lambda seed, count: spins[np.random.default_rng(seed).choice(2**16, size=count, p=weights)]


def opposes_no_spin(terms: np.ndarray) -> bool:
    """Whether a combination of operators never opposes a spin: the pseudo-likelihood then has no maximum."""
    rows = np.unique(terms.reshape(-1, terms.shape[-1]), axis=0)
    found = scipy.optimize.linprog(-rows.sum(0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1))
    return -found.fun > 1e-9


@pytest.mark.slow
def test_couplings_without_a_maximum_are_refused_and_the_others_are_at_it(ordered_samples):
    num_refused = 0
    compiled_fit = jax.jit(lambda samples: rg.pseudo_likelihood_couplings(samples, TORUS))
    for seed in range(6):
        samples = ordered_samples(seed, 512)
        terms = site_terms(samples)
        if opposes_no_spin(terms):
            num_refused += 1
            with pytest.raises(FloatingPointError, match=r"grows for ever along 1 nearest_neighbour - 0\.5"):
                rg.pseudo_likelihood_couplings(samples, TORUS)
            compiled = compiled_fit(samples)
            assert not compiled.is_converged
            assert np.isnan(np.concatenate([compiled.couplings, compiled.errors])).all()
            continue
        found = rg.pseudo_likelihood_couplings(samples, TORUS)
        wrong = 1 / (1 + np.exp(2 * terms @ np.asarray(found.couplings, float)))
        gradient = np.einsum("sxa,sx->a", 2 * terms, wrong)
        hessian = np.einsum("sxa,sxb,sx->ab", 4 * terms, terms, wrong * (1 - wrong))
        assert found.is_converged
        assert np.all(np.abs(np.linalg.solve(hessian, gradient)) < 0.01 * np.asarray(found.errors))
        assert np.all(np.asarray(found.errors) >= 0.99 * np.sqrt(np.diag(np.linalg.inv(hessian))))
        assert np.all(np.abs(np.asarray(found.couplings) - LOW_TEMPERATURE) < 5 * np.asarray(found.errors))
    assert 1 <= num_refused <= 5


def test_no_sample_is_dropped_where_the_groups_do_not_divide_them(ordered_samples):
    samples = ordered_samples(3, 2047)
    found, in_another_order = (
        rg.pseudo_likelihood_couplings(order, TORUS).couplings for order in (samples, samples[::-1])
    )
    np.testing.assert_allclose(found, in_another_order, atol=2e-3)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(found, rg.pseudo_likelihood_couplings(samples[:2016], TORUS).couplings, atol=2e-3)


def test_too_few_steps_are_refused(ordered_samples):
    with pytest.raises(FloatingPointError, match=r"num_iterations: expected enough steps .* got 2"):
        rg.pseudo_likelihood_couplings(ordered_samples(0, 512), TORUS, num_iterations=2)


def test_dependent_operators_are_named_with_their_combination():
    small = lattice.hypercubic((2, 2))
    basis = lattice.operators(small, {"pair": [(0, 0), (1, 0)], "diagonal": [(0, 0), (1, 1)], "far": [(0, 0), (3, 1)]})
    message = r"operators: expected independent ones on \(2, 2\), got far = 2 diagonal"
    with pytest.raises(ValueError, match=message):
        rg.pseudo_likelihood_couplings(jnp.ones((64, 2, 2), jnp.int8), basis)
    with pytest.raises(ValueError, match=message):
        rg.project(jnp.zeros(16), basis)
