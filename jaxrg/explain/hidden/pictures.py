r"""Pictures of what a network sees: its output, or one unit inside it, taken back to the input.

They differ in what a ReLU lets back of the cotangent g that arrives at it, with x what it clamps:

.. math:: \text{gradient: } g\,[x > 0], \qquad \text{deconvnet: } \max(g, 0), \qquad
    \text{guided backpropagation: } \max(g, 0)\,[x > 0].

Everything else goes back by its own derivative: convolutions by their transpose, a max-pool to where its maximum was
(the switches of a deconvnet; of several, the first), an average pool evenly, activations other than a ReLU by theirs.

**These are pictures, not evidence.** A deconvnet without pooling does not depend on the input at all; deconvnet and
guided backpropagation hardly change when the upper layers of a network are replaced by random ones (Adebayo et al.,
NeurIPS 2018, arXiv:1810.03292; Sixt, Granz & Landgraf, ICML 2020, arXiv:1912.09818) and recover parts of the image
itself (Nie, Zhang & Patel, ICML 2018, arXiv:1805.07039). `weight_randomization` and `cosine_convergence` measure it for
a network at hand; the gradient and Grad-CAM pass.

Common arguments: a scalar ``function`` of one input, a ``sample`` of any shape. ValueError is raised for a function of
more than one number, and for one whose derivative is zero because something on the way has none, which it names.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_floating, as_integers, check_function, kind_of
from jaxrg.closures import as_partial
from jaxrg.explain.attributions import grad_cam as grad_cam_of
from jaxrg.explain.attributions.attribution import number_of
from jaxrg.explain.hidden.derivatives import Rule, max_pool_rule
from jaxrg.explain.hidden.evaluation import Plan, evaluate
from jaxrg.explain.hidden.operations import blocked, operations, traced
from jaxrg.explain.hidden.taps import run, split


class Strongest(NamedTuple):
    """The inputs that a layer's units respond to most, the strongest first."""

    values: Array  # [units, num_top], the largest activation of the unit within each
    samples: Array  # int32 [units, num_top], which inputs


def gradient_rule(pullback: Callable, cotangent: Array, inputs: Array) -> Any:
    """Of a ReLU, its own derivative."""
    return pullback(cotangent)


def deconvnet_rule(pullback: Callable, cotangent: Array, inputs: Array) -> Any:
    """Of a ReLU, what is positive of what comes back, whatever went forward."""
    return jnp.maximum(cotangent, 0)


def guided_rule(pullback: Callable, cotangent: Array, inputs: Array) -> Any:
    """Of a ReLU, what is positive of what comes back, where what went forward was."""
    return pullback(jnp.maximum(cotangent, 0))


def with_relu_rule(function: Callable, rule: Rule, args: tuple) -> tuple[list[Any], Any]:
    """Outputs of a function whose ReLUs, if it has any, go back by a rule, and their structure."""
    closed, structure = traced(as_partial(function), args)
    rules: dict[Any, tuple[Rule, int | None]] = {}
    for operation in operations(closed.jaxpr):
        if operation.inside == "loop":  # through which nothing goes back
            continue
        if operation.kind == "relu":
            rules[operation.path[:-1]] = rule, operation.operand
        elif operation.kind == "reduce_window_max" and (faster := max_pool_rule(operation.params)) is not None:
            rules[operation.path[:-1]] = faster, None
    plan = Plan(rules=rules)
    return evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args), plan)[0], structure


def check_differentiable(function: Callable, sample: Array) -> bool:
    """Raise ValueError if nothing of the output's derivative comes back to the sample, with what stops it.

    Whether the output depends on the sample at all, as a constant does not.
    """
    jaxpr = traced(as_partial(function), (sample,))[0].jaxpr
    passes, stops = blocked(jaxpr, [True])
    if stops and (not any(passes) or "while" in stops):
        names = ", ".join(sorted(set(stops)))
        raise ValueError(f"function: expected one with a derivative by its input, got operations without: {names}")
    return any(passes)


def _picture(function: Callable[[Array], Array], sample: ArrayLike, rule: Rule) -> Array:
    check_function("function", function, of="one input")
    return _back(as_partial(function), as_floating("sample", sample), Partial(rule))


@jax.jit
def _back(function: Partial, sample: Array, rule: Rule) -> Array:
    check_differentiable(function, sample)
    value = number_of(function, is_differentiated=True)
    output, picture = jax.value_and_grad(lambda inputs: with_relu_rule(value, rule, (inputs,))[0][0])(sample)
    return nan_of(output, picture)


def nan_of(values: Array, picture: Array) -> Array:
    """The picture, and NaN where the values it is of have any, which a rule may not let through."""
    return jnp.where(jnp.any(jnp.isnan(values)), jnp.nan, picture)


def deconvnet(function: Callable[[Array], Array], sample: ArrayLike) -> Array:
    r"""Deconvnet: the output taken back through transposed filters, rectified on the way, ``[*sample]``.

    A picture, not evidence: see the top of this room.

    Example:
        >>> deconvnet(lambda x: jax.nn.relu(x[0]) - jax.nn.relu(x[1]), jnp.array([-1.0, 1.0])).tolist()
        [1.0, 0.0]

    Reference:
        Zeiler & Fergus, ECCV 2014, arXiv:1311.2901.
    """
    return _picture(function, sample, deconvnet_rule)


def guided_backpropagation(function: Callable[[Array], Array], sample: ArrayLike) -> Array:
    r"""Guided backpropagation: no ReLU lets back what is negative, nor anything where it was off, ``[*sample]``.

    A picture, not evidence: see the top of this room.

    Example:
        >>> guided_backpropagation(lambda x: jax.nn.relu(x[0]) - jax.nn.relu(x[1]), jnp.array([-1.0, 1.0])).tolist()
        [0.0, 0.0]

    Reference:
        Springenberg, Dosovitskiy, Brox & Riedmiller, arXiv:1412.6806 (2014).
    """
    return _picture(function, sample, guided_rule)


