r"""Networks of one tensor: the partition function of an infinite lattice, read as a trace over its bonds.

The axes of a tensor come in pairs, one for each direction of the lattice: first the d legs that point backwards, then,
in the same order, the d that point forwards. On the square lattice that is ``[left, up, right, down]``, on the cubic
one ``[left, up, front, right, down, back]``. A forward leg contracts with the next tensor's backward leg.
"""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.checks import PLAIN, as_floating_alike, check_number, is_traced, kind_of
from jaxrg.rg.tensor.contraction import einsum


class Tensor(NamedTuple):
    r"""The tensor of which a network is made, and how many spins each one stands for.

    Without its number of sites a tensor has no free energy per site, and the number cannot be read off its entries: the
    same square lattice is one tensor a spin, one for two spins, or one for two bonds. Every function of this room
    refuses a tensor that does not say.

    Attributes:
        entries: ``[left, up, right, down]``, or the six legs of a cubic lattice; right contracts with the next tensor's
            left, down with the up of the one below.
        log_factor: scalar; the true tensor is exp(log_factor) times the entries.
        num_sites: scalar, spins that one tensor stands for.
    """

    entries: Array
    log_factor: Any = 0.0
    num_sites: Any = None


class Checkerboard(NamedTuple):
    """A square network in which every second tensor is the same one turned by a quarter.

    A step of `loop_tnr` makes such a network. It has all symmetries of the lattice around every second plaquette, its
    tensor those under reflection in the diagonals only; a plain `Tensor` of the same entries would be another network.

    Attributes:
        entries: ``[left, up, right, down]`` of one sublattice, all legs alike; those of the other one are
            ``jnp.transpose(entries, (1, 2, 3, 0))``.
        log_factor: scalar; the true tensors are exp(log_factor) times the entries.
        num_sites: scalar, spins that one tensor stands for.
    """

    entries: Array
    log_factor: Any = 0.0
    num_sites: Any = None


_Network = TypeVar("_Network", Tensor, Checkerboard)


def turned(entries: Array) -> Array:
    """The tensor of the other sublattice of a checkerboard."""
    return jnp.transpose(entries, (1, 2, 3, 0))


def as_tensor(name: str, value: Any, *, is_checkerboard: bool = False) -> Any:
    """A tensor of floats of one type, whose opposite legs have the same dimension; or a checkerboard where it may be.

    Raises:
        ValueError: no Tensor, as a bare array is none; no number of sites, or none above 0; legs that are no pairs of
            one dimension; entries that are not finite, or all 0.
    """
    if not isinstance(value, (Tensor, Checkerboard) if is_checkerboard else Tensor):
        words = " or a Checkerboard of the same" if is_checkerboard else ""
        raise ValueError(f"{name}: expected a Tensor(entries, log_factor, num_sites){words}, got {kind_of(value)}")
    if value.num_sites is None:
        raise ValueError(f"{name}.num_sites: expected how many spins one tensor stands for, got None")
    fields = {f"{name}.{field}": part for field, part in value._asdict().items()}
    for field in ("entries", "log_factor", "num_sites"):
        if not isinstance(fields[f"{name}.{field}"], (*PLAIN, Array)):
            raise ValueError(f"{name}.{field}: expected real numbers, got {kind_of(fields[f'{name}.{field}'])}")
    tensor = type(value)(*as_floating_alike(**fields))
    check_number(f"{name}.log_factor", tensor.log_factor)
    check_number(f"{name}.num_sites", tensor.num_sites, above=0)
    shape = tensor.entries.shape
    if len(shape) < 2 or len(shape) % 2 or 0 in shape:
        raise ValueError(f"{name}.entries: expected two legs for each direction, got shape {shape}")
    half = len(shape) // 2
    if shape[:half] != shape[half:]:
        raise ValueError(f"{name}.entries: expected opposite legs of the same dimension, got shape {shape}")
    if isinstance(tensor, Checkerboard) and shape != shape[:1] * 4:
        raise ValueError(f"{name}.entries: expected 4 legs of the same dimension, got shape {shape}")
    if not is_traced(tensor.entries):
        largest = float(np.max(np.abs(np.asarray(tensor.entries))))
        if not 0 < largest < np.inf:
            raise ValueError(f"{name}.entries: expected finite numbers, not all 0, got a largest size of {largest}")
    return tensor


def normalized(tensor: _Network) -> _Network:
    """The same tensor with entries of Frobenius norm one; differentiated as well, so that derivatives stay as small."""
    norm = frobenius(tensor.entries)
    return tensor._replace(entries=tensor.entries / norm, log_factor=tensor.log_factor + jnp.log(norm))


def frobenius(entries: Array) -> Array:
    """Frobenius norm, scaled so that squares neither overflow nor vanish."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(entries)))
    scale = jnp.where(largest > 0, largest, 1)
    return scale * jnp.sqrt(jnp.sum(jnp.square(entries / scale)))


def trace(entries: Array) -> Array:
    """A tensor closed on itself in every direction, the torus of one tensor."""
    half = entries.ndim // 2
    size = int(np.prod(entries.shape[:half]))
    return jnp.trace(entries.reshape(size, size))


def log_trace(tensor: Tensor | Checkerboard) -> Array:
    """ln Z per site of a torus of one tensor, or of the two of a checkerboard."""
    if isinstance(tensor, Checkerboard):
        both = einsum("abcd,cdab->", tensor.entries, turned(tensor.entries))
        return (jnp.log(both) / 2 + tensor.log_factor) / tensor.num_sites
    return (jnp.log(trace(tensor.entries)) + tensor.log_factor) / tensor.num_sites


def free_energy(tensor: Tensor | Checkerboard) -> Array:
    r"""ln Z per site of the torus that one tensor stands for, or the two tensors of a checkerboard.

    .. math:: \frac{\ln Z}{N} = \frac{1}{N} \Big[\ln \sum_{l, u} T_{l u l u} + f\Big]

    with f the logarithm of the tensor's factor and N its number of sites. After enough steps of a renormalisation the
    torus is the infinite lattice. Its derivatives by ``jax.jvp`` through the whole flow are energy, specific heat and
    magnetization.

    Args:
        tensor: of any number of directions, or a checkerboard.

    Returns:
        Scalar ln Z / N; nan where the trace is not positive.

    Raises:
        ValueError: no Tensor, or one without its number of sites.

    Example:
        >>> one_spin = Tensor(jnp.full((1, 1, 1, 1), 2.0), num_sites=1)
        >>> round(float(free_energy(one_spin)), 4)  # ln 2
        0.6931
    """
    return _free_energy(as_tensor("tensor", tensor, is_checkerboard=True))


_free_energy = jax.jit(log_trace)
