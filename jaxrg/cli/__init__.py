"""The command line: ``jaxrg demo``, ``sample``, ``verify`` and ``merge``."""

from jaxrg.cli.command import main, parser

__all__ = ["main", "parser"]
