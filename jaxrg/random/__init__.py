r"""Counter-based random bits, computed inside the kernel that uses them.

A word is a pure function of a JAX key, a site and a draw number, so that a trajectory does not depend on the layout of
the lattice, on the number of devices or on where a run was interrupted. The driver folds the step into the key; the
kernel asks for the words of its *global* sites. No array of random numbers is ever written: the generators are unrolled
integer arithmetic that XLA fuses into their consumer.

The default is Threefry4x32 with 13 rounds. Its authors know of no flaw from 12 rounds on (documentation of
Random123), and 13 has published known answers. It was as fast as Philox4x32-7, over which the same authors see a
cloud, and 1.6 times as fast as the Threefry2x32-20 of ``jax.random``; it needs no wide products, which a TPU lacks.
``benchmarks/random_quality.py`` writes the stream in the order in which the kernels consume it and tests it.
`light_bits` are words of half the operations, from fewer rounds, for kernels that would otherwise wait for them.
"""

from jaxrg.random.draws import (
    BinaryExpansion,
    bernoulli,
    bernoulli_logit,
    binary_expansion,
    bits,
    key_words,
    light_bits,
    uniform,
)
from jaxrg.random.generators import philox4x32, rotate_left, threefry2x32, threefry4x32

__all__ = [
    "BinaryExpansion",
    "bernoulli",
    "bernoulli_logit",
    "binary_expansion",
    "bits",
    "key_words",
    "light_bits",
    "philox4x32",
    "rotate_left",
    "threefry2x32",
    "threefry4x32",
    "uniform",
]
