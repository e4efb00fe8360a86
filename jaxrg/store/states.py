"""A pytree of arrays as the bytes of one file, which NumPy opens too and any changed bit of which is noticed."""

import hashlib
import io
import json
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrg.base import PyTree
from jaxrg.store.files import DamagedError
from jaxrg.store.outlines import arrays_of, filled, outline_of, with_key

NUM_DIGITS = 64  # of the SHA-256 that ends the file


def as_bytes(tree: PyTree) -> bytes:
    """An ``.npz`` archive of the leaves and their description, and the SHA-256 of it behind its end.

    Equal pytrees give equal bytes: NumPy puts no dates into its archives.
    """
    paths, kinds, leaves = arrays_of(tree)
    arrays = [np.asarray(leaf) for leaf in leaves]
    described = [
        {"path": path, "kind": kind, "dtype": str(array.dtype)}
        for path, kind, array in zip(paths, kinds, arrays, strict=True)
    ]
    text = json.dumps({"leaves": described, "outline": outline_of(tree)})
    stream = io.BytesIO()
    named: dict[str, Any] = {f"leaf_{number:04d}": array for number, array in enumerate(arrays)}
    np.savez(stream, tree=np.frombuffer(text.encode(), np.uint8), **named)
    archive = stream.getvalue()
    return archive + hashlib.sha256(archive).hexdigest().encode()


def from_bytes(content: bytes, *, source: object) -> PyTree:
    """The pytree of some bytes of `as_bytes`, with NumPy arrays; containers come back as in `outlines.filled`.

    Raises:
        DamagedError: other bytes; ``source`` says whose they are.
    """
    archive, digest = content[:-NUM_DIGITS], content[-NUM_DIGITS:]
    if hashlib.sha256(archive).hexdigest().encode() != digest:
        raise DamagedError(f"state: expected what was saved, got something else from {source}")
    with np.load(io.BytesIO(archive)) as stored:
        about = json.loads(stored["tree"].tobytes())
        # NumPy knows no bfloat16: it stores such arrays as plain bytes of that length.
        leaves = [
            with_key(leaf["kind"], stored[f"leaf_{number:04d}"].view(jnp.dtype(leaf["dtype"])))
            for number, leaf in enumerate(about["leaves"])
        ]
    return filled(about["outline"], iter(leaves))
