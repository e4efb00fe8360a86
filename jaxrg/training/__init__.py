"""Training: one loop with progress and crash-safe checkpoints, and many small runs as one function to map."""

from jaxrg.training.averaging import averaged_params, moving_average
from jaxrg.training.checkpoints import checkpoint_epochs, train_checkpoints
from jaxrg.training.epoch import GradientFn, LossFn, StatefulLossFn, gradient_of, stateful_gradient_of
from jaxrg.training.fit import fit
from jaxrg.training.result import Fit, NonFiniteError, load
from jaxrg.training.stopping import early_stopping

__all__ = [
    "Fit",
    "GradientFn",
    "LossFn",
    "NonFiniteError",
    "StatefulLossFn",
    "averaged_params",
    "checkpoint_epochs",
    "early_stopping",
    "fit",
    "gradient_of",
    "load",
    "moving_average",
    "stateful_gradient_of",
    "train_checkpoints",
]