def grad_cam(function: Callable[[Array], Array], sample: ArrayLike, site: str) -> Array:
    r"""Grad-CAM of a convolutional layer, ``[rows, columns]`` of the sample: `attributions.grad_cam` at a site.

    The heat map, its negative part cut off as published, is interpolated bilinearly between the centres of the layer's
    pixels. Times `guided_backpropagation` it is guided Grad-CAM, which inherits that one's failures.

    Args:
        function: scalar of one image.
        sample: ``[rows, columns, ...]``, of four axes or more perhaps with leading ones of length one.
        site: name of a site ``[rows, columns, channels]``, perhaps with leading axes of length one.

    Raises:
        ValueError: as `run`, or a site of another shape, or one that the output does not depend on.

    Reference:
        Selvaraju et al., ICCV 2017, arXiv:1610.02391.
    """
    check_function("function", function, of="one input")
    image = as_floating("sample", sample)
    if image.ndim < 2 or not image.size:
        raise ValueError(f"sample: expected an image [rows, columns, ...], got shape {image.shape}")
    return _grad_cam(as_partial(function), image, site=site)


@functools.partial(jax.jit, static_argnames="site")
def _grad_cam(function: Partial, sample: Array, *, site: str) -> Array:
    head, tail = split(function, site)
    maps = head(sample)
    if maps.ndim < 3 or maps.shape[:-3] != (1,) * (maps.ndim - 3):
        raise ValueError(f"site: expected feature maps [rows, columns, channels], got shape {maps.shape} at {site!r}")
    if not jnp.issubdtype(maps.dtype, jnp.floating):
        raise ValueError(f"site: expected feature maps of floating values, got {maps.dtype} at {site!r}")
    score = as_partial(lambda features: tail(features.reshape(maps.shape), sample))
    features = maps.reshape(maps.shape[-3:])
    if not check_differentiable(number_of(score, is_differentiated=True), features):
        raise ValueError(f"site: expected one that the output depends on, got {site!r}")
    shape = sample.shape
    while shape[0] == 1 and (len(shape) > 3 or (len(shape) == 3 and features.shape[0] > 1)):
        shape = shape[1:]  # a batch of one, and no image of one row
    return jax.image.resize(grad_cam_of(score, features).heat_map, shape[:2], "bilinear")


def strongest(
    function: Callable[[Array], Array], inputs: ArrayLike, site: str, *, num_top: int = 9, batch_size: int = 64
) -> Strongest:
    """The inputs with the largest activations of every unit of a layer, each input counted once.

    Args:
        function: any function of one input.
        inputs: ``[num_inputs, ...]``.
        site: name of a site ``[..., units]``, whose other axes are positions.
        num_top: how many inputs of each unit.
        batch_size: inputs that are worked on at once.

    Raises:
        ValueError: as `run`; no inputs, or more to be found than there are.
    """
    check_function("function", function, of="one input")
    images = as_floating("inputs", inputs)
    if images.ndim == 0 or not images.size:
        raise ValueError(f"inputs: expected [num_inputs, ...] with entries, got {kind_of(images)}")
    num_top = as_count("num_top", num_top)
    if num_top > len(images):
        raise ValueError(f"num_top: expected at most the {len(images)} inputs, got {num_top}")
    batch_size = min(as_count("batch_size", batch_size), len(images))
    return _strongest(as_partial(function), images, site=site, num_top=num_top, batch_size=batch_size)


@functools.partial(jax.jit, static_argnames=("site", "num_top", "batch_size"))
def _strongest(function: Partial, inputs: Array, *, site: str, num_top: int, batch_size: int) -> Strongest:
    def largest(sample: Array) -> Array:
        value = run(function, sample, read=[site]).values[site]
        if not value.ndim:
            raise ValueError(f"site: expected values [..., units], got one number at {site!r}")
        return jnp.max(value.reshape(-1, value.shape[-1]), axis=0)

    values, samples = jax.lax.top_k(jax.lax.map(largest, inputs, batch_size=batch_size).T, num_top)
    return Strongest(values, samples)


def unit(function: Callable[[Array], Array], site: str, index: int) -> Partial:
    """The largest activation of one unit of a layer as a scalar function of an input, to be taken back to it.

    Args:
        function: any function of one input.
        site: name of a site ``[..., units]``, whose other axes are positions.
        index: which unit; another one does not compile anew, and one that is not there gives NaN.

    Raises:
        ValueError: no function, no index; when called, as `run`.

    Example:
        >>> second = unit(lambda x: jnp.sum(jax.nn.relu(x)), "relu", 1)
        >>> deconvnet(second, jnp.array([[1.0, 2.0], [0.5, 3.0]])).tolist()
        [[0.0, 0.0], [0.0, 1.0]]
    """
    check_function("function", function, of="one input")
    number = as_integers("index", index, minimum=0)
    if number.ndim:
        raise ValueError(f"index: expected one number of a unit, got {kind_of(index)}")
    return Partial(_Unit(site), as_partial(function), number)


@dataclasses.dataclass(frozen=True)
class _Unit:
    site: str

    def __call__(self, function: Partial, index: Array, sample: Array) -> Array:
        value = run(function, sample, read=[self.site]).values[self.site]
        if not value.ndim:
            raise ValueError(f"site: expected values [..., units], got one number at {self.site!r}")
        places = jnp.take(value, index, axis=-1, mode="fill").reshape(-1)  # NaN for a unit that is none
        return places[jnp.argmax(places)]
