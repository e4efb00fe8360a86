# %% [markdown]
# # Network dissection: what single units detect, and what of that is chance
# A network learns which colours, shapes and textures are in a scene. Units of its layers are held against masks of
# thirty concepts: a unit detects the concept with the largest intersection over union, if that is above 0.04. Beside
# the trained network stand the same before training, the same in a rotated basis (as good a representation, whose units
# are no axes of anything), and masks of other scenes, whose scores are chance. Then a network that tells phases of
# the Ising model is held against exact fields: spin, unlike neighbours, membership of the largest cluster; and one that
# tells phases of the XY model against its vortices, which drive the transition and which nobody showed to it.
#
# Published counts are of AlexNet and ResNet against 1,197 concepts. Ours are not to be compared with those, but what a
# rotation and a missing training take from them is. Errors are over networks trained from different keys.

# %%
import functools
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrg import datasets
from jaxrg.explain import dissection

sys.path.insert(0, str(Path(__file__).parent))
import _dissect_figures as figures
import _dissect_networks as networks
from _dissect_networks import Convolution, Layers
from _study import HEADER, Claim, plus_minus, print_claims, run_main, save

MINIMUM = 0.04
TRAINED, UNTRAINED, ROTATED, BOTH = "trained", "untrained", "rotated", "untrained, rotated"


class Scale(NamedTuple):
    """Size of the study."""

    side: int
    num_train: int
    num_epochs: int
    num_probe: int  # scenes that are dissected
    layers: tuple[Convolution, ...]
    powers: tuple[float, ...]  # of the rotation
    num_draws: int  # of masks of other scenes
    num_seeds: int
    lattice_side: int
    num_temperatures: int
    num_samples: int  # at each
    lattice_layers: tuple[Convolution, ...]


FULL = Scale(
    64, 6_000, 10, 1_500, (Convolution(16, 5, 2), Convolution(24, 3, 2), Convolution(48, 3, 1)),
    (0.0, 0.25, 0.5, 0.75, 1.0), 50, 3, 32, 26, 60,
    (Convolution(16, 3, 1), Convolution(24, 3, 2), Convolution(32, 3, 1)),
)  # fmt: skip
SMOKE = Scale(
    16, 64, 1, 64, (Convolution(6, 3, 2),), (0.0, 1.0), 4, 1, 8, 4, 16, (Convolution(6, 3, 1),)
)  # fmt: skip


class Data(NamedTuple):
    """What is dissected."""

    module: Layers
    images: Any  # [images, rows, columns, channels]
    concepts: np.ndarray  # labels of all pixels
    categories: np.ndarray
    quantile: float = 0.995

    def layer(self, params: Any, depth: int, basis: Any = None) -> tuple[Any, jax.Array]:
        """The maps of a layer, perhaps in another basis, and the thresholds of its units."""
        maps_fn = networks.layer_of(self.module, params, depth, basis)
        return maps_fn, dissection.activation_quantiles(maps_fn, self.images, quantile=self.quantile)

    def dissect(self, params: Any, depth: int, basis: Any = None, concepts: Any = None) -> dissection.Dissection:
        """Of one layer, perhaps with other labels."""
        maps_fn, levels = self.layer(params, depth, basis)
        given, anchor = self.concepts if concepts is None else concepts, self.module.anchor(depth)
        return dissection.dissect(maps_fn, self.images, given, self.categories, levels, anchor=anchor)

    def detectors(self, found: dissection.Dissection, rule: Any = dissection.iou) -> dissection.Detectors:
        """The best concept of each unit."""
        return dissection.detectors(rule(found), self.categories, minimum=MINIMUM)

    def by_chance(self, params: Any, num_draws: int, basis: Any = None) -> np.ndarray:
        """Scores ``[draws, units, concepts]`` of the last layer with masks of other images."""
        depth = len(self.module.layers)
        maps_fn, levels = self.layer(params, depth, basis)
        given = jax.random.key(3), maps_fn, self.images, self.concepts, self.categories, levels
        anchor = self.module.anchor(depth)
        return np.asarray(dissection.shuffled_iou(*given, num_draws=num_draws, anchor=anchor))


# %%
def questions(scenes: datasets.Scenes) -> np.ndarray:
    """Whether each colour, shape and texture is in each scene, ``[scenes, 21]``."""
    labels, categories = np.asarray(scenes.labels), np.asarray(scenes.categories)
    concepts = np.flatnonzero(categories < 3)
    return np.stack([(labels[:, categories[c]] == c).any((1, 2)) for c in concepts], axis=1).astype(np.float32)


