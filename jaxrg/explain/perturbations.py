r"""Interactions inside an adversarial perturbation, and attacks that penalise them.

The players are parts of a perturbation δ of one input x: the game is v(S) = score(model(x + δ_S)), which is
``interactions.masked_game(model, x + δ, baseline=x, ...)``. The mean of its pair interactions costs 2n + 2 passes
rather than 2^n, and has a gradient with respect to δ.

Common arguments: ``outputs[batch, classes] = model(inputs[batch, ...])``; the ``sample`` x; its true ``label``; and the
``assignment`` of its entries to players.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import check_count, is_traced
from jaxrg.interactions.games import Game, check_game
from jaxrg.interactions.masking import masked_game, num_players_of
from jaxrg.interactions.scores import logit


class Attack(NamedTuple):
    """An adversarial perturbation and how it came about."""

    perturbation: Array  # of the sample's shape, |δ| ≤ ε everywhere
    objective: Array  # [num_steps], what was maximised, before each step


def adversarial_margin(outputs: Array, label: ArrayLike) -> Array:
    r"""How far another class is ahead of the true one, :math:`\max_{k \ne y} z_k - z_y`; positive once fooled.

    Example:
        >>> float(adversarial_margin(jnp.array([3.0, 1.0, 2.0]), 0))
        -1.0
    """
    classes = jnp.arange(outputs.shape[-1]).reshape((1,) * (outputs.ndim - 1) + (-1,))
    others = jnp.where(classes == jnp.asarray(label), -jnp.inf, outputs)
    return jnp.max(others, axis=-1) - logit(outputs, label)


def player_pair_interactions(game: Game, *, players: Array | None = None) -> Array:
    r"""Mean Shapley interaction of each player with every other, in two passes a player and two more.

    Along a random order of the others, the second differences of v telescope, and the players before b are then a
    uniformly random set of a uniformly random size, which are the weights of the Shapley interaction index. Hence, for
    every game and every player,

    .. math:: \frac{1}{n-1} \sum_{b \ne a} I_{ab} =
        \frac{v(\Omega) - v(\Omega \setminus a) - v(\{a\}) + v(\emptyset)}{n-1}.

    Args:
        game: of at least two players.
        players: int ``[m]``, the players asked for; by default all.

    Returns:
        ``[m]``, in the units of the game; their mean is that over all pairs, of a random sample an unbiased estimate.

    Example:
        >>> from jaxrg.interactions import game
        >>> product = game(lambda masks: masks.all(-1).astype(jnp.float32), 3)  # one interaction, of all three
        >>> player_pair_interactions(product).tolist()
        [0.5, 0.5, 0.5]

    Reference:
        Wang, Ren, Lin, Zhu, Wang & Zhang, ICLR 2021, arXiv:2010.04055 (their mean over a).
    """
    n = check_game(game)
    check_count("num_players", n, minimum=2)
    chosen = jnp.arange(n) if players is None else jnp.asarray(players)
    is_player = jnp.arange(n).reshape(1, -1) == chosen.reshape(-1, 1)
    few = jnp.concatenate([is_player, jnp.zeros((1, n), jnp.bool_)])  # each alone, and nobody; then the others
    alone, without = jnp.split(game(jnp.concatenate([few, ~few])), 2)
    # The differences first: each is small where its terms are not.
    return ((without[-1] - without[:-1]) - (alone[:-1] - alone[-1])) / (n - 1)


def perturbation_interaction(
    model: Callable[[Array], Array],
    sample: Array,
    perturbation: Array,
    label: ArrayLike,
    assignment: np.ndarray,
    *,
    players: Array | None = None,
) -> Array:
    r"""Mean pair interaction of the parts of an adversarial perturbation, differentiable in the perturbation.

    The game is the `adversarial_margin` of :math:`x + \delta_S`, so a positive interaction is a pair of parts that fool
    the model together more than apart; ``players`` are as in `player_pair_interactions`.
    """
    score = lambda outputs: adversarial_margin(outputs, label)  # noqa: E731
    game = masked_game(model, sample + perturbation, baseline=sample, assignment=assignment, score=score)
    return jnp.mean(player_pair_interactions(game, players=players))


def interaction_reduced_objective(
    model: Callable[[Array], Array],
    sample: Array,
    label: ArrayLike,
    assignment: np.ndarray,
    *,
    weight: ArrayLike,
    num_sampled: int | None = None,
) -> Callable[[Array, Array], Array]:
    r"""Cross entropy minus the interaction of the perturbation's parts, for attacks that are to transfer.

    .. math:: \ell(x + \delta) - \lambda\, E_{a \ne b} I_{ab}(\delta)

    Args:
        weight: λ ≥ 0, traced or not; 0 is the plain attack.
        num_sampled: players drawn anew in every step; by default all.

    Returns:
        ``value = objective(key, perturbation)``, for `momentum_attack`.

    Reference:
        Wang, Ren, Lin, Zhu, Wang & Zhang, ICLR 2021, arXiv:2010.04055.
    """
    num_players = num_players_of(assignment)
    if num_sampled is not None and not 1 <= num_sampled <= num_players:
        raise ValueError(f"num_sampled: expected 1 to the {num_players} players, got {num_sampled}")

    def objective(key: Array, perturbation: Array) -> Array:
        outputs = model((sample + perturbation)[None])[0]
        players = None if num_sampled is None else jax.random.permutation(key, num_players)[:num_sampled]
        interaction = perturbation_interaction(model, sample, perturbation, label, assignment, players=players)
        return jax.nn.logsumexp(outputs) - logit(outputs, label) - jnp.asarray(weight, interaction.dtype) * interaction

    return objective


def momentum_attack(
    key: Array,
    objective: Callable[[Array, Array], Array],
    sample: Array,
    *,
    epsilon: ArrayLike,
    num_steps: int,
    momentum: ArrayLike = 1.0,
    bounds: tuple[float, float] = (0.0, 1.0),
    start: Array | None = None,
) -> Attack:
    r"""Ascend an objective within a box by signs of gradients: MI-FGSM, and PGD at momentum 0.

    .. math:: g_{t+1} = \mu g_t + \frac{\nabla_\delta}{\|\nabla_\delta\|_1}, \qquad
        \delta_{t+1} = \mathrm{clip}\bigl(\delta_t + \tfrac{2\epsilon}{T}\,\mathrm{sign}\,g_{t+1}\bigr)

    The step 2ε/T reaches any corner of the box from anywhere within half of the steps.

    Args:
        objective: ``value = objective(key, perturbation)``, to be maximised, with a new key in every step.
        sample: x, within ``bounds``, where the clip keeps x + δ too. Of a traced sample outside of them, |δ| ≤ ε still
            holds, and such entries go back by ε.
        epsilon: largest |δ| of an entry.
        momentum: μ; 1 as published, 0 for PGD; ``num_steps`` is T.
        bounds: smallest and largest value of an input.
        start: first perturbation; by default zero.

    Reference:
        Dong et al., CVPR 2018, arXiv:1710.06081; Madry et al., ICLR 2018, arXiv:1706.06083.
    """
    check_count("num_steps", num_steps)
    if start is not None and start.shape != sample.shape:
        raise ValueError(f"start: expected the sample's shape {sample.shape}, got {start.shape}")
    if not is_traced(epsilon) and not np.asarray(epsilon) >= 0:
        raise ValueError(f"epsilon: expected a number of at least 0, got {epsilon}")
    if not is_traced(sample):
        host = np.asarray(sample)
        if not np.all((host >= bounds[0]) & (host <= bounds[1])):
            raise ValueError(f"sample: expected entries within the bounds {bounds}, got {host.min()} to {host.max()}")
    largest, decay = (jnp.asarray(number, sample.dtype) for number in (epsilon, momentum))
    low, high = (jnp.clip(bound - sample, -largest, largest) for bound in bounds)

    def step(carry: tuple[Array, Array], step_key: Array) -> tuple[tuple[Array, Array], Array]:
        perturbation, velocity = carry
        value, gradient = jax.value_and_grad(lambda delta: objective(step_key, delta))(perturbation)
        velocity = decay * velocity + gradient / jnp.maximum(jnp.sum(jnp.abs(gradient)), jnp.finfo(sample.dtype).tiny)
        moved = jnp.clip(perturbation + (2 * largest / num_steps) * jnp.sign(velocity), low, high)
        return (moved, velocity), value

    first = jnp.zeros_like(sample) if start is None else jnp.clip(start, low, high)
    (perturbation, _), values = jax.lax.scan(step, (first, jnp.zeros_like(sample)), jax.random.split(key, num_steps))
    return Attack(perturbation, values)
