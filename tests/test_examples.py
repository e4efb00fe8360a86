"""Every example is a program with a smoke switch and a function ``main(smoke)``; `.ci/run` runs each once."""

import ast
import pathlib

import pytest

# Modules that begin with an underscore are what examples share or keep beside them.
EXAMPLES = sorted((pathlib.Path(__file__).parent.parent / "examples").glob("[!_]*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_have_the_house_shape(path):
    text = path.read_text()
    assert text.startswith("# %% [markdown]\n# # ")
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    arguments = functions["main"].args
    assert arguments.args[0].arg == "smoke"
    assert len(arguments.defaults) == len(arguments.args)
    assert '"--smoke"' in text or "run_main(main, " in text  # by hand, or as all studies do