def hidden_labels(labels: np.ndarray) -> np.ndarray:
    """Every category labelled in half of the scenes, as in data sets that were put together from several."""
    keep = np.random.default_rng(0).random(labels.shape[:2]) < 0.5
    return np.where(keep[..., None, None], labels, np.int8(-1))


class Result(NamedTuple):
    """One network before and after training."""

    found: dict[str, list[dissection.Dissection]]  # of every layer; rotated, of the last one by every power, or by one
    params: dict[str, Any]
    accuracy: np.ndarray


def study(key: jax.Array, data: Data, train: Any, targets: tuple[Any, Any], scale: Scale) -> Result:
    """Train a network and dissect it; targets are those of the training and of the dissected images."""
    fit_key, turn_key = jax.random.split(key)
    pair = networks.trained(fit_key, data.module, train, targets[0], scale.num_epochs)
    params: dict[str, Any] = dict(zip((UNTRAINED, TRAINED), pair, strict=True))
    accuracy = networks.balanced_accuracy(data.module, params[TRAINED], data.images, targets[1])
    last, size = len(data.module.layers), data.module.layers[-1].num_units
    found = {name: [data.dissect(params[name], depth) for depth in range(1, last + 1)] for name in (TRAINED, UNTRAINED)}
    bases = [dissection.rotation(turn_key, size, power) for power in scale.powers]
    found[ROTATED] = [data.dissect(params[TRAINED], last, basis) for basis in bases]
    found[BOTH] = [data.dissect(params[UNTRAINED], last, basis) for basis in bases[-1:]]
    return Result(found, params, accuracy)


def counts(data: Data, found: dissection.Dissection) -> np.ndarray:
    """Detectors and distinct concepts, in all."""
    best = data.detectors(found)
    return np.array([int(best.num_units.sum()), int(best.num_unique.sum())])


# %%
def pair(values: list[np.ndarray], size: int) -> str:
    """Detectors and distinct concepts with their errors over networks."""
    units, unique = np.stack(values).T
    return f"{plus_minus(units, 1)} of {size} units, {plus_minus(unique, 1)} unique"


def lost(data: Data, results: list[Result], before: str, after: str) -> str:
    """Share of the distinct concepts that the whole rotation takes, over networks."""
    unique = np.array([[counts(data, result.found[name][-1])[1] for name in (before, after)] for result in results])
    return plus_minus(1 - unique[:, 1] / np.maximum(unique[:, 0], 1))


def chance_claims(results: list[Result], nulls: list[np.ndarray]) -> list[Claim]:
    """Is 0.04 above chance? Scores of the trained units beside those with masks of other images."""
    scores = [np.asarray(dissection.iou(result.found[TRAINED][-1])) for result in results]
    p_values = [np.asarray(dissection.null_p_values(*both)) for both in zip(scores, nulls, strict=True)]
    best, by_chance = [each.max(-1) for each in scores], [null.max(-1) for null in nulls]
    least = 1 / (1 + len(nulls[0]))
    is_least = [p <= least + 1e-6 for p in p_values]

    def over(parts: Any, digits: int = 2) -> str:
        return plus_minus([np.mean(part) for part in parts], digits)

    missed = over((least_ & (one <= MINIMUM) for least_, one in zip(is_least, best, strict=True)))
    missed_by_chance = over((least * (null.max(0) <= MINIMUM) for null in by_chance), 3)
    return [
        Claim("units above 0.04", "118 of 256", over(one > MINIMUM for one in best),
              f"{over((null > MINIMUM for null in by_chance), 3)} with masks of others"),
        Claim("largest F1 of a unit, mean over units", "not given", over(map(dissection.f1, best)),
              f"{over(map(dissection.f1, by_chance), 3)} with masks of others"),
        Claim("95 % of chance scores are below", "not given", over((np.quantile(null, 0.95) for null in by_chance), 3),
              f"largest {max(null.max() for null in by_chance):.3f}"),
        Claim(f"units with p = {least:.3f}, the smallest possible", "not given", over(is_least),
              f"{least:.3f} by chance"),
        Claim("of all units, with that p and not above 0.04", "not given", missed, f"{missed_by_chance} by chance"),
    ]  # fmt: skip


