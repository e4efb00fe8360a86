"""Several perceptrons of the same features side by side, as one batch of matrix products."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.checks import as_count, check_function
from jaxrg.closures import as_partial
from jaxrg.flows.bijectors.conditioners import Conditioner, Dense, as_widths, init_layers
from jaxrg.flows.bijectors.making import Event


def parallel_perceptrons(
    num_networks: int, hidden: Sequence[int], *, activation: Callable[[Array], Array] = jax.nn.silu
) -> Conditioner:
    """Separate perceptrons of equal widths, whose outputs follow one another.

    With two, an affine coupling has a network for its scales and another for its shifts, as RealNVP and NeuralRG have.
    One wide `perceptron` in their place mixes the two and does twice the products.

    Args:
        num_networks: how many; must divide the number of outputs that the coupling asks for.
        hidden: widths of the hidden layers of each, at least one.
        activation: elementwise function between the layers.

    Raises:
        ValueError: a count or width that is none, or no function.

    Example:
        >>> net = parallel_perceptrons(2, (8, 8))
        >>> params = net.init(jax.random.key(0), jnp.zeros(3), 4)
        >>> params[1].weight.shape, net.apply(params, jnp.ones((3, 100))).shape
        ((2, 8, 8), (4, 100))
    """
    count, widths = as_count("num_networks", num_networks), as_widths("hidden", hidden)
    if not widths:
        raise ValueError("hidden: expected at least one width, got ()")
    check_function("activation", activation, of="an array")
    return Conditioner(Partial(_init, Event((count, *widths))), Partial(_apply, as_partial(activation)))


def _init(sizes: Event, key: Array, inputs: Array, num_outputs: int) -> tuple[Dense, ...]:
    count, *widths = sizes.shape
    if num_outputs % count:
        raise ValueError(f"num_networks: expected a divisor of the {num_outputs} outputs, got {count}")
    shape = (inputs.shape[0], *widths, num_outputs // count)
    layers = jax.vmap(lambda key: init_layers(key, shape, inputs.dtype))(jax.random.split(key, count))
    return (*layers[:-1], Dense(jnp.zeros_like(layers[-1].weight), layers[-1].bias))


def _apply(activation: Callable, params: tuple[Dense, ...], inputs: Array) -> Array:
    count, width, num_inputs = params[0].weight.shape
    lanes = inputs.reshape(num_inputs, -1)
    first = jnp.dot(params[0].weight.reshape(-1, num_inputs), lanes).reshape(count, width, -1)
    values = activation(first + params[0].bias[..., None].astype(first.dtype))
    for number, layer in enumerate(params[1:], 2):
        values = jnp.einsum("kij,kjn->kin", layer.weight, values) + layer.bias[..., None].astype(values.dtype)
        values = activation(values) if number < len(params) else values
    return values.reshape(-1, *inputs.shape[1:])
