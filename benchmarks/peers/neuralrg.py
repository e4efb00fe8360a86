"""NeuralRG's training step as one would carry it over to JAX: batch leading, gathers by index, masked couplings."""

import jax
import jax.numpy as jnp
import numpy as np

BLOCK = 2


def indices(side: int, level: int, offset: int) -> np.ndarray:
    """``[blocks, 4]`` sites of all blocks of one pass in the flattened lattice, as `getIndeices` of the original."""
    dilation, stride = 2**level, BLOCK * 2**level
    inside = np.arange(BLOCK) * dilation
    starts = np.arange(side // stride) * stride
    rows = (starts[:, None, None, None] + inside[None, None, :, None] + offset) % side
    columns = (starts[None, :, None, None] + inside[None, None, None, :] + offset) % side
    return (rows * side + columns).reshape(-1, BLOCK**2)


def init(key, side: int, num_layers: int, hidden: int, dtype=jnp.float32):
    """Parameters and masks of every pass: two perceptrons of three hidden layers for each coupling."""
    sizes = (BLOCK**2, hidden, hidden, hidden, BLOCK**2)
    num_passes = 2 * int(np.log2(side))
    masks = np.zeros((num_passes, num_layers, BLOCK**2), np.float32)
    rng = np.random.default_rng(0)
    for one in masks.reshape(-1, 2, BLOCK**2):
        one[0, rng.permutation(BLOCK**2)[: BLOCK**2 // 2]] = 1
        one[1] = 1 - one[0]

    def net(key):
        keys = jax.random.split(key, len(sizes) - 1)
        return [
            (
                jax.random.normal(keys[i], (num_layers, sizes[i + 1], sizes[i]), dtype) / 3 / sizes[i] ** 0.5,
                jnp.zeros((num_layers, sizes[i + 1]), dtype),
            )
            for i in range(len(sizes) - 1)
        ]

    keys = jax.random.split(key, 2 * num_passes)
    passes = [
        {"s": net(keys[2 * i]), "t": net(keys[2 * i + 1]), "scale": jnp.zeros((num_layers, BLOCK**2), dtype)}
        for i in range(num_passes)
    ]
    return passes, jnp.asarray(masks)


def _mlp(layers, x):
    for weight, bias in layers[:-1]:
        x = jax.nn.elu(x @ weight.T + bias)
    weight, bias = layers[-1]
    return x @ weight.T + bias


def generate(params, masks, latents):
    """``[batch, sites] -> [batch, sites]`` and log-determinants."""
    batch, sites = latents.shape
    side = round(sites**0.5)
    passes = [(level, offset) for level in range(int(np.log2(side))) for offset in (0, 2**level)]
    x, total = latents, jnp.zeros(batch, latents.dtype)
    for number in reversed(range(len(passes))):
        index = indices(side, *passes[number])

        def layer(carry, one):
            y, log_det = carry
            own, mask = one
            kept = y * mask
            s = own["scale"] * jnp.tanh(_mlp(own["s"], kept)) * (1 - mask)
            t = _mlp(own["t"], kept) * (1 - mask)
            return (kept + (1 - mask) * (y * jnp.exp(s) + t), log_det + jnp.sum(s, axis=-1)), None

        blocks = x[:, index].reshape(-1, index.shape[1])
        start = (blocks, jnp.zeros(blocks.shape[0], blocks.dtype))
        (blocks, log_det), _ = jax.lax.scan(layer, start, (params[number], masks[number]))
        total = total + jnp.sum(log_det.reshape(batch, -1), axis=1)
        x = x.at[:, index].set(blocks.reshape(batch, *index.shape))
    return x, total


def precision(side: int, temperature: float) -> np.ndarray:
    """``[sites, sites]`` inverse of K = A / T + (0.1 - least eigenvalue) 1, dense as in the original."""
    sites = np.arange(side**2).reshape(side, side)
    coupling = np.zeros((side**2, side**2))
    for axis in (0, 1):
        coupling[sites.ravel(), np.roll(sites, 1, axis).ravel()] += 1 / temperature
        coupling[np.roll(sites, 1, axis).ravel(), sites.ravel()] += 1 / temperature
    lowest = np.linalg.eigvalsh(coupling)[0]
    return np.linalg.inv(coupling + (0.1 - lowest) * np.eye(side**2)).astype(np.float32)


def loss(params, masks, inverse, latents):
    """Reverse KL of the Ising model's continuous dual, up to constants; ``latents [batch, sites]`` are normal."""
    x, log_det = generate(params, masks, latents)
    log_cosh = jnp.abs(x) + jnp.log1p(jnp.exp(-2 * jnp.abs(x)))
    energy = 0.5 * jnp.sum(x * (x @ inverse), axis=1) - jnp.sum(log_cosh, axis=1)
    return jnp.mean(energy - log_det - 0.5 * jnp.sum(latents**2, axis=1))
