"""A sample store as a tree of labelled arrays, as xarray and ArviZ take them."""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxrg.base import PyTree
from jaxrg.store.samples import SampleStore


def as_datatree(store: SampleStore, observe: Callable[[Any], PyTree] | None = None) -> Any:
    """The samples, or what is observed of them, as an `xarray.DataTree` with the group ``posterior``.

    Variables have the dimensions ``chain`` and ``draw``, as ArviZ 1.0 wants them; the coordinate of a draw is its
    number in the store. The description of the store is in the attributes.

    Args:
        store: read as a whole.
        observe: function of one configuration, such as ``model.observables``; without it there is one variable,
            ``configuration``, whose sites are numbered along ``x0``, ``x1``, ....

    Raises:
        ModuleNotFoundError: xarray is not installed, or older than DataTree.
        ValueError: no samples.
        DamagedError: a chunk is lost, or fails its checksum.

    Example:
        >>> import tempfile
        >>> from jaxrg import lattice, models, samplers, store
        >>> ising = models.Ising(lattice.hypercubic((8, 8)), 0.44)
        >>> found = samplers.sample(tempfile.mkdtemp(), jax.random.key(0), samplers.wolff(ising), 20)
        >>> tree = store.as_datatree(found, ising.observables)  # doctest: +SKIP
        >>> tree["posterior"]["energy"].sizes  # doctest: +SKIP
        Frozen({'chain': 1, 'draw': 20})
    """
    try:
        from xarray import DataArray, Dataset, DataTree
    except ImportError:
        raise ModuleNotFoundError("expected pip install 'jaxrg[store]', got no xarray with DataTree") from None
    if observe is None:
        named = {"configuration": store.read()}
        axes = {"configuration": store.layout.site_axes}
    else:
        leaves = jax.tree.leaves_with_path(store.observe(observe))
        named = {
            jax.tree_util.keystr(path, simple=True, separator=".") or "value": np.asarray(leaf) for path, leaf in leaves
        }
        axes = {name: [f"{name}_dim_{axis}" for axis in range(value.ndim - 2)] for name, value in named.items()}
    arrays = {name: DataArray(value, dims=["chain", "draw", *axes[name]]) for name, value in named.items()}
    coordinates = {"chain": np.arange(store.layout.num_chains), "draw": np.arange(store.num_samples)}
    attributes = {name: json.dumps(value) for name, value in store.description.items()}
    return DataTree.from_dict({"posterior": Dataset(arrays, coordinates, attributes)})
