"""What the judging models are taught, and from what."""

import numpy as np
import pytest
import torch

from onaspr_core.miniature.attributes import GROUPS, Scene, random_scenes, training_combinations
from onaspr_core.miniature.train.judging import (
    Examples,
    batch,
    grouped_loss,
    labels,
    possible,
)
from onaspr_core.miniature.train.text import MAX_TOKENS, build_tokenizer, tokens


def test_a_value_is_possible_where_training_could_show_it_with_the_rest_of_the_scene() -> None:
    training = set(training_combinations())
    scenes = [Scene(*combination) for combination in training]
    allowed = possible(scenes)
    assert allowed.shape == (152, 15)
    for scene, row in zip(scenes, allowed.tolist(), strict=True):
        own = scene.combination
        others = [
            (*own[:column], value, *own[column + 1 :])
            for column, values in enumerate(GROUPS.values())
            for value in values
        ]
        assert row == [other in training for other in others]
    assert not allowed.all()


def test_grouped_loss_is_the_sum_of_cross_entropies_among_possible_values() -> None:
    scenes = random_scenes(40, np.random.default_rng(0))
    logits = torch.randn(40, 15, generator=torch.Generator().manual_seed(0)).double()
    expected = 0.0
    for scene, row, allowed in zip(scenes, logits, possible(scenes), strict=True):
        start = 0
        for values, value in zip(GROUPS.values(), scene.combination, strict=True):
            kept = [i for i in range(len(values)) if allowed[start + i]]
            own = row[start : start + len(values)][kept].log_softmax(0)
            expected -= float(0.98 * own[kept.index(values.index(value))] + 0.02 * own.mean()) / 40
            start += len(values)
    found = grouped_loss(logits, scenes, list(GROUPS))
    assert float(found) == pytest.approx(expected, abs=1e-9)


def test_an_impossible_value_has_no_part_in_the_loss() -> None:
    scene = next(s for s in random_scenes(152, np.random.default_rng(0)) if not possible([s])[0, 4:7].all())
    logits = torch.zeros(1, 15, requires_grad=True)
    grouped_loss(logits, [scene], list(GROUPS)).backward()
    assert logits.grad is not None
    assert (logits.grad[0][~possible([scene])[0]] == 0).all()
    assert torch.isfinite(logits.grad).all()


def test_labels_name_group_and_value_in_order() -> None:
    assert labels(["shape", "motion"])[:4] == ["shape:ball", "shape:box", "shape:triangle", "motion:left"]


def test_batches_repeat_and_keep_pixels_near_their_range() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 8, 32, 32, 3), np.uint8)
    examples = Examples(random_scenes(5, np.random.default_rng(1)), frames)
    first, second = (batch(examples, 12, np.random.default_rng(2)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert first[1] == second[1]
    assert first[0].shape == (12, 3, 8, 32, 32)
    assert first[0].abs().max() < 1.7


def test_the_tokenizer_knows_the_grammars_words_and_spells_the_rest_in_bytes() -> None:
    tokenizer = build_tokenizer()
    assert tokenizer.tokenize("a purple triangle glides")[1:] == ["purple</w>", "triangle</w>", "glides</w>"]
    ids = tokens(tokenizer, ["Zürich 42 ☃", "", "word " * 50])
    assert ids.shape == (3, MAX_TOKENS)
    assert str(tokenizer.decode(ids[0], skip_special_tokens=True)).replace(" ", "") == "zürich42☃"
    assert (ids[:, 0] == tokenizer.bos_token_id).all()
