r"""Tensors of lattice models: one for each spin, its bonds split evenly between both ends.

A bond weight :math:`B_{ss'}` is a product of two factors, :math:`B = F\, \mathrm{sign}\, F^T`, and a spin with the
factors of all its bonds is a tensor, :math:`T_{l u r d} = \sum_s w_s F_{sl} F_{su} F_{sr} F_{sd}`. With eigenvectors
for F every leg has the symmetries of the spins: where the model is even in them, an entry vanishes unless its number of
odd legs is even. Where an eigenvalue is negative the sign sits on the legs that point backwards.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_floating_alike, is_traced
from jaxrg.models import Phi4
from jaxrg.models.construction import as_couplings
from jaxrg.rg.tensor.decompositions import split
from jaxrg.rg.tensor.network import Tensor, normalized

LOG_CUT = 40.0  # weights below e^-40 of a field's are not integrated over


def _vertex(factors: list[tuple[Array, Array]], weights: Array) -> Tensor:
    """One spin with weights ``[q]`` between the factors ``[q, legs]`` of its bonds, for each direction of both ends."""
    legs = [pair[0] for pair in factors] + [pair[1] for pair in factors]
    entries = weights.reshape(-1, *(1,) * len(legs))
    for axis, factor in enumerate(legs):
        shape = [factor.shape[0], *(1,) * len(legs)]
        shape[axis + 1] = factor.shape[1]
        entries = entries * factor.reshape(shape)
    one = jnp.ones((), weights.dtype)
    return normalized(Tensor(jnp.sum(entries, axis=0), 0 * one, one))


def _ising_factors(coupling: Array) -> tuple[Array, Array]:
    """e^{K s s'} = cosh K + s s' sinh K; the sign of the second term sits on the leg that points backwards."""
    spins = jnp.asarray([1.0, -1.0], coupling.dtype)
    even, odd = jnp.sqrt(jnp.cosh(coupling)), jnp.sqrt(jnp.abs(jnp.sinh(coupling)))
    forward = jnp.stack([jnp.stack([even, even]), odd * spins], axis=1)
    return forward * jnp.stack([jnp.ones_like(coupling), jnp.sign(coupling)])[None, :], forward


@functools.partial(jax.jit, static_argnames="ndim")
def _ising(coupling: Array, field: Array, ndim: int) -> Tensor:
    spins = jnp.asarray([1.0, -1.0], coupling.dtype)
    return _vertex([_ising_factors(each) for each in jnp.broadcast_to(coupling, (ndim,))], jnp.exp(field * spins))


def ising_tensor(coupling: ArrayLike, *, field: ArrayLike = 0.0, ndim: int = 2) -> Tensor:
    r"""The Ising model on a square or cubic lattice, H = -Σ K s s' - h Σ s, one tensor a spin.

    .. math:: T_{l u r d} = \sum_s e^{h s} F_{sl} F_{su} F_{sr} F_{sd}, \qquad
        F_{s0} = \sqrt{\cosh K}, \quad F_{s1} = s \sqrt{\sinh K}

    Leg 1 is odd under s → -s. Without a field entries with an odd number of odd legs vanish; with one positive coupling
    the tensor has all symmetries of the lattice. The magnetization is the derivative of a flow's ln Z by the field; the
    spontaneous one needs a field that aligns all N spins, h N ≫ 1, as without one both directions cancel.

    Args:
        coupling: K, scalar or one for each axis ``[ndim]``: first that of the bonds left to right, then up to down. Not
            0, where the derivative of a factor is infinite.
        field: scalar h.
        ndim: 2, or 3 for ``[left, up, front, right, down, back]``.

    Returns:
        A tensor with legs of two states, ``num_sites`` 1.

    Raises:
        ValueError: couplings or field that are not finite, of another shape, or another number of axes.

    Example:
        >>> from jaxrg import exact
        >>> tensor = ising_tensor(exact.critical_coupling)
        >>> tensor.entries.shape, float(tensor.num_sites)
        ((2, 2, 2, 2), 1.0)
        >>> from jaxrg.rg.tensor.square import btrg
        >>> flow = lambda h: btrg(ising_tensor(0.5, field=h), 6, 20).log_partition[-1]
        >>> magnetization = jax.jvp(flow, (1e-4,), (1.0,))[1]
        >>> round(float(magnetization), 2), round(float(exact.yang_magnetization(0.5)), 2)
        (0.91, 0.91)

    Reference:
        Levin & Nave, Phys. Rev. Lett. 99, 120601 (2007); Xie et al., Phys. Rev. B 86, 045139 (2012).
    """
    if as_count("ndim", ndim, minimum=2) > 3:
        raise ValueError(f"ndim: expected 2 or 3 axes, got {ndim}")
    given = as_couplings("coupling", coupling, (), (ndim,)), as_couplings("field", field, ())
    return _ising(*as_floating_alike(coupling=given[0], field=given[1]), ndim=int(ndim))


@functools.partial(jax.jit, static_argnames="num_legs")
def _spins(bond_weights: Array, site_weights: Array, num_legs: int) -> Tensor:
    before, after = _factors(bond_weights, num_legs)
    return _vertex([(after, before)] * 2, site_weights)  # the first spin of a bond has its leg that points forward


def _factors(bond_weights: Array, num_legs: int) -> tuple[Array, Array]:
    halves = split(bond_weights, num_legs)
    return halves.left, halves.right


def spin_tensor(bond_weights: ArrayLike, site_weights: ArrayLike, *, num_legs: int | None = None) -> Tensor:
    r"""Spins of any q states with the same weights on all bonds of a square lattice, one tensor a spin.

    .. math:: Z = \sum_{\{s\}} \prod_x w_{s_x} \prod_{\langle xy\rangle} B_{s_x s_y}

    with x to the left of or above y. The bond is split by its singular vectors, the largest values first; so are those
    of `potts_tensor` and `phi4_tensor`. Clock models, Blume-Capel spins, chiral bonds and fields on nodes of a
    quadrature come from here.

    Args:
        bond_weights: ``[q, q]`` B, symmetric or not.
        site_weights: ``[q]`` w.
        num_legs: singular values kept, all q by default. Where two agree their vectors are any basis.

    Returns:
        A tensor with legs of ``num_legs`` states, ``num_sites`` 1.

    Raises:
        ValueError: weights that are not finite or of other shapes, or more legs than states.

    Example:
        >>> clock = 2 * jnp.pi * jnp.arange(4.0) / 4
        >>> spin_tensor(jnp.exp(0.5 * jnp.cos(clock[:, None] - clock[None, :])), jnp.ones(4)).entries.shape
        (4, 4, 4, 4)
    """
    bonds, sites = as_floating_alike(bond_weights=bond_weights, site_weights=site_weights)
    if bonds.ndim != 2 or bonds.shape[0] != bonds.shape[1] or not bonds.size:
        raise ValueError(f"bond_weights: expected a square matrix [q, q], got shape {bonds.shape}")
    bonds, sites = (
        as_couplings("bond_weights", bonds, bonds.shape),
        as_couplings("site_weights", sites, bonds.shape[:1]),
    )
    kept = bonds.shape[0] if num_legs is None else as_count("num_legs", num_legs)
    if kept > bonds.shape[0]:
        raise ValueError(f"num_legs: expected at most the {bonds.shape[0]} states of a spin, got {kept}")
    return _spins(bonds, sites, kept)


@functools.partial(jax.jit, static_argnames="num_states")
def _potts(coupling: Array, field: Array, num_states: int) -> Tensor:
    eye = jnp.eye(num_states, dtype=coupling.dtype)
    first = eye[0]
    return _vertex([_factors(jnp.exp(coupling * eye), num_states)] * 2, jnp.exp(field * first))


def potts_tensor(num_states: int, coupling: ArrayLike, *, field: ArrayLike = 0.0) -> Tensor:
    r"""The q-state Potts model on the square lattice, H = -K Σ δ(s, s') - h Σ δ(s, 0); critical at ln(1 + √q).

    Args:
        num_states: q, at least 2.
        coupling: scalar K, not 0.
        field: scalar h, which favours the first state.

    Returns:
        A tensor with legs of q states, ``num_sites`` 1.

    Raises:
        ValueError: fewer than two states, couplings that are not finite scalars.

    Example:
        >>> potts_tensor(3, jnp.log(1 + jnp.sqrt(3.0))).entries.shape
        (3, 3, 3, 3)

    Reference:
        Wu, Rev. Mod. Phys. 54, 235 (1982).
    """
    states = as_count("num_states", num_states, minimum=2)
    given = as_couplings("coupling", coupling, ()), as_couplings("field", field, ())
    return _potts(*as_floating_alike(coupling=given[0], field=given[1]), num_states=states)


@functools.partial(jax.jit, static_argnames=("num_legs", "num_nodes"))
def _phi4(couplings: tuple[Array, ...], num_legs: int, num_nodes: int) -> Tensor:
    mass_squared, quartic, kinetic, constant = couplings
    # V(reach) is LOG_CUT above zero, the higher maximum; the nodes do not move with the couplings in a derivative.
    root = jnp.sqrt(mass_squared * mass_squared + 4 * LOG_CUT * quartic)
    reach = jax.lax.stop_gradient(
        jnp.where(
            mass_squared > 0,
            jnp.sqrt(2 * LOG_CUT / (jnp.abs(mass_squared) + root)),
            jnp.sqrt((root - mass_squared) / (2 * quartic)),
        )
    )
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    field = reach * jnp.asarray(nodes, reach.dtype)
    squares = field * field
    measure = reach * jnp.asarray(weights, reach.dtype)
    # With the root of the measure at both ends the eigenvectors are those of the integral operator, whatever the nodes.
    log_ends = 0.5 * jnp.log(measure) - 0.25 * (mass_squared + quartic * squares) * squares
    steps = field[:, None] - field[None, :]
    bonds = jnp.exp(log_ends[:, None] + log_ends[None, :] - kinetic * steps * steps)
    tensor = _vertex([_factors(bonds, num_legs)] * 2, 1 / measure)
    return tensor._replace(log_factor=tensor.log_factor - constant)


def phi4_tensor(model: Phi4, num_legs: int, *, num_nodes: int = 64) -> Tensor:
    r"""A real field on an infinite square lattice: sites on nodes of a quadrature, bonds on few eigenvectors.

    .. math:: T_{l u r d} = \int d\phi\, F_l(\phi) F_u(\phi) F_r(\phi) F_d(\phi), \qquad
        \sum_a F_a(\phi) F_a(\phi') = e^{-k(\phi - \phi')^2 - [V(\phi) + V(\phi')]/4}

    with V = m²φ² + λφ⁴. The eigenvalues of a bond fall exponentially, slower for a wider field: of ln Z a site 8 legs
    miss 1e-7 of a free field at m² = 1.5, k = 0.4, but 4e-5 at m² = k = 0.5 and 5e-3 at m² = 0.1. Derivatives by m² and
    λ are the moments -<φ²> and -<φ⁴>.

    Args:
        model: `jaxrg.models.Phi4`, or what `jaxrg.models.kappa_phi4` makes; its lattice gives its size only to
            samplers, here it must be square. Couplings are scalars, with λ > 0, or λ = 0 and m² > 0.
        num_legs: eigenvalues of a bond kept.
        num_nodes: of Gauss and Legendre, between the two fields whose weight is e^-40.

    Returns:
        A tensor with legs of ``num_legs`` states, ``num_sites`` 1; a leg is even or odd under φ → -φ.

    Raises:
        ValueError: no Phi4 on a square lattice with scalar couplings, one without a finite integral, or more legs than
            nodes.

    Example:
        >>> from jaxrg import lattice, models
        >>> model = models.kappa_phi4(lattice.hypercubic((4, 4)), 0.27, 0.022)
        >>> phi4_tensor(model, 6).entries.shape
        (6, 6, 6, 6)

    Reference:
        Shimizu, Mod. Phys. Lett. A 27, 1250035 (2012); Kadoh et al., JHEP 05, 184 (2019).
    """
    if not isinstance(model, Phi4) or model.lattice.ndim != 2:
        raise ValueError(f"model: expected a models.Phi4 on a square lattice, got {model!r:.80}")
    names = ("mass_squared", "quartic", "kinetic", "constant")
    couplings = as_floating_alike(**{name: as_couplings(f"model.{name}", getattr(model, name), ()) for name in names})
    if not is_traced(couplings):
        mass_squared, quartic = (float(value) for value in couplings[:2])
        if not (quartic > 0 or (quartic == 0 and mass_squared > 0)):
            raise ValueError(
                f"model: expected quartic > 0, or 0 with mass_squared > 0, got {quartic} and {mass_squared}"
            )
    nodes = as_count("num_nodes", num_nodes, minimum=2)
    legs = as_count("num_legs", num_legs)
    if legs > nodes:
        raise ValueError(f"num_legs: expected at most the {nodes} nodes of a site, got {legs}")
    return _phi4(tuple(couplings), num_legs=legs, num_nodes=nodes)
