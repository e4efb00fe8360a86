"""Hierarchical flows: a field to latents scale by scale and back, with exact log-determinants."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import Bijector, PyTree
from jaxrg.checks import as_count, as_sides, kind_of
from jaxrg.closures import as_partial
from jaxrg.flows.bijectors.making import bijector
from jaxrg.flows.level_checks import check_params
from jaxrg.flows.passes import FACTOR, Geometry, generate, passes, renormalise, sum_of_blocks

Layer: TypeAlias = Bijector | Callable[[int], Bijector]
"""A bijector of the event of one block, ``[block] * ndim`` or with channels last; or ``bijector = layer(level)``."""

Latents: TypeAlias = dict[int, Array]
"""``{level: array}``, 0 the finest; shapes as in ``geometry(flow).latent_shapes``, and lanes or a batch."""


class Layers(NamedTuple):
    """Bijectors of all passes: by level and pass, or by pass alone where levels share them; and of the top."""

    levels: tuple
    top: Bijector | None

    def of(self, params: PyTree, level: int, number: Any) -> tuple[Bijector, PyTree]:
        """The bijector of a pass and its parameters; of a traced number, where all of the level are alike."""
        parts = self._of_level(params, level)
        if not isinstance(number, Array):
            return parts[number]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves)[number], *parts)

    def are_alike(self, params: PyTree, level: int) -> bool:
        """Whether the passes of a level differ by numbers alone."""
        parts = self._of_level(params, level)
        kinds = [jax.tree.structure(part) for part in parts]
        shapes = [[(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(part)] for part in parts]
        return kinds[1:] == kinds[:-1] and shapes[1:] == shapes[:-1]

    def _of_level(self, params: PyTree, level: int) -> list[tuple[Bijector, PyTree]]:
        if _is_shared(self):
            return list(zip(self.levels, params["levels"], strict=True))
        return list(zip(self.levels[level], params["levels"][level], strict=True))


def rg_flow(
    shape: Sequence[int],
    *,
    block: int = 2,
    num_levels: int | None = None,
    disentangler: Layer,
    decimator: Layer,
    top: Bijector | None = None,
    channels: int | None = None,
    offsets: Sequence[int | Sequence[int]] | None = None,
    is_periodic: bool = True,
    is_shared: bool = False,
) -> Bijector:
    r"""A hierarchical flow: at every scale blocks are disentangled, and what no longer matters stays behind as latents.

    .. math:: x^{(h+1)}, z_h = \mathrm{split}\,(D_h \circ U_h)^{-1}(x^{(h)}), \qquad
        \ln q(x) = \sum_h \ln p(z_h) + \ln\left|\det \partial z/\partial x\right|

    Level h works on the lattice ``[::2**h]``. Each pass tiles it with blocks, moved by its offset; afterwards the even
    sites go up, and the others, 3 of 4 in two dimensions, are the latents of the level. The last level keeps all.

    The order and the offsets of the passes differ in the literature, and here are arguments, in the order of
    renormalisation. The default ``(block // 2, 0)``, the moved pass first, is that of the RG-Flow paper: the pass
    before the decimation has its blocks aligned with the cells. The codes of NeuralRG and RG-Flow both have ``(0, block
    // 2)``, and NeuralRG may repeat it, ``(0, 1, 0, 1)``. The code of RG-Flow wraps around also for images; without
    wrap a moved pass leaves the sites of its partial blocks alone.

    With ``is_shared`` all levels have the same weights, so that the parameters of a flow trained at L are those of one
    with one more level at 2L. Parameters of levels with weights of their own are extended by a copy of the finest:
    ``{**params, "levels": params["levels"][:1] + params["levels"]}``.

    Args:
        shape: sides of the lattice, of one to three dimensions or more.
        block: sites along a side of a block, even.
        num_levels: number of levels; as many as the sides allow unless given.
        disentangler: of all passes but the last of a level; weights are separate for every pass.
        decimator: of the last pass of a level.
        top: bijector of the lattice of the last level as a whole, ``[*sides, (channels)]``, after all passes.
        channels: length of a last axis of the field, whose entries stay together; None if there is none.
        offsets: of the passes in sites of their level, from 0 to ``block - 1``; one number for all axes, or one each.
        is_periodic: whether blocks wrap around, as for fields; not for images.
        is_shared: whether all levels share their weights.

    Returns:
        A bijector: ``field, log_det = forward(params, latents)`` is generation, ``latents, log_det = inverse(params,
        field)`` renormalisation, of ``{level: latents}`` in the shapes of `geometry` and ``[*shape, (channels)]``.
        ``params["levels"]`` is a tuple of levels, of passes in the order of renormalisation each, or of passes alone
        where levels share them; ``params["top"]`` is of the top.

    Raises:
        ValueError: sides that the blocks of a level do not tile, more levels than the sides allow, an odd block, or
            a bijector that does not fit the block.

    Example:
        >>> from jaxrg.flows.bijectors import affine_coupling, perceptron
        >>> layer = affine_coupling((2, 2), [[True, False], [False, True]], perceptron((8,)))
        >>> flow = rg_flow((8, 8), disentangler=layer, decimator=layer)
        >>> latents, log_det = flow.inverse(flow.init(jax.random.key(0)), jnp.ones((8, 8, 100)))
        >>> {level: z.shape for level, z in latents.items()}, log_det.shape
        ({0: (3, 4, 4, 100), 1: (3, 2, 2, 100), 2: (2, 2, 100)}, (100,))

    Reference:
        Li & Wang, Phys. Rev. Lett. 121, 260601 (2018); Hu, Wu, You, Olshausen & Chen, arXiv:2010.00029 (2020).
    """
    sides, length = as_sides("shape", shape, minimum=2), as_count("block", block, minimum=2)
    if not sides:
        raise ValueError("shape: expected at least one side, got ()")
    if length % FACTOR:
        raise ValueError(f"block: expected an even number of sites, got {length}")
    geometry = Geometry(
        sides,
        None if channels is None else as_count("channels", channels),
        length,
        _as_levels(num_levels, sides, length),
        _as_offsets(offsets, length, len(sides)),
        bool(is_periodic),
        top is not None,
    )
    kinds = [("disentangler", disentangler)] * (len(geometry.offsets) - 1) + [("decimator", decimator)]
    seen: set[int] = set()
    levels = tuple(
        tuple(_as_layer(name, layer, level, geometry.event, seen) for name, layer in kinds)
        for level in range(1 if is_shared else geometry.num_levels)
    )
    top_event = geometry.latent_shapes[geometry.num_levels - 1]
    layers = Layers(
        levels[0] if is_shared else levels,
        None if top is None else _as_layer("top", top, geometry.num_levels - 1, top_event, seen),
    )
    return bijector(_init, _forward, _inverse, geometry, layers)


def _as_levels(num_levels: Any, sides: tuple[int, ...], block: int) -> int:
    if any(side % block for side in sides):
        raise ValueError(f"block: expected a divisor of every side of {sides}, got {block}")
    most = 1
    while all(side % (block * FACTOR**most) == 0 for side in sides):
        most += 1
    if num_levels is None:
        return most
    if as_count("num_levels", num_levels) > most:
        raise ValueError(
            f"num_levels: expected at most {most}, as blocks of {block} tile the lattice {sides} halved "
            f"{most - 1} times and not once more, got {num_levels}"
        )
    return int(num_levels)


def _as_offsets(offsets: Any, block: int, ndim: int) -> tuple[tuple[int, ...], ...]:
    if offsets is None:
        offsets = (block // 2, 0)
    if not isinstance(offsets, Sequence | np.ndarray) or isinstance(offsets, str | bytes) or not len(offsets):
        raise ValueError(f"offsets: expected one offset of every pass such as (1, 0), got {kind_of(offsets)}")
    moved = []
    for offset in offsets:
        steps = offset if isinstance(offset, Sequence | np.ndarray) else (offset,) * ndim
        steps = tuple(as_count("offsets", step, minimum=0) for step in steps)
        if len(steps) != ndim or max(steps) >= block:
            raise ValueError(f"offsets: expected numbers from 0 to {block - 1}, one or {ndim} a pass, got {offset!r}")
        moved.append(steps)
    return tuple(moved)


def _as_layer(name: str, layer: Any, level: int, event: tuple[int, ...], seen: set[int]) -> Bijector:
    """The bijector of one level, of functions that are pytrees; tried, without computing, on an event with a lane."""
    if callable(layer):
        layer = layer(level)
    parts: list[Any] = [getattr(layer, part, None) for part in Bijector._fields]
    if not all(map(callable, parts)):
        raise ValueError(
            f"{name}: expected a Bijector, or a function of a level that returns one, got {kind_of(layer)}"
        )
    made = Bijector(*(as_partial(part) for part in parts))
    if id(layer) not in seen:
        seen.add(id(layer))
        for way in (made.forward, made.inverse):
            out = jax.eval_shape(
                lambda key, way=way: way(made.init(key), jnp.zeros((*event, 1), jnp.result_type(float))),
                jax.eval_shape(lambda: jax.random.key(0)),
            )
            shapes = [getattr(part, "shape", None) for part in jax.tree.leaves(out)]
            if shapes != [(*event, 1), (1,)]:
                raise ValueError(
                    f"{name}: expected a bijector that takes events of shape {event} with lanes to the same and one "
                    f"log-determinant a lane, {[(*event, 1), (1,)]}, got {shapes}"
                )
    return made


def _is_shared(layers: Layers) -> bool:
    return isinstance(layers.levels[0], Bijector)


def _init(geometry: Geometry, layers: Layers, key: Array) -> PyTree:
    top_key, key = jax.random.split(key)

    def of_passes(level: int, bijectors: tuple) -> tuple:
        used = range(len(bijectors)) if _is_shared(layers) else passes(geometry, level)
        keys = jax.random.split(jax.random.fold_in(key, level), len(bijectors))
        return tuple(layer.init(keys[number]) if number in used else () for number, layer in enumerate(bijectors))

    if _is_shared(layers):
        levels = of_passes(0, layers.levels)
    else:
        levels = tuple(of_passes(level, bijectors) for level, bijectors in enumerate(layers.levels))
    return {"levels": levels, "top": () if layers.top is None else layers.top.init(top_key)}


def _act(geometry: Geometry, layers: Layers, params: PyTree, way: str) -> Callable:
    """What a pass does to its blocks, ``forward`` or ``inverse``, and the sum of their log-determinants."""

    def act(level: int, number: int, blocks: Array) -> tuple[Array, Array]:
        layer, own = layers.of(params, level, number)
        blocks, log_det = getattr(layer, way)(own, blocks)
        return blocks, sum_of_blocks(log_det, geometry.ndim)

    return act


def _check_params(geometry: Geometry, layers: Layers, params: Any) -> None:
    """Raise ValueError unless the parameters have as many levels and passes as the flow."""
    levels = params.get("levels") if isinstance(params, dict) and "top" in params else None
    if not isinstance(levels, Sequence) or len(levels) != len(layers.levels):
        expected = f"the parameters of {len(layers.levels)} {'passes' if _is_shared(layers) else 'levels'}"
        got = kind_of(params) if levels is None else f"those of {len(levels)}"
        raise ValueError(f"params: expected {expected}, as flow.init makes them, got {got}")
    own = jax.eval_shape(lambda: _init(geometry, layers, jax.random.key(0)))
    check_params(params, own, geometry.num_levels)


def check_latents(shapes: dict[int, tuple[int, ...]], latents: Any) -> None:
    """Raise ValueError unless these are latents of all levels in their shapes, with the same lanes."""
    if not isinstance(latents, dict) or set(latents) != set(shapes):
        got = sorted(latents) if isinstance(latents, dict) else kind_of(latents)
        raise ValueError(f"latents: expected a dictionary of the levels {sorted(shapes)}, got {got}")
    lanes = latents[0].shape[len(shapes[0]) :] if hasattr(latents[0], "shape") else ()
    for level, shape in shapes.items():
        if getattr(latents[level], "shape", None) != shape + lanes:
            raise ValueError(f"latents: expected shape {shape + lanes} at level {level}, got {kind_of(latents[level])}")


def _forward(geometry: Geometry, layers: Layers, params: PyTree, latents: Latents) -> tuple[Array, Array]:
    check_latents(geometry.latent_shapes, latents)
    _check_params(geometry, layers, params)
    alike = functools.partial(layers.are_alike, params)
    top = geometry.num_levels - 1
    total = jnp.zeros(latents[top].shape[len(geometry.latent_shapes[top]) :], latents[top].dtype)
    if layers.top is not None:
        head, total = layers.top.forward(params["top"], latents[top])
        latents = latents | {top: head}
    field, log_dets = generate(geometry, _act(geometry, layers, params, "forward"), latents, alike)
    return field, functools.reduce(jnp.add, log_dets, total)


def _inverse(geometry: Geometry, layers: Layers, params: PyTree, field: Array) -> tuple[Latents, Array]:
    if field.shape[: len(geometry.shape)] != geometry.shape:
        raise ValueError(f"field: expected shape {geometry.shape}, with lanes last if there are, got {field.shape}")
    _check_params(geometry, layers, params)
    alike = functools.partial(layers.are_alike, params)
    latents, log_dets = renormalise(geometry, _act(geometry, layers, params, "inverse"), field, alike)
    total = jnp.zeros(field.shape[len(geometry.shape) :], field.dtype)
    if layers.top is not None:
        top = geometry.num_levels - 1
        head, total = layers.top.inverse(params["top"], latents[top])
        latents = latents | {top: head}
    return latents, functools.reduce(jnp.add, log_dets, total)


def geometry(flow: Bijector) -> Geometry:
    """The tree of scales of a flow of `rg_flow`: shapes of its latents, blocks of its passes.

    Raises:
        ValueError: another bijector.

    Example:
        >>> from jaxrg.flows.bijectors import permutation
        >>> swap = permutation((2, 2), [[3, 2], [1, 0]])
        >>> geometry(rg_flow((8, 8), disentangler=swap, decimator=swap)).latent_shapes
        {0: (3, 4, 4), 1: (3, 2, 2), 2: (2, 2)}
    """
    return parts_of(flow)[0]


def parts_of(flow: Bijector) -> tuple[Geometry, Layers]:
    """The geometry and the layers of a flow, which its functions hold.

    Raises:
        ValueError: another bijector.
    """
    inner = next(iter(getattr(getattr(flow, "forward", None), "args", ())), None)
    choices = getattr(inner, "args", ())
    if len(choices) != 2 or not isinstance(choices[0], Geometry):
        raise ValueError(f"flow: expected a flow that rg_flow made, got {kind_of(flow)}")
    return choices
