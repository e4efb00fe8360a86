"""Checkpoints of pytrees by step, which a crash at any moment leaves whole, and which notice damage."""

from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxrg.base import PyTree
from jaxrg.store.fingerprints import fingerprint
from jaxrg.store.run_folder import RunFolder


class Checkpoints:
    """The newest checkpoints of a run, a context manager that closes them.

    Args:
        run: whose folder they are kept in; it is claimed by the first `save`.
        num_kept: older ones are deleted. Two are one more than needed: a crash while the newest is written leaves the
            one before.

    Example:
        >>> import tempfile
        >>> run = RunFolder(tempfile.mkdtemp(), {"seed": 0})
        >>> with Checkpoints(run) as checkpoints:
        ...     checkpoints.save(3, {"weights": np.ones(2)})
        ...     checkpoints.latest(), checkpoints.restore(3, {"weights": np.zeros(2)})["weights"].tolist()
        (3, [1.0, 1.0])
    """

    def __init__(self, run: RunFolder, *, num_kept: int = 2):
        self._run = run
        self._options = ocp.CheckpointManagerOptions(
            max_to_keep=num_kept, enable_async_checkpointing=False, create=True
        )
        self._opened: ocp.CheckpointManager | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._opened is not None:
            self._opened.close()

    def _manager(self) -> ocp.CheckpointManager:
        if self._opened is None:
            self._opened = ocp.CheckpointManager(self._run.path("checkpoints"), options=self._options)
        return self._opened

    def latest(self) -> int | None:
        """The newest step that was saved whole, or None."""
        return self._manager().latest_step() if self._run.is_resumed else None

    def save(self, step: int, tree: PyTree) -> None:
        """Keep a pytree of arrays as that of a step, unless the step has been saved before."""
        if self.latest() == step:
            return
        leaves = _numbered(tree)
        # Orbax restores damaged data without a word.
        arguments = {"tree": ocp.args.StandardSave(leaves), "check": ocp.args.JsonSave({"tree": fingerprint(leaves)})}
        self._manager().save(step, args=ocp.args.Composite(**arguments))

    def restore(self, step: int, template: PyTree) -> PyTree:
        """The pytree of a step; ``template`` has its structure, and arrays or `jax.ShapeDtypeStruct` of its shapes.

        Raises:
            ValueError: the files of the checkpoint have been damaged, or hold another structure.
        """
        leaves = jax.tree.map(ocp.utils.to_shape_dtype_struct, _numbered(template))
        arguments = {"tree": ocp.args.StandardRestore(leaves), "check": ocp.args.JsonRestore()}
        folder = self._run.folder / "checkpoints" / str(step)
        message = (
            "checkpoint: expected the data that were saved, got {} from {}; delete it to go on from the one before"
        )
        try:
            stored = self._manager().restore(step, args=ocp.args.Composite(**arguments))
        except Exception as error:  # Orbax and TensorStore raise anything from KeyError to JSONDecodeError
            raise ValueError(message.format(type(error).__name__, folder)) from error
        if fingerprint(stored["tree"]) != stored["check"]["tree"]:
            raise ValueError(message.format("others", folder))
        return jax.tree.unflatten(jax.tree.structure(template), [stored["tree"][name] for name in leaves])


def _numbered(tree: PyTree) -> dict[str, Any]:
    """The leaves of a pytree under their paths, whatever containers it is made of."""
    named = enumerate(jax.tree.leaves_with_path(tree))
    return {f"{number:03d}{jax.tree_util.keystr(path)}": leaf for number, (path, leaf) in named}
