"""The skeletons that CONTRIBUTING shows are the files that the tables of the contracts run."""

import pathlib

import pytest

from jaxrg.base import Model, PairModel

FOLDER = pathlib.Path(__file__).parent
ROOT = FOLDER.parent.parent


@pytest.mark.parametrize(
    "name", ["skeleton_sampler.py", "skeleton_model.py", "skeleton_index.py", "skeleton_bijector.py"]
)
def test_contributing_shows_the_file_that_is_tested(name):
    blocks = [block.split("```")[0] for block in (ROOT / "CONTRIBUTING.md").read_text().split("```python\n")[1:]]
    assert (FOLDER / name).read_text() in blocks, f"CONTRIBUTING.md: expected a python block equal to {name}"


@pytest.mark.parametrize("protocol", [Model, PairModel])
def test_contributing_names_every_member_of_a_model(protocol):
    rows = [line for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("| `")]
    for member in (name for name in vars(protocol) if not name.startswith("_")):
        assert any(f"`{member}" in row for row in rows), f"CONTRIBUTING.md: expected a row for {member}"
