"""Persistent contrastive divergence of the package rbms, on PyTorch; not installed with the benchmarks."""

from collections.abc import Callable
from typing import Any

import numpy as np


def rbms_training(
    binary: np.ndarray, num_hidden: int, num_epochs: int, batch_size: int, learning_rate: float
) -> Callable[[], Any] | None:
    """A training by its own batch step, without centring, as ours; None where rbms or PyTorch is missing."""
    try:
        import torch
        from rbms.bernoulli_bernoulli.classes import BBRBM
        from rbms.training.pcd import fit_batch_pcd
    except ImportError:
        return None
    data = torch.as_tensor(binary, dtype=torch.float32)
    weights = torch.ones(len(data), 1)
    generator = torch.Generator().manual_seed(0)
    matrix = 0.01 * torch.randn(binary.shape[1], num_hidden, generator=generator)

    def train() -> Any:
        machine = BBRBM(matrix.clone(), torch.zeros(binary.shape[1]), torch.zeros(num_hidden))
        for parameter in machine.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer = torch.optim.SGD(machine.parameters(), lr=learning_rate, maximize=True)
        chains = machine.init_chains(batch_size)
        with torch.no_grad():
            for _ in range(num_epochs):
                order = torch.randperm(len(data))
                for start in range(0, len(data) - batch_size + 1, batch_size):
                    rows = order[start : start + batch_size]
                    optimizer.zero_grad(set_to_none=False)
                    chains, _ = fit_batch_pcd(
                        (data[rows], weights[rows]), chains, machine, gibbs_steps=1, beta=1.0, centered=False
                    )
                    optimizer.step()
        return machine

    return train
