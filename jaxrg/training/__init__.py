"""Training: one loop with progress and crash-safe checkpoints, and many small runs as one function to map."""

from jaxrg.training.checkpoints import checkpoint_epochs, train_checkpoints
from jaxrg.training.epoch import GradientFn, LossFn, gradient_of
from jaxrg.training.fit import Fit, NonFiniteError, fit

__all__ = [
    "Fit",
    "GradientFn",
    "LossFn",
    "NonFiniteError",
    "checkpoint_epochs",
    "fit",
    "gradient_of",
    "train_checkpoints",
]
