import itertools
import time

import numpy as np
import pytest

from jaxrg import lattice


@pytest.mark.parametrize(
    ("geometry", "num_colours"),
    [
        (lattice.hypercubic((6,)), 2),
        (lattice.hypercubic((4, 6)), 2),
        (lattice.hypercubic((2, 4, 2)), 2),
        (lattice.hypercubic((2, 2, 2, 4)), 2),
        (lattice.hypercubic((3, 3)), 3),
        (lattice.hypercubic((5, 5)), 3),
        (lattice.hypercubic((17,)), 3),
        (lattice.hypercubic((11, 13)), 3),
        (lattice.hypercubic((3, 5, 4, 7)), 3),
        (lattice.hypercubic((3, 5), periodic=False), 2),
        (lattice.triangular((3, 6)), 3),
        (lattice.triangular((4, 4)), 4),
        (lattice.triangular((4, 5), periodic=False), 3),
        (lattice.triangular((4, 5)), 4),
        (lattice.triangular((13, 17)), 5),
    ],
)
def test_colouring_is_proper_and_small(geometry, num_colours):
    colours = lattice.sublattice_colouring(geometry)
    lattice.check_colouring(geometry, colours)
    assert set(np.unique(colours)) == set(range(num_colours))


@pytest.mark.parametrize("build", [lattice.hypercubic, lattice.triangular])
def test_sides_of_all_sizes_are_coloured(build):
    for shape in itertools.product(range(2, 10), repeat=2):
        geometry = build(shape)
        colours = lattice.sublattice_colouring(geometry)
        lattice.check_colouring(geometry, colours)
        is_even = not any(side % 2 for side in shape)
        if build is lattice.hypercubic:
            assert colours.max() == (1 if is_even else 2)
        elif min(shape) > 3 and not is_even:
            assert colours.max() < 5


def test_sides_that_fit_no_rule_are_coloured_greedily():
    geometry = lattice.triangular((2, 2))
    colours = lattice.sublattice_colouring(geometry)
    lattice.check_colouring(geometry, colours)
    assert colours.max() == 3


@pytest.mark.parametrize("geometry", [lattice.hypercubic((1009, 1009)), lattice.triangular((1009, 1009))])
def test_large_odd_sides_are_coloured_at_once(geometry):
    start = time.process_time()
    colours = lattice.sublattice_colouring(geometry)
    assert time.process_time() - start < 1  # 0.03 s; site by site it took five
    assert colours.max() < 5
    lattice.check_colouring(geometry, colours)


def test_colouring_respects_longer_interactions():
    square = lattice.hypercubic((8, 8))
    offsets = [(1, 0), (0, 1), (1, 1), (1, -1), (2, 0), (0, 2)]
    colours = lattice.sublattice_colouring(square, offsets)
    lattice.check_colouring(square, colours, offsets)
    for shape, num_colours in [((13, 13), 8), ((5, 5), 5), ((11, 8), 8)]:
        odd = lattice.hypercubic(shape)
        found = lattice.sublattice_colouring(odd, offsets)
        lattice.check_colouring(odd, found, offsets)
        assert found.max() < num_colours
    with pytest.raises(ValueError, match="colours: expected different colours at offset"):
        lattice.check_colouring(square, lattice.checkerboard(square), offsets)


def test_checkerboard_refuses_an_odd_periodic_side_and_says_why():
    with pytest.raises(
        ValueError, match=r"even sides along periodic axes, because a loop around an odd side .* \(3, 4\)"
    ):
        lattice.checkerboard(lattice.hypercubic((3, 4)))
    odd_but_open = lattice.hypercubic((3, 4), periodic=(False, True))
    lattice.check_colouring(odd_but_open, lattice.checkerboard(odd_but_open))


def test_checkerboard_refuses_a_lattice_that_is_not_bipartite():
    with pytest.raises(ValueError, match="bonds that change the parity"):
        lattice.checkerboard(lattice.triangular((4, 4)))


def test_a_colouring_that_cannot_close_is_refused():
    with pytest.raises(ValueError, match="admits no checkerboard"):
        lattice.sublattice_colouring(lattice.hypercubic((3, 4)), max_colours=2)
    with pytest.raises(ValueError, match="wraps to 0"):
        lattice.sublattice_colouring(lattice.hypercubic((2, 4)), [(2, 0)])
