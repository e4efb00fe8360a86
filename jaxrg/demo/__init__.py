"""The main job: sample, learn, map and renormalise the 2D Ising model, and write it up."""

from jaxrg.demo.run import run_demo

__all__ = ["run_demo"]