def rule_claims(data: Data, result: Result) -> tuple[list[Claim], dict[str, np.ndarray]]:
    """The three unions, where half of the labels are hidden, beside the score with all labels."""
    half = data.dissect(result.params[TRAINED], len(data.module.layers), concepts=hidden_labels(data.concepts))
    rules = {
        "labelled images": dissection.iou,
        "all images": dissection.iou_all_images,
        "touched images": dissection.iou_touched_images,
    }
    full = dissection.iou(result.found[TRAINED][-1])
    scores = {name: np.asarray(rule(half)) for name, rule in rules.items()} | {"all labels": np.asarray(full)}
    units, best = np.arange(len(full)), np.asarray(full).argmax(-1)
    reference = np.asarray(full)[units, best]
    is_seen = reference > 0.01
    lines = []
    for name in rules:
        ratio = scores[name][units, best][is_seen] / reference[is_seen]
        found = data.detectors(half, rules[name])
        published = {"labelled images": "published", "all images": "avoided", "touched images": "light version"}[name]
        lines.append(
            Claim(
                f"union over {name}, half of the labels hidden: IoU / that of all labels",
                published,
                plus_minus(ratio),
                f"{int(found.num_units.sum())} detectors, {int(found.num_unique.sum())} unique",
            )
        )
    return lines, scores


def measure_claims(data: Data, result: Result) -> list[Claim]:
    """Whether other measures name the same concept."""
    found, depth = result.found[TRAINED][-1], len(data.module.layers)
    best = np.asarray(dissection.iou(found)).argmax(-1)
    maps_fn = networks.layer_of(data.module, result.params[TRAINED], depth)
    precision = dissection.average_precision(
        maps_fn, data.images, data.concepts, data.categories, anchor=data.module.anchor(depth)
    )
    share = found.concept_pixels / found.num_pixels
    lift = np.nan_to_num(np.asarray(precision)) - share  # above what a map that says nothing has
    same = {
        "Pearson correlation": np.nan_to_num(found.correlations, nan=-1).argmax(-1) == best,
        "average precision above chance": lift.argmax(-1) == best,
    }
    chance = float(np.sum((np.bincount(best, minlength=len(share)) / len(best)) ** 2))
    return [
        Claim(f"units with the same best concept by {name}", "not given", plus_minus(agrees), f"{chance:.2f} by chance")
        for name, agrees in same.items()
    ]


def layer_claims(data: Data, results: list[Result], size: int) -> list[Claim]:
    trained, before, turned, both = (
        pair([counts(data, r.found[name][-1]) for r in results], size) for name in (TRAINED, UNTRAINED, ROTATED, BOTH)
    )
    taken, for_nothing = lost(data, results, TRAINED, ROTATED), lost(data, results, UNTRAINED, BOTH)
    return [
        Claim("scenes: detectors in the last layer", "118 of 256, 72 unique", trained, f"untrained {before}"),
        Claim("scenes: the same, rotated", "fewer", turned, f"untrained {both}"),
        Claim("share of unique detectors that a rotation takes", "about 0.8", taken, f"untrained {for_nothing}"),
    ]


