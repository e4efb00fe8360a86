"""How configurations lie in a sample store, as Zarr arrays: spins as one bit each, everything else as it is."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

BITS = 32  # of a word
CHUNK_BYTES = 2**22
COMMIT_BYTES = 2**24  # waiting for the disk, of a dozen files and folders a commit, takes a small part of the time
BLOCK = 2**18
BIT_ORDER = "bit j of word w is site 32 w + j in row-major order, and a set bit is spin +1"


class Layout(NamedTuple):
    """The configurations of a store; no field depends on the devices that made them."""

    num_chains: int
    shape: tuple[int, ...]  # of a configuration
    dtype: str  # of a configuration
    is_packed: bool  # spins +1 and -1, one bit each

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Layout":
        """From the description of a store."""
        return cls(content["num_chains"], tuple(content["shape"]), content["dtype"], content["bits"] is not None)

    def as_json(self) -> dict[str, Any]:
        """For the description of a store."""
        about = {"num_chains": self.num_chains, "shape": list(self.shape), "dtype": self.dtype}
        return about | {"bits": BIT_ORDER if self.is_packed else None, "chunk": self.chunk}

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Of a configuration as it is stored."""
        return (-(-math.prod(self.shape) // BITS),) if self.is_packed else self.shape

    @property
    def item_dtype(self) -> str:
        """Of what is stored."""
        return "uint32" if self.is_packed else self.dtype

    @property
    def item_bytes(self) -> int:
        """Of one configuration."""
        return math.prod(self.item_shape) * jnp.dtype(self.item_dtype).itemsize

    @property
    def chunk(self) -> list[int]:
        """Chains, and words or rows of the lattice, of one chunk; all samples of a commit lie in it."""
        chains = max(1, min(self.num_chains, CHUNK_BYTES // max(1, self.item_bytes)))
        if not self.item_shape:
            return [chains]
        row_bytes = max(1, self.item_bytes // max(1, self.item_shape[0]))
        return [chains, max(1, min(self.item_shape[0], CHUNK_BYTES // row_bytes)), *self.item_shape[1:]]

    @property
    def samples_per_commit(self) -> int:
        """As many as are worth the files of a commit, and no more than are soon computed."""
        return max(1, min(4096, COMMIT_BYTES // max(1, self.item_bytes * self.num_chains)))

    def metadata(self, num_samples: int) -> dict[str, Any]:
        """Of the Zarr array ``[num_chains, num_samples, *item_shape]`` of one commit."""
        chains, *rest = self.chunk
        dtype = jnp.dtype(self.item_dtype)
        zero: Any = dtype.type(0).item()
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [self.num_chains, num_samples, *self.item_shape],
            "data_type": self.item_dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [chains, num_samples, *rest]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": [zero.real, zero.imag] if isinstance(zero, complex) else zero,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
            "attributes": {"bits": BIT_ORDER} if self.is_packed else {},
            "dimension_names": ["chain", "draw", *(["word"] if self.is_packed else self.site_axes)],
        }

    @property
    def site_axes(self) -> list[str]:
        """Names of the axes of a configuration."""
        return [f"x{axis}" for axis in range(len(self.shape))]

    def opened(self, folder: Path, num_samples: int) -> Any:
        """The array of a commit as TensorStore has it, where what is missing is an error and zeros are written too."""
        import tensorstore as ts

        return ts.open(
            {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": f"{folder}/"},
                "metadata": self.metadata(num_samples),
                "assume_metadata": True,  # what lies beside the chunks is for others to read
                "fill_missing_data_reads": False,
                "store_data_equal_to_fill_value": True,
            },
            open=True,
        ).result()

    def spins(self, words: np.ndarray) -> np.ndarray:
        """``[..., *shape]`` spins +1 and -1 of words ``[..., num_words]``, and anything else as it is."""
        if not self.is_packed:
            return words
        num_sites = math.prod(self.shape)
        octets = np.ascontiguousarray(words, "<u4").view(np.uint8).reshape(-1, 4 * self.item_shape[0])
        spins = np.empty((len(octets), num_sites), np.int8)
        num_rows = max(1, BLOCK // max(1, num_sites))
        for start in range(0, len(octets), num_rows):  # in pieces that stay in a cache
            block = octets[start : start + num_rows]
            bits = np.unpackbits(block, axis=-1, count=num_sites, bitorder="little").view(np.int8)
            bits += bits
            np.subtract(bits, 1, out=spins[start : start + num_rows])
        return spins.reshape(*words.shape[:-1], *self.shape).astype(self.dtype, copy=False)

    def words(self, spins: np.ndarray) -> np.ndarray:
        """The inverse of ``spins``.

        Raises:
            ValueError: other shapes, or other values than +1 and -1.
        """
        if spins.shape[2:] != self.shape or spins.shape[0] != self.num_chains:
            raise ValueError(f"values: expected shape {(self.num_chains, 'n', *self.shape)}, got {spins.shape}")
        if not self.is_packed:
            return spins
        flat = spins.reshape(spins.shape[0] * spins.shape[1], -1)
        room = np.zeros((len(flat), 4 * self.item_shape[0]), np.uint8)
        num_rows = max(1, BLOCK // max(1, flat.shape[1]))
        for start in range(0, len(flat), num_rows):  # in pieces that stay in a cache
            block = flat[start : start + num_rows]
            bits, are_spins = _bits_of(block)
            if not are_spins:
                raise ValueError("values: expected spins +1 and -1, got others")
            octets = np.packbits(bits, axis=-1, bitorder="little")
            room[start : start + num_rows, : octets.shape[1]] = octets
        return room.view("<u4").reshape(*spins.shape[:2], -1)


def _bits_of(spins: np.ndarray) -> tuple[np.ndarray, bool]:
    """Values that are 0 for the spin -1 only, and whether all are spins."""
    if spins.dtype != np.int8:
        return spins > 0, bool(np.all((spins == 1) | (spins == -1)))
    bits = spins.view(np.uint8) + np.uint8(1)  # 2 and 0
    return bits, not np.bitwise_or.reduce(bits, axis=None) & 0xFD
