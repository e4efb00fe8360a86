r"""Interactions inside an adversarial perturbation, and attacks that penalise them.

The players are parts of a perturbation δ of one input x: the game is v(S) = score(model(x + δ_S)), which is
``interactions.masked_game(model, x + δ, baseline=x, ...)``. The mean of its pair interactions costs 2n + 2 passes
rather than 2^n, and has a gradient with respect to δ.

Common arguments: ``outputs[batch, classes] = model(inputs[batch, ...])``; the ``sample`` x; its true ``label``; and the
``assignment`` of its entries to players.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.checks import (
    as_count,
    as_floating,
    as_floating_alike,
    as_integers,
    as_labels,
    check_function,
    check_key,
    check_number,
    check_shape,
    is_traced,
    take_labelled,
)
from jaxrg.closures import as_partial
from jaxrg.explain._games import StaticAssignment, values_of
from jaxrg.interactions.games import Game, as_game
from jaxrg.interactions.masking import check_inputs, masked_game, num_players_of


class Attack(NamedTuple):
    """An adversarial perturbation and how it came about."""

    perturbation: Array  # of the sample's shape, |δ| ≤ ε everywhere
    objective: Array  # [num_steps], what was maximised, before each step


def adversarial_margin(outputs: ArrayLike, label: ArrayLike) -> Array:
    r"""How far another class is ahead of the true one, :math:`\max_{k \ne y} z_k - z_y`; positive once fooled.

    ``[...]`` of outputs ``[..., classes]`` and of one label, or a label ``[...]`` for each; NaN for a traced label that
    is no class.

    Example:
        >>> float(adversarial_margin(jnp.array([3.0, 1.0, 2.0]), 0))
        -1.0
    """
    scores = as_floating("outputs", outputs)
    if not scores.ndim or scores.shape[-1] < 2:
        raise ValueError(f"outputs: expected [..., classes] of two classes or more, got shape {tuple(scores.shape)}")
    labels = as_labels("label", label, scores.shape[-1])
    if labels.ndim:
        check_shape("label", labels, scores.shape[:-1])
    return _adversarial_margin(scores, labels)


@jax.jit
def _adversarial_margin(outputs: Array, labels: Array) -> Array:
    labels = jnp.broadcast_to(labels, outputs.shape[:-1])
    classes = jnp.arange(outputs.shape[-1], dtype=labels.dtype).reshape((1,) * (outputs.ndim - 1) + (-1,))
    others = jnp.where(classes == labels[..., None], -jnp.inf, outputs)
    return jnp.max(others, axis=-1) - take_labelled(outputs, labels)


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
    game = as_game(game)
    n = as_count("num_players", game.num_players, minimum=2)
    chosen = _as_players(players, n)
    return _player_pair_interactions(game, chosen)


def _as_players(players: ArrayLike | None, num_players: int) -> Array | np.ndarray:
    if players is None:
        return np.arange(num_players, dtype=np.int32)
    chosen = as_integers("players", players, minimum=0, maximum=num_players - 1)
    if chosen.ndim != 1 or not chosen.shape[0]:
        raise ValueError(f"players: expected a vector of players, got shape {tuple(chosen.shape)}")
    return chosen


@jax.jit
def _player_pair_interactions(game: Game, chosen: Array) -> Array:
    n = game.num_players
    is_player = jnp.arange(n, dtype=chosen.dtype).reshape(1, -1) == chosen.reshape(-1, 1)
    few = jnp.concatenate([is_player, jnp.zeros((1, n), jnp.bool_)])  # each alone, and nobody; then the others
    alone, without = jnp.split(values_of(game, jnp.concatenate([few, ~few])), 2)
    # The differences first: each is small where its terms are not.
    means = ((without[-1] - without[:-1]) - (alone[:-1] - alone[-1])) / (n - 1)
    return jnp.where(jnp.any(is_player, axis=-1), means, jnp.nan)


def perturbation_interaction(
    model: Callable[[Array], Array],
    sample: ArrayLike,
    perturbation: ArrayLike,
    label: ArrayLike,
    assignment: np.ndarray,
    *,
    players: Array | None = None,
) -> Array:
    r"""Mean pair interaction of the parts of an adversarial perturbation, differentiable in the perturbation.

    The game is the `adversarial_margin` of :math:`x + \delta_S`, so a positive interaction is a pair of parts that fool
    the model together more than apart; ``players`` are as in `player_pair_interactions`.
    """
    attacked, given = _Attacked.of(model, sample, label, assignment), as_floating("perturbation", perturbation)
    check_shape("perturbation", given, attacked.sample.shape)
    n = as_count("num_players", num_players_of(attacked.players.array), minimum=2)
    chosen = _as_players(players, n)
    return _perturbation_interaction(attacked, given, chosen)


@functools.partial(jax.tree_util.register_dataclass, data_fields=("model", "sample", "label"), meta_fields=("players",))
@dataclasses.dataclass(frozen=True)
class _Attacked:
    """A model and the input of it that is attacked; the players are static."""

    model: Partial
    sample: Array
    label: Array
    players: StaticAssignment

    @classmethod
    def of(cls, model: Callable, sample: ArrayLike, label: ArrayLike, assignment: Any) -> "_Attacked":
        check_function("model", model, of="inputs")
        given, players = as_floating("sample", sample), StaticAssignment.of(assignment)
        check_inputs(given, given, players.array)
        called = as_partial(model)
        outputs = jax.eval_shape(called, jax.ShapeDtypeStruct((1, *given.shape), given.dtype))
        if len(outputs.shape) != 2 or outputs.shape[0] != 1:
            raise ValueError(f"model: expected outputs [batch, classes], got shape {outputs.shape} of one input")
        return cls(called, given, as_labels("label", label, outputs.shape[1], ()), players)


def _margin_of(label: Array, outputs: Array) -> Array:
    return adversarial_margin(outputs, label)


@jax.jit
def _perturbation_interaction(attacked: _Attacked, perturbation: Array, players: Array) -> Array:
    sample, delta = as_floating_alike(sample=attacked.sample, perturbation=perturbation)
    score = Partial(_margin_of, attacked.label)
    assignment = attacked.players.array
    game = masked_game(attacked.model, sample + delta, baseline=sample, assignment=assignment, score=score)
    return jnp.mean(_player_pair_interactions(game, players))


def interaction_reduced_objective(
    model: Callable[[Array], Array],
    sample: ArrayLike,
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
    attacked = _Attacked.of(model, sample, label, assignment)
    num_players = as_count("num_players", num_players_of(attacked.players.array), minimum=2)
    if num_sampled is not None and as_count("num_sampled", num_sampled) > num_players:
        raise ValueError(f"num_sampled: expected 1 to the {num_players} players, got {num_sampled}")
    strength = as_floating("weight", weight)
    check_shape("weight", strength, ())
    if not is_traced(weight) and not bool(np.asarray(weight) >= 0):
        raise ValueError(f"weight: expected a number of at least 0, got {weight}")
    return as_partial(functools.partial(_reduced_objective, num_sampled or num_players, attacked, strength))


def _reduced_objective(num_sampled: int, attacked: _Attacked, weight: Array, key: Array, perturbation: Array) -> Array:
    num_players = num_players_of(attacked.players.array)
    sample, delta = as_floating_alike(sample=attacked.sample, perturbation=perturbation)
    outputs = attacked.model((sample + delta)[None])[0]
    players = jnp.arange(num_players, dtype=jnp.int32)
    if num_sampled < num_players:
        players = jax.random.permutation(key, players)[:num_sampled]
    interaction = _perturbation_interaction(attacked, delta, players)
    loss = jax.nn.logsumexp(outputs) - take_labelled(outputs, attacked.label)
    return loss - weight.astype(loss.dtype) * interaction.astype(loss.dtype)


def momentum_attack(
    key: Array,
    objective: Callable[[Array, Array], Array],
    sample: ArrayLike,
    *,
    epsilon: ArrayLike,
    num_steps: int,
    momentum: ArrayLike = 1.0,
    bounds: tuple[float, float] = (0.0, 1.0),
    start: ArrayLike | None = None,
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
    check_key("key", key)
    check_function("objective", objective, of="key and perturbation")
    num_steps, given = as_count("num_steps", num_steps), as_floating("sample", sample)
    numbers = {"epsilon": epsilon, "momentum": momentum, "bounds[0]": bounds[0], "bounds[1]": bounds[1]}
    for name, number in numbers.items():
        check_number(name, number)
    if not is_traced(epsilon) and not bool(np.asarray(epsilon) >= 0):
        raise ValueError(f"epsilon: expected a number of at least 0, got {epsilon}")
    if not is_traced(given) and not is_traced(bounds):
        host = np.asarray(given)
        if not np.all((host >= float(bounds[0])) & (host <= float(bounds[1]))):
            raise ValueError(
                f"sample: expected entries within the bounds {bounds}, got {host.min(initial=np.inf)} to "
                f"{host.max(initial=-np.inf)}"
            )
    first = as_floating("start", np.zeros(given.shape, given.dtype) if start is None else start)
    if first.shape != given.shape:
        raise ValueError(f"start: expected the sample's shape {tuple(given.shape)}, got {tuple(first.shape)}")
    options = tuple(as_floating(name, number) for name, number in numbers.items())
    return _momentum_attack(key, as_partial(objective), given, first, options, num_steps=num_steps)


@functools.partial(jax.jit, static_argnames="num_steps")
def _momentum_attack(
    key: Array, objective: Partial, sample: Array, start: Array, options: tuple[Array, ...], *, num_steps: int
) -> Attack:
    largest, decay, *bounds = (number.astype(sample.dtype) for number in options)
    low, high = (jnp.clip(bound - sample, -largest, largest) for bound in bounds)
    start = start.astype(sample.dtype)

    def value_of(step_key: Array, delta: Array) -> Array:
        value = as_floating("objective", objective(step_key, delta))
        if value.shape:
            raise ValueError(f"objective: expected one number, got shape {value.shape}")
        return value.astype(sample.dtype)

    def step(carry: tuple[Array, Array], step_key: Array) -> tuple[tuple[Array, Array], Array]:
        perturbation, velocity = carry
        value, gradient = jax.value_and_grad(value_of, argnums=1)(step_key, perturbation)
        velocity = decay * velocity + gradient / jnp.maximum(jnp.sum(jnp.abs(gradient)), jnp.finfo(sample.dtype).tiny)
        moved = jnp.clip(perturbation + (2 * largest / num_steps) * jnp.sign(velocity), low, high)
        return (moved, velocity), value

    first = jnp.clip(start, low, high), jnp.zeros_like(sample)
    (perturbation, _), values = jax.lax.scan(step, first, jax.random.split(key, num_steps))
    return Attack(perturbation, values)