# %%
def scenes_part(scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    draw = functools.partial(datasets.scenes, side=scale.side)
    train, probe = draw(jax.random.key(0), scale.num_train), draw(jax.random.key(1), scale.num_probe)
    module = Layers(scale.layers, 21, False, 127.5, 1 / 127.5)
    data = Data(module, np.asarray(probe.images), np.asarray(probe.labels), np.asarray(probe.categories))
    results = []
    for seed in range(scale.num_seeds):
        key = jax.random.key(10 + seed)
        results.append(study(key, data, train.images, (questions(train), questions(probe)), scale))
        groups = np.split(results[-1].accuracy, [8, 15])
        print(f"scenes, network {seed}: balanced accuracy of", *(
            f"{name} {part.mean():.3f}" for name, part in zip(datasets.SCENE_CATEGORIES[:3], groups, strict=True)
        ), flush=True)  # fmt: skip
    turned = np.stack([[counts(data, found) for found in result.found[ROTATED]] for result in results])
    nulls = [data.by_chance(result.params[TRAINED], scale.num_draws) for result in results]
    rules, scores = rule_claims(data, results[0])
    claims = [
        *layer_claims(data, results, scale.layers[-1].num_units),
        *chance_claims(results, nulls),
        *rules,
        *measure_claims(data, results[0]),
    ]
    drawn = {
        "dissection": figures.draw_counts(data, results, scale.powers, turned, nulls[0], scores),
        "units": figures.draw_units(
            data, results[0], data.detectors(results[0].found[TRAINED][-1]), datasets.SCENE_CONCEPTS, data.images
        ),
    }
    return claims, drawn


class Above(NamedTuple):
    """What the IoU of one layer has above its mean with fields of other samples."""

    best: dissection.Detectors
    scores: np.ndarray  # [units, concepts]
    null: np.ndarray  # [draws, units, concepts], as it is


def above_chance(data: Data, result: Result, name: str, num_draws: int) -> Above:
    """Of the last layer, trained or not, in its basis or in a rotated one."""
    basis = None
    if name in (ROTATED, BOTH):
        basis = dissection.rotation(jax.random.key(8), data.module.layers[-1].num_units)
    params = result.params[UNTRAINED if name in (UNTRAINED, BOTH) else TRAINED]
    null = data.by_chance(params, num_draws, basis)
    scores = dissection.iou(data.dissect(params, len(data.module.layers), basis)) - null.mean(0)
    return Above(dissection.detectors(scores, data.categories, minimum=MINIMUM), np.asarray(scores), null)


def lattice_part(fields: networks.Fields, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Fields cover large shares of a lattice: units are thresholded at a fifth of it, and chance is taken off."""
    temperatures = np.linspace(*fields.temperatures, scale.num_temperatures)
    train, probe = (
        fields.draw(jax.random.key(seed), scale.lattice_side, temperatures, scale.num_samples) for seed in (4, 5)
    )
    order = np.random.default_rng(0).permutation(len(train))
    is_cold = (np.repeat(temperatures, scale.num_samples) < fields.critical)[order, None].astype(np.float32)
    train, probe = train[order], probe[order]
    module = Layers(scale.lattice_layers, 1, True)
    data = Data(module, probe, fields.labels(probe), fields.category_of, quantile=0.8)
    keys = [jax.random.key(30 + seed) for seed in range(scale.num_seeds)]
    plain = scale._replace(powers=())
    results = [study(key, data, train, (is_cold, is_cold), plain) for key in keys]
    accuracy = np.concatenate([result.accuracy for result in results])
    found = {
        name: [above_chance(data, result, name, scale.num_draws) for result in results]
        for name in (TRAINED, UNTRAINED, ROTATED, BOTH)
    }
    size = scale.lattice_layers[-1].num_units
    totals = {
        name: pair([np.array([one.best.num_units.sum(), one.best.num_unique.sum()]) for one in each], size)
        for name, each in found.items()
    }
    by_category, asked = (
        {
            name: ", ".join(f"{text} {plus_minus([value(one, index) for one in found[name]], digits)}"
                            for index, text in texts)
            for name in (TRAINED, UNTRAINED)
        }
        for texts, digits, value in (
            (list(enumerate(fields.categories)), 1, lambda one, index: one.best.num_units[index]),
            ([(index, fields.concepts[index]) for index in fields.asked], 2,
             lambda one, index: one.scores[:, index].max()),
        )
    )  # fmt: skip
    plainly = [np.mean(data.detectors(result.found[TRAINED][-1]).is_detector) for result in results]
    by_chance = [np.mean(one.null.max(-1) > MINIMUM) for one in found[TRAINED]]
    claims = [
        Claim("phases told apart, mean of both", "none", plus_minus(accuracy, 3), "0.500 by chance"),
        Claim(
            "share of units above 0.04", "none", plus_minus(plainly), f"{plus_minus(by_chance)} with fields of others"
        ),
        Claim("units 0.04 above chance", "none", totals[TRAINED], f"untrained {totals[UNTRAINED]}"),
        Claim("the same, rotated", "none", totals[ROTATED], f"untrained {totals[BOTH]}"),
        Claim("the same, by category", "none", by_category[TRAINED], f"untrained {by_category[UNTRAINED]}"),
        Claim("IoU of the best unit, above chance", "none", asked[TRAINED], f"untrained {asked[UNTRAINED]}"),
    ]
    best = found[TRAINED][0].best
    drawn = figures.draw_units(data, results[0], best, fields.concepts, probe[..., 0])
    named = [claim._replace(claim=f"{fields.name}: {claim.claim}") for claim in claims]
    return named, {f"{fields.name.lower()}_units": drawn}


def main(smoke: bool = False, out: str = "out/dissect") -> None:
    scale = SMOKE if smoke else FULL
    claims, drawn = scenes_part(scale)
    for fields in (networks.ISING, networks.XY):
        more, others = lattice_part(fields, scale)
        claims, drawn = claims + more, drawn | others
    print()
    print_claims([HEADER, *claims])
    save(drawn, out)


# %%
if __name__ == "__main__":
    run_main(main, "Network dissection: what single units detect, and what of that is chance.")
