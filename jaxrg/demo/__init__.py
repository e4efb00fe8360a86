"""The main job: sample, learn, map and renormalise the 2D Ising model, and write it up; `run.run_demo` does it."""

__all__: list[str] = []
