"""Words of two sentences compared: which carry content, which are missing, which attributes changed.

English, by rule and without a model. The decisions that follow are in `guard`.
"""

import difflib
import itertools
import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _spellings(**groups: str) -> dict[str, str]:
    return {spelling: name for name, spellings in groups.items() for spelling in spellings.split()}


COLOURS = _spellings(
    red="red crimson scarlet",
    yellow="yellow golden lemon",
    white="white ivory snowy",
    purple="purple violet lilac",
    orange="orange",
    green="green emerald",
    blue="blue azure turquoise",
    pink="pink",
    brown="brown",
    black="black",
    grey="grey gray silver",
)
"""Colour words, each with the colour it is a shade of."""

NUMBERS = _spellings(
    two="two 2", three="three 3", four="four 4", five="five 5", six="six 6", seven="seven 7", eight="eight 8",
    nine="nine 9", ten="ten 10", twelve="twelve 12 dozen", hundred="hundred 100", thousand="thousand 1000",
)  # fmt: skip

DIRECTIONS = _spellings(
    left="left leftward leftwards",
    right="right rightward rightwards",
    up="up upward upwards rise rises rising climb climbs climbing ascend ascends ascending",
    down="down downward downwards fall falls falling sink sinks sinking descend descends descending "
    "drop drops dropping",
)
"""Words that say which way, adverbs and verbs, each with its direction."""

_FUNCTION_WORDS = _words(
    "a an the this that these those some any each every it its he his she her they their there who which "
    "is are was were be been being am and or but nor so than as if while when then also very in on at of to "
    "from by with without for over under into onto off out across along through toward towards around about "
    "above below near behind before after between against beside inside outside not no"
)
_LIGHT_WORDS = _words(
    "do does did doing done has have had having will would can could may get gets getting go goes going "
    "make makes making show shows showing perform performs performing practice practices practicing "
    "practising move moves moving person persons people someone somebody something thing"
)
_NO_CONTENT = _FUNCTION_WORDS | _LIGHT_WORDS | set(COLOURS) | set(NUMBERS) | set(DIRECTIONS)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_SUFFIXES = ("ings", "ing", "ers", "er", "ed", "es", "s", "e")


def tokens(text: str) -> list[str]:
    """Return the words of a text in order, in lower case, parts of hyphenated words apart."""
    return _WORD.findall(text.lower().replace("’", "'"))


def content_words(text: str) -> list[str]:
    """Return the words that carry meaning, once each and in order.

    Left out are articles, prepositions and the like, verbs so plain that a richer one may stand in for them,
    and attributes, which `changes_attributes` judges.
    """
    return list(dict.fromkeys(word for word in tokens(text) if word not in _NO_CONTENT))


def stem(word: str) -> str:
    """Return a rough stem: dives, diving and diver are "div"; swims and swimming are "swim"."""
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and not word.endswith("ss") and len(word) - len(suffix) >= 3:
            word = word.removesuffix(suffix)
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word


def missing(text: str, original: str) -> list[str]:
    """Return the original's content words that a text has in no form and no near spelling."""
    said = set(tokens(text))
    stems = {stem(word) for word in said}
    joined = "".join(tokens(text))
    return [
        word
        for word in content_words(original)
        if stem(word) not in stems
        and not (len(word) > 6 and word in joined)
        and not (len(word) > 4 and difflib.get_close_matches(word, said, n=1, cutoff=0.85))
    ]


def added(text: str, original: str) -> list[str]:
    """Return the content words of a text that the original has in no form."""
    stems = {stem(word) for word in tokens(original)}
    return [word for word in content_words(text) if stem(word) not in stems]


def changes_attributes(text: str, original: str) -> bool:
    """Say whether a colour, a number or a direction of the original was lost, replaced or contradicted.

    A text may add colours to other things, and directions where the original has none.
    """
    said, asked = tokens(text), tokens(original)
    if any(not _named(asked, kind) <= _named(said, kind) for kind in (COLOURS, NUMBERS)):
        return True
    directions = _named(asked, DIRECTIONS)
    if directions and (directions != _named(said, DIRECTIONS) or _comes_from(said) != _comes_from(asked)):
        return True
    before, owners = _colours_before(said), _owners(asked)
    return any(before.get(owner, colours) not in (colours, _NONE) for owner, colours in owners.items())


_NONE: frozenset[str] = frozenset()


def _named(words: list[str], kind: dict[str, str]) -> frozenset[str]:
    return frozenset(kind[word] for word in words if word in kind)


def _comes_from(words: list[str]) -> bool:
    """Whether a direction is where something comes from: "from left", "away from the left"."""
    return any("from" in words[max(0, at - 2) : at] for at, word in enumerate(words) if word in DIRECTIONS)


def _owners(words: list[str]) -> dict[str, frozenset[str]]:
    """The words that directly follow a colour, with their colours."""
    before = _colours_before(words)
    following = {stem(b) for a, b in itertools.pairwise(words) if a in COLOURS and b not in COLOURS}
    return {owner: before[owner] for owner in following if owner in before}


def _colours_before(words: list[str]) -> dict[str, frozenset[str]]:
    """The colours before each content word, back to the last function word but "and"."""
    before: dict[str, frozenset[str]] = {}
    pending = _NONE
    for word in words:
        if word in COLOURS:
            pending |= {COLOURS[word]}
        elif word not in _FUNCTION_WORDS:
            before.setdefault(stem(word), pending)
        elif word != "and":
            pending = _NONE
    return before


def same_language(text: str, original: str) -> bool:
    """Say whether a text can be in the original's language, by its script and, for Latin, its small words."""
    if _is_latin(original) != _is_latin(text):
        return False
    said = tokens(text)
    if len(said) < 5 or _FUNCTION_WORDS.isdisjoint(tokens(original)):
        return True
    return not _FUNCTION_WORDS.isdisjoint(said)


def _is_latin(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    return sum(character < "ɐ" for character in letters) >= 0.9 * len(letters)
