"""Population annealing and simulated annealing: unbiased Z, means against exact ones, ground states by enumeration."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, samplers
from jaxrg.samplers import ensembles

KEY = jax.random.key(0)
SQUARE = lattice.hypercubic((4, 4))
RING = lattice.hypercubic((3,), periodic=False)
TORUS = lattice.hypercubic((3, 3))
TRIANGLES = lattice.triangular((6, 6))
LADDER = jnp.linspace(0.0, 0.44, 12)
WANNIER = 0.3230659669  # entropy per site of the ground states of the triangular antiferromagnet


def chain(coupling, field=0.3):
    return models.Ising(RING, coupling, field)


def square(coupling):
    return models.Ising(SQUARE, coupling)


def glass(side, seed):
    geometry = lattice.hypercubic(side)
    bonds = models.plus_minus_glass(jax.random.key(seed), geometry).bonds
    return lambda coupling: models.Glass(geometry, bonds, coupling)


@pytest.mark.parametrize(
    ("sampler", "field"),
    [(samplers.heat_bath, 0.3), pytest.param(samplers.random_scan_metropolis, 0.0, marks=pytest.mark.slow)],
)
def test_the_estimate_of_the_partition_function_is_unbiased(sampler, field):
    # In equilibrium at K = 0: without a field as it starts, and with one after a sweep of heat bath.
    family = functools.partial(chain, field=field)
    ladder = jnp.array([0.0, 0.8, 1.6])
    # Four members and one step leave the populations far from equilibrium; only the mean of Z is right.
    found = ensembles.population_annealing(KEY, family, ladder, 4, num_repeats=4000, num_steps=1, sampler=sampler)
    logs = [float(exact.log_partition(family(k).hamiltonian, (3,))) for k in ladder]
    ratios = np.exp(np.asarray(found.log_partitions, float) - (np.array(logs) - logs[0]))
    pulls = (ratios.mean(axis=0) - 1)[1:] / (ratios.std(axis=0, ddof=1)[1:] / math.sqrt(len(ratios)))
    assert np.abs(pulls).max() < 4
    assert ratios[:, -1].std() > 0.2
    logs_alone = np.log(ratios[:, -1]).mean()  # the mean of ln Z is not: a test that sees the difference
    assert logs_alone < -4 * np.log(ratios[:, -1]).std() / math.sqrt(len(ratios))


def test_free_energy_and_energy_of_the_torus_are_kaufmans():
    found = ensembles.population_annealing(KEY, square, LADDER, 500, num_repeats=12, num_steps=3)
    wanted = np.array([float(exact.torus_log_partition(k, (4, 4))) for k in LADDER]) - 16 * math.log(2)
    energies = np.array([16 * float(exact.torus_energy(k, (4, 4))) for k in LADDER])
    assert np.abs((found.log_partition - wanted)[1:] / found.error[1:]).max() < 5
    assert np.abs((found.means - energies) / found.mean_errors).max() < 5
    assert 0 < float(found.error[-1]) < 0.02
    assert float(found.log_partition[0]) == 0
    scatter = np.std(np.asarray(found.log_partitions)[:, -1], ddof=1) / math.sqrt(12)
    assert float(found.error[-1]) == pytest.approx(scatter, rel=0.1)


def test_families_begin_alone_and_grow():
    found = ensembles.population_annealing(KEY, square, LADDER, 500, num_repeats=12, num_steps=1)
    assert float(found.family_entropy[0]) == pytest.approx(math.log(500), rel=1e-5)
    assert float(found.mean_square_family_size[0]) == pytest.approx(1, rel=1e-5)
    assert np.all(np.diff(found.family_entropy) < 0)
    assert np.all(np.diff(found.mean_square_family_size) > 0)
    assert float(found.mean_square_family_size[-1]) <= 500
    assert np.all((found.survival > 0.5) & (found.survival < 1))
    # Of Gaussian weights a step loses the mean of (1 - w) where it is positive, dK std(E) / sqrt(2 pi).
    lost = 0.04 * math.sqrt(32) / math.sqrt(2 * math.pi)
    assert float(found.survival[0]) == pytest.approx(1 - lost, rel=0.01)
    assert found.configurations.shape == (12, 500, 4, 4)


@pytest.mark.slow
def test_observables_of_a_glass_at_every_coupling_are_those_of_enumeration():
    family = functools.partial(models.Glass, lattice.hypercubic((3, 3)), models.gaussian_glass(KEY, TORUS).bonds)
    ladder = jnp.array([0.0, 0.3, 0.7])

    def observe(spins):
        return {"corner": spins[0, 0] * spins[0, 1], "m2": jnp.mean(spins, dtype=jnp.float32) ** 2}

    found = ensembles.population_annealing(KEY, family, ladder, 400, observe=observe, num_steps=3)
    for number, coupling in enumerate(ladder):
        wanted = exact.expectation(family(coupling).hamiltonian, observe, (3, 3))
        for name, mean in wanted.items():
            assert abs(found.means[name][number] - mean) < 5 * found.mean_errors[name][number], (name, number)


def triangular_entropy(width):
    """Entropy per site of the ground states of an infinite strip of the triangular lattice, by its transfer matrix.

    In a ground state every triangle has just one pair of equal spins.
    """
    states = np.arange(2**width)
    row = states[:, None] >> np.arange(width) & 1
    after = row[None], np.roll(row, -1, axis=1)[None]
    here, right = row[:, None], np.roll(row, -1, axis=1)[:, None]

    def has_one_pair(a, b, c):
        return ~((a == b) & (b == c))

    # Sites (x, y), (x, y + 1), (x + 1, y + 1) and (x, y), (x + 1, y), (x + 1, y + 1) are triangles.
    allowed = np.all(has_one_pair(here, right, after[1]) & has_one_pair(here, after[0], after[1]), axis=2)
    return math.log(np.abs(np.linalg.eigvals(allowed.astype(float))).max()) / width, allowed


def test_the_triangular_antiferromagnet_keeps_wanniers_entropy():
    # Strips of width 3 n approach it as a conformal theory with c = 1 does, a row being sqrt(3)/2 high.
    entropies = {width: triangular_entropy(width)[0] for width in (3, 6, 9)}
    limits = [entropies[width] - math.pi / 6 * math.sqrt(3) / 2 / width**2 for width in entropies]
    assert abs(limits[2] - WANNIER) < abs(limits[1] - WANNIER) < abs(limits[0] - WANNIER)
    assert limits[2] == pytest.approx(WANNIER, abs=2e-4)
    corrected = (81 * limits[2] - 36 * limits[1]) / 45  # by what falls faster than 1/L^2
    assert corrected == pytest.approx(WANNIER, abs=1e-3)


@pytest.mark.slow
def test_the_entropy_of_a_frustrated_torus_by_population_annealing():
    """6 x 6, exactly and down to a temperature where nothing is excited any more."""
    allowed = triangular_entropy(6)[1].astype(float)
    number = np.trace(np.linalg.matrix_power(allowed, 6))
    ladder = jnp.linspace(0.0, -3.0, 25)
    found = ensembles.population_annealing(
        KEY, lambda k: models.Ising(TRIANGLES, k), ladder, 300, num_repeats=8, num_steps=4
    )
    entropy = 36 * math.log(2) + float(found.log_partition[-1]) + float(ladder[-1] * found.means[-1])
    assert float(found.means[-1]) == pytest.approx(36, abs=1e-2)  # E = +1 a site, times K < 0
    assert abs(entropy - math.log(number)) < 5 * float(found.error[-1]) + 1e-3
    assert float(found.error[-1]) < 0.1


@pytest.mark.parametrize(
    ("sides", "seed"), [((4, 4), 1), ((2, 2, 4), 2), pytest.param((5, 4), 3, marks=pytest.mark.slow)]
)
def test_ground_states_are_those_of_an_exhaustive_search(sides, seed):
    family = glass(sides, seed)
    found = ensembles.simulated_annealing(KEY, family, jnp.linspace(0.2, 3.0, 12), 30, num_steps=4)
    energies = np.asarray(exact.energies(family(1.0).hamiltonian, sides))
    assert float(found.energy) == energies.min()
    assert float(found.success) > 0.3
    assert round(float(found.success) * 30) == np.sum(np.asarray(found.energies) == energies.min())
    again = jax.vmap(family(1.0).hamiltonian)(found.configurations)
    np.testing.assert_array_equal(again, found.energies)
    assert float(family(1.0).hamiltonian(found.configuration)) == float(found.energy)


def test_the_best_is_kept_where_the_last_is_not():
    """A coupling that falls to zero ends in noise, and what was seen before it stays."""
    family = glass((4, 4), 1)
    ladder = jnp.concatenate([jnp.linspace(2.0, 1.5, 20), jnp.linspace(0.2, 0.0, 5)])
    found = ensembles.simulated_annealing(KEY, family, ladder, 30)
    assert float(found.energy) == -24
    assert np.asarray(found.energies).mean() < -20


@pytest.mark.slow
def test_slower_cooling_succeeds_more_often():
    family = glass((8, 8), 4)
    runs = [
        ensembles.simulated_annealing(KEY, family, jnp.linspace(0.2, 3.0, 12), 50, num_steps=steps) for steps in (1, 40)
    ]
    assert float(runs[1].energies.mean()) < float(runs[0].energies.mean()) - 1
    assert float(runs[1].success) > 0


def anneal(**options):
    given = {"key": KEY, "family": square, "couplings": [0.0, 0.2], "population_size": 4, "num_repeats": 2}
    return ensembles.population_annealing(**given | options)


def cool(**options):
    given = {"key": KEY, "family": square, "couplings": [0.0, 0.2], "num_restarts": 4}
    return ensembles.simulated_annealing(**given | options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: anneal(key=0), "key: expected"),
        (lambda: anneal(family=3), "family: expected a function of a coupling"),
        (lambda: anneal(family=lambda k: models.Ising(SQUARE, k**2)), "family: expected a Hamiltonian linear"),
        (lambda: anneal(couplings=[0.1]), "couplings: expected a list of at least two"),
        (lambda: anneal(population_size=1), "population_size: expected"),
        (lambda: anneal(num_repeats=1), "num_repeats: expected"),
        (lambda: anneal(num_steps=0), "num_steps: expected"),
        (lambda: anneal(observe=3), "observe: expected a function"),
        (lambda: anneal(population_size=2**21), "population_size: expected at most"),
        (lambda: anneal(observe=lambda s: jnp.fft.fft2(s)[0, 1]), "observe: expected real numbers"),
        (lambda: cool(key=0), "key: expected"),
        (lambda: cool(couplings=[-0.1, -2.0]), "couplings: expected numbers >= 0"),
        (lambda: cool(num_restarts=0), "num_restarts: expected"),
        (lambda: cool(num_steps=0), "num_steps: expected"),
    ],
)
def test_what_cannot_be_annealed_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
