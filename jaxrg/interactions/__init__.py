"""Interactions of a function's inputs: games, exact Harsanyi AND-OR interactions, and every index built on them."""

from jaxrg.interactions import and_or, indices, sampling, sparse
from jaxrg.interactions.baselines import LearnedBaseline, blurred_baseline, learn_baseline
from jaxrg.interactions.dividends import co_moebius, from_harsanyi, from_harsanyi_or, harsanyi, harsanyi_or
from jaxrg.interactions.games import Game, evaluate, evaluate_on_host, evaluate_over_devices, game
from jaxrg.interactions.indices.shares import banzhaf_values, shapley_values
from jaxrg.interactions.masking import (
    apply_masks,
    features,
    keep_players,
    masked_game,
    num_players_of,
    patches,
    segments,
)
from jaxrg.interactions.masking_on_host import masked_game_on_host
from jaxrg.interactions.orders import OrderStrengths, multi_order_interactions, order_strengths, pairs, sum_by_order
from jaxrg.interactions.scores import log_odds, log_probability, logit
from jaxrg.interactions.tokens import token_game, tokens
from jaxrg.interactions.view import (
    SALIENT_FRACTION,
    InteractionView,
    is_salient,
    label,
    label_matrix,
    label_table,
    merge_and_or,
)

__all__ = [
    "SALIENT_FRACTION",
    "Game",
    "InteractionView",
    "LearnedBaseline",
    "OrderStrengths",
    "and_or",
    "apply_masks",
    "banzhaf_values",
    "blurred_baseline",
    "co_moebius",
    "evaluate",
    "evaluate_on_host",
    "evaluate_over_devices",
    "features",
    "from_harsanyi",
    "from_harsanyi_or",
    "game",
    "harsanyi",
    "harsanyi_or",
    "indices",
    "is_salient",
    "keep_players",
    "label",
    "label_matrix",
    "label_table",
    "learn_baseline",
    "log_odds",
    "log_probability",
    "logit",
    "masked_game",
    "masked_game_on_host",
    "merge_and_or",
    "multi_order_interactions",
    "num_players_of",
    "order_strengths",
    "pairs",
    "patches",
    "sampling",
    "segments",
    "shapley_values",
    "sparse",
    "sum_by_order",
    "token_game",
    "tokens",
]
