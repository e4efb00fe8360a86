"""The shape of the project: floors that import downwards only, short files, and a README that runs."""

import ast
import importlib
import pathlib

import pytest

import jaxrg

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "jaxrg"
MAX_LINES = 400
MAX_NAMES = 44  # about forty; beyond that a room wants rooms of its own

FLOORS = {
    0: {"base", "checks", "closures", "random", "sums", "tables", "transforms", "lattice"},
    1: {"models", "exact", "store", "progress", "datasets", "nets"},
    2: {"samplers", "stats", "training"},
    3: {"rbm", "flows", "interactions"},
    4: {"rg", "explain"},
    5: {"cli", "__main__", "plot", "demo"},
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
# Rooms of the top floor are the program around the library and may use each other.
NOT_EACH_OTHER = {1, 2, 3, 4}


def modules() -> list[pathlib.Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(path: pathlib.Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("jaxrg.")}
    return rooms & set(FLOOR_OF) | {room for room in rooms if (PACKAGE / room).is_dir() and room not in FLOOR_OF}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_the_floors(path):
    room = room_of(path)
    assert room in FLOOR_OF, f"{room}: expected a room of the floor plan, got a new one"
    floor = FLOOR_OF[room]
    for other in imported_rooms(path) - {room}:
        assert other in FLOOR_OF, f"{path}: imports an unknown room {other}"
        assert FLOOR_OF[other] <= floor, f"{path}: {room} (floor {floor}) imports {other} (floor {FLOOR_OF[other]})"
        assert FLOOR_OF[other] < floor or floor not in NOT_EACH_OTHER, f"{path}: {room} imports its neighbour {other}"


def test_rooms_import_each_other_by_name():
    """``import jaxrg`` alone would hide from the floors what is used."""
    for path in modules():
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "jaxrg" not in names or room_of(path) in FLOORS[5], f"{path}: expected from jaxrg import ROOM"


def test_the_floor_test_sees_imports():
    assert {"rbm", "tables"} <= imported_rooms(PACKAGE / "rg" / "matching.py")


def test_files_stay_short():
    folders = ("jaxrg", "tests", "benchmarks", "examples")
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }
    assert lengths
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def rooms_with_names() -> list[str]:
    return sorted(
        ".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE
    )


@pytest.mark.parametrize("name", rooms_with_names())
def test_a_room_names_what_it_offers(name):
    room = importlib.import_module(name)
    names = room.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert len(names) <= MAX_NAMES
    for public in names:
        value = getattr(room, public)
        is_described_beside = isinstance(value, (int, float, str)) or type(value).__module__ == "collections.abc"
        assert is_described_beside or value.__doc__, f"{name}.{public}: expected a docstring"


def test_rooms_are_imported_when_first_looked_at():
    assert jaxrg.transforms.moebius is importlib.import_module("jaxrg.transforms").moebius
    assert set(jaxrg.__all__) <= set(dir(jaxrg))
    assert {room_of(path) for path in modules()} - set(jaxrg.__all__) == {"__main__", "cli", "demo"}
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        jaxrg.nonsense  # noqa: B018


def test_the_architecture_page_names_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert {room_of(path) for path in modules() if f"`{room_of(path)}" not in page} <= {"__main__"}


def test_flax_is_imported_in_one_place_only():
    def uses_flax(path: pathlib.Path) -> bool:
        lines = [line.split() for line in path.read_text().splitlines()]
        return any(words[0] in ("import", "from") and words[1].split(".")[0] == "flax" for words in lines if words[1:])

    assert [path for path in modules() if uses_flax(path)] == [PACKAGE / "nets.py"]


def test_x64_is_never_switched_on_by_the_library():
    for path in modules():
        if room_of(path) in FLOORS[5]:
            continue  # the program chooses its own precision, around its own computations
        for node in ast.walk(ast.parse(path.read_text())):
            # jax.enable_x64(...) and jax.config.update("jax_enable_x64", ...), not a message that mentions them.
            is_switch = isinstance(node, ast.Call) and (
                "enable_x64" in ast.dump(node.func)
                or any(isinstance(value, ast.Constant) and value.value == "jax_enable_x64" for value in node.args)
            )
            assert not is_switch, f"{path}:{node.lineno} switches x64"  # type: ignore[attr-defined]


def code_blocks(page: str) -> list[str]:
    blocks = (ROOT / page).read_text().split("```python\n")[1:]
    return [block.split("```")[0] for block in blocks]


# The pages of the docs train machines and networks.
DOCS = ["docs/architecture.md", "docs/choosing.md"]
PAGES = ["README.md", *(pytest.param(page, marks=pytest.mark.slow) for page in DOCS)]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # some save figures
    blocks = code_blocks(page)
    assert blocks, f"{page}: expected a python block"
    for block in blocks:
        exec(compile(block, page, "exec"), {})


def test_the_readme_has_two_commands():
    """A block marked ``sh`` is a command that `.ci/run` runs: the demo, then the tests; others are marked ``bash``."""
    blocks = [block.split("```")[0] for block in (ROOT / "README.md").read_text().split("```sh\n")[1:]]
    assert [len(block.strip().splitlines()) for block in blocks] == [1, 1]
    demo, tests = blocks
    assert demo.strip().endswith("jaxrg demo")
    assert "-m pytest" in tests
