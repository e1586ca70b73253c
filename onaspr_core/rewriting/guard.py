"""What an answer of the language model must keep to: the promises of the paper's instruction.

One sentence, at most so many words, no echo of the instruction, and the meaning of the original prompt.
Pure functions over text; how words are compared is in `words`, and asking again or falling back to the
original is decided in `stage`.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from onaspr_core.rewriting import words

Reason = Literal[
    "no_answer",
    "malformed",
    "context_overflow",
    "empty",
    "control_characters",
    "markup",
    "refusal",
    "echo",
    "obeyed_caption",
    "several_sentences",
    "too_long",
    "cut_off",
    "other_language",
    "unchanged",
    "changed_attribute",
    "lost_content",
    "unlike_original",
]
"""Why there is no rewrite: the first three where no answer came, the rest in the order of the rules."""

Embed = Callable[[list[str]], np.ndarray]
"""Sentences to unit rows, (n, d) float."""

SYNONYM_SIMILARITY = 0.8
"""Cosine from which one word stands for another: MiniLM gives sea and ocean 0.87, but red and blue 0.73."""

LOSABLE_SHARE = 0.25
"""The share of the original's content words that may be missing, rounded down: none of three, one of four."""

_LABEL = re.compile(
    r"^(?:here(?:'s| is| are)|(?:the |a |my )?(?:rewritten|revised|rephrased|new|improved|updated)"
    r"|output|answer|rewrite|caption|sentence|result|response)\b[^:.!?\n]{0,80}:(?!\d)\s*",
    re.IGNORECASE,
)
_POLITENESS = re.compile(
    r"^(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok)\s*[!.,:]\s*", re.IGNORECASE
)
_WORD_COUNT = re.compile(r"\s*[(\[]\s*\d+\s+words?\s*[)\]]\s*$", re.IGNORECASE)
_QUOTES = "\"'`*_“”‘’«»"


def _phrases(*patterns: str) -> tuple[re.Pattern[str], ...]:
    """Patterns of whole words in lower case: "here is" stands in "here is a cat" but not in "there is"."""
    return tuple(re.compile(rf"\b(?:{pattern})\b") for pattern in patterns)


_ECHOES = _phrases(
    "let me give you",
    "rewrit(?:e|es|ing|ten)",
    "(?:original|the|this|same) sentence",
    "sentence patterns?",
    "without changing",
    "the meaning",
    "maximum of",
    "imitating",
    "combining",
    "every word",
    "adjectives?",
    "adverbs?",
    "the examples?",
    "examples? above",
    "here(?:'s| is| are)",
)
"""What stands in the instruction, and what a model says before its answer."""

_REFUSALS = _phrases(
    "i'm sorry",
    "i am sorry",
    "i apologi[sz]e",
    "i cannot",
    "i can't",
    "i(?:'m| am) (?:unable|not able)",
    "^as an ai",
    "as an ai,? i",
    "as an ai assistant",
    "language model",
)
_ORDERS = _phrases(
    r"(?:ignor|disregard|forget|follow|obey)\w* (?:\w+ ){0,3}(?:instructions?|orders?|prompts?|commands?)",
    "(?:previous|prior|above|earlier|new|system|these|your|my) (?:instructions?|orders?|prompts?|commands?)",
    "as (?:you )?(?:ordered|instructed|requested|commanded)",
    "(?:drop|alter|truncate) table",
    r"passwords?|api keys?|hacked|jailbr\w+|pwned",
    r"[a-z0-9-]{2,}\.[a-z]{2,}",
)
"""What a model says that follows an order in a caption; the last is the address of a site."""

_MARKUP = re.compile(r"<[^<>]*>|https?:|www\.|\]\(|[<>{}|\\#]")
_CONTROL = ("Cc", "Cf", "Co", "Cs")
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|st|vs|jr|sr|[a-z])\.(?=\s)", re.IGNORECASE)
_NEXT_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)]*\s+\S|[。！？]\S|\n")


def clean(text: str) -> str:
    """Strip what chat models put around an answer: politeness, labels, quotes, a word count, white space.

    What the answer says is left alone: two sentences, or two lines, stay two.
    """
    text = "\n".join(line for line in (" ".join(line.split()) for line in text.splitlines()) if line)
    previous = None
    while text != previous:
        previous = text
        for pattern in (_POLITENESS, _LABEL, _WORD_COUNT):
            text = pattern.sub("", text, count=1)
        text = text.strip().strip(_QUOTES).strip()
    return text


def judge(
    text: str,
    original: str,
    *,
    max_words: int,
    minimum_similarity: float,
    embed: Embed,
    complete: bool = True,
) -> Reason | None:
    """Return why a cleaned answer may not stand in for the original prompt, or None when it may.

    Args:
        text: The answer after `clean`.
        original: The prompt that was to be rewritten.
        max_words: The most words allowed; the paper's 20.
        minimum_similarity: Least cosine of the two sentence embeddings, 0 … 1.
        embed: Sentence embedder; called only for answers that pass the rules on form.
        complete: False when the model was stopped before it had finished.
    """
    return (
        _judge_form(text, original, max_words, complete)
        or _judge_words(text, original, embed)
        or _judge_similarity(text, original, minimum_similarity, embed)
    )


def _judge_form(text: str, original: str, max_words: int, complete: bool) -> Reason | None:
    said, asked = (one.lower().replace("’", "'") for one in (text, original))
    echoes = (*_ECHOES, *_phrases(f"{max_words} words?"))
    rules: tuple[tuple[Reason, bool], ...] = (
        ("empty", not words.tokens(text)),
        ("control_characters", any(_is_control(character) for character in text)),
        ("markup", bool(_MARKUP.search(text))),
        ("refusal", _says_one(_REFUSALS, said, asked)),
        ("echo", _says_one(echoes, said, asked)),
        ("obeyed_caption", _says_one(_ORDERS, said, asked)),
        ("several_sentences", bool(_NEXT_SENTENCE.search(_ABBREVIATION.sub("", text)))),
        ("too_long", len(text.split()) > max_words),
        ("cut_off", not complete),
        ("other_language", not words.same_language(text, original)),
        ("unchanged", not words.added(text, original)),
    )
    return next((reason for reason, broken in rules if broken), None)


def _says_one(phrases: Sequence[re.Pattern[str]], said: str, asked: str) -> bool:
    """Whether the answer has one of the phrases that the original prompt has not."""
    return any(phrase.search(said) and not phrase.search(asked) for phrase in phrases)


def _is_control(character: str) -> bool:
    return character == "\ufffd" or (character != "\n" and unicodedata.category(character) in _CONTROL)


def _judge_words(text: str, original: str, embed: Embed) -> Reason | None:
    if words.changes_attributes(text, original):
        return "changed_attribute"
    content = words.content_words(original)
    lost = words.missing(text, original)
    allowed = int(len(content) * LOSABLE_SHARE)
    if len(lost) <= allowed:
        return None
    answers = words.content_words(text)
    if not answers:
        return "lost_content"
    rows = embed([*lost, *answers])
    nearest = (rows[: len(lost)] @ rows[len(lost) :].T).max(axis=1)
    return "lost_content" if int((nearest < SYNONYM_SIMILARITY).sum()) > allowed else None


def _judge_similarity(text: str, original: str, minimum: float, embed: Embed) -> Reason | None:
    rows = embed([text, original])
    return "unlike_original" if float(rows[0] @ rows[1]) < minimum else None
