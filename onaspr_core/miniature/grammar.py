"""Captions of the miniature world: a small grammar, sparse and rich.

Every caption names the colour, the shape, the motion and the background, in at most 20 words; a rich one
also says size and speed and adds adjectives. Which scenes exist is in `attributes`.
`with_distractors` sprinkles words that a language model may add when it rewrites a prompt, so that the
text encoder has met them and learnt that they mean nothing here.
"""

from collections.abc import Sequence

import numpy as np

from onaspr_core.miniature.attributes import Scene

MAX_WORDS = 20

COLOUR_WORDS = {
    "red": ("red", "red", "red", "crimson", "scarlet"),
    "yellow": ("yellow", "yellow", "yellow", "golden", "lemon"),
    "white": ("white", "white", "white", "snowy", "ivory"),
    "purple": ("purple", "purple", "purple", "violet", "lilac"),
}
SHAPE_WORDS = {
    "ball": ("ball", "ball", "circle", "sphere"),
    "box": ("box", "box", "square", "cube"),
    "triangle": ("triangle", "triangle", "pyramid", "wedge"),
}
_SIDEWAYS = ("moves", "slides", "glides", "travels", "drifts", "rolls", "goes", "heads")
_UP = (
    "rises",
    "climbs",
    "ascends",
    "floats up",
    "moves up",
    "goes up",
    "moves upward",
    "flies up",
    "travels up",
)
_DOWN = (
    "falls",
    "sinks",
    "descends",
    "drops",
    "moves down",
    "goes down",
    "moves downward",
    "drifts down",
    "travels down",
)
_PARTICIPLES = {
    "moves": "moving",
    "slides": "sliding",
    "glides": "gliding",
    "travels": "travelling",
    "drifts": "drifting",
    "rolls": "rolling",
    "goes": "going",
    "heads": "heading",
    "rises": "rising",
    "climbs": "climbing",
    "ascends": "ascending",
    "floats": "floating",
    "flies": "flying",
    "falls": "falling",
    "sinks": "sinking",
    "descends": "descending",
    "drops": "dropping",
}
_SIDE_PHRASES = ("{}", "to the {}", "{}ward", "towards the {}")
BACKGROUND_PHRASES = {
    "sea": (
        "over the sea",
        "above the sea",
        "over the ocean",
        "across the water",
        "over the {} sea",
        "on the {} blue sea",
        "above the {} ocean",
    ),
    "meadow": (
        "over the meadow",
        "over the grass",
        "above a green field",
        "in the meadow",
        "over the {} meadow",
        "across the {} green grass",
        "in a {} green field",
    ),
    "sand": (
        "over the sand",
        "across the desert",
        "on the beach",
        "above the sand",
        "over the {} sand",
        "across the {} desert",
        "on a {} sandy beach",
    ),
    "night": (
        "in the night sky",
        "at night",
        "under the stars",
        "in the starry sky",
        "in the {} night sky",
        "under the {} stars",
        "in a {} starry night",
    ),
}
_MOODS = {
    "sea": ("calm", "wide", "deep", "quiet", "wavy"),
    "meadow": ("sunny", "soft", "wide", "quiet", "fresh"),
    "sand": ("warm", "dry", "hot", "wide", "quiet"),
    "night": ("dark", "clear", "quiet", "deep", "bright"),
}
_SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
_SPEED_WORDS = {"slow": ("slowly", "gently", "calmly"), "fast": ("quickly", "fast", "swiftly")}
_FINISHES = ("shiny", "smooth", "bright", "plain", "glossy", "round-edged", "lovely")
_FRAMES = ("a video of {}", "a clip of {}", "an animation of {}", "footage of {}")

DISTRACTORS = tuple(
    """
    beautiful bright vivid vibrant colorful colourful serene peaceful tranquil gentle graceful
    gracefully majestic stunning breathtaking scenic lush rolling rippling shimmering sparkling
    glittering glowing gleaming glistening radiant brilliant luminous dim misty foggy hazy cloudy
    sunlit moonlit starlit golden-hour vast endless open empty distant far near nearby high low wide
    narrow long short tall solid round square-shaped sharp soft rough polished metallic glassy
    wooden rubber plastic bouncy floating flying soaring hovering spinning rotating steady steadily
    smoothly slowly quickly rapidly swiftly lazily softly silently quietly calmly gently
    effortlessly elegantly playfully happily freely lightly heavily suddenly gradually constantly
    continuously directly straight simply clearly visible solitary lone single lonely little big
    huge giant massive enormous tiny mini small large medium-sized simple plain elegant delicate
    bold striking pretty lovely charming magical mysterious dreamy surreal realistic cinematic
    detailed cartoon animated artistic abstract minimal modern fresh clean pure clear crisp cool
    warm hot cold dry wet windy breezy sunny summer winter morning evening daytime outdoors natural
    nature landscape scene scenery background view horizon video clip shot footage closeup aerial
    panoramic camera while with through along across against beneath its is as it that which and
    very quite really motion movement moving object shape
    """.split()  # noqa: SIM905 (a page of quotation marks otherwise)
)


def caption(scene: Scene, rng: np.random.Generator, rich: bool) -> str:
    """One caption of `scene`, at most `MAX_WORDS` words, lower case, without a full stop."""
    while True:
        text = _sentence(scene, rng, rich)
        if len(text.split()) <= MAX_WORDS:
            return text


def with_distractors(text: str, rng: np.random.Generator, most: int = 4) -> str:
    """Insert up to `most` of `DISTRACTORS` at random places, keeping the words in order and `MAX_WORDS`."""
    words = text.split()
    for _ in range(min(int(rng.integers(most + 1)), MAX_WORDS - len(words))):
        words.insert(int(rng.integers(len(words) + 1)), _pick(rng, DISTRACTORS))
    return " ".join(words)


def training_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption as the models are trained on: sparse or rich, one in two with distractors."""
    text = caption(scene, rng, rich=bool(rng.random() < 0.5))
    return with_distractors(text, rng) if rng.random() < 0.5 else text


def _sentence(scene: Scene, rng: np.random.Generator, rich: bool) -> str:
    thing, verb, place = _thing(scene, rng, rich), _verb(scene, rng, rich), _place(scene, rng, rich)
    form = rng.integers(8)
    if form <= 3:
        return f"{thing} {verb} {place}"
    if form == 4:
        return f"{thing} is {_participle(verb)} {place}"
    if form == 5:
        return f"{place} {thing} {verb}"
    if form == 6:
        return f"{thing} {_participle(verb)} {place}"
    return _pick(rng, _FRAMES).format(f"{thing} {_participle(verb)} {place}")


def _thing(scene: Scene, rng: np.random.Generator, rich: bool) -> str:
    words = [_pick(rng, COLOUR_WORDS[scene.colour]), _pick(rng, SHAPE_WORDS[scene.shape])]
    if rich:
        extra = [_pick(rng, _SIZE_WORDS[scene.size])]
        if rng.random() < 0.3:
            extra.append(_pick(rng, _FINISHES))
        words = extra + words
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([article, *words])


def _verb(scene: Scene, rng: np.random.Generator, rich: bool) -> str:
    if scene.motion in ("left", "right"):
        verb, way = _pick(rng, _SIDEWAYS), _pick(rng, _SIDE_PHRASES).format(scene.motion)
    else:
        verb, _, way = _pick(rng, _UP if scene.motion == "up" else _DOWN).partition(" ")
    words = [verb, _pick(rng, _SPEED_WORDS[scene.speed]), way] if rich else [verb, way]
    return " ".join(word for word in words if word)


def _participle(verb: str) -> str:
    first, _, rest = verb.partition(" ")
    return f"{_PARTICIPLES[first]} {rest}".strip()


def _place(scene: Scene, rng: np.random.Generator, rich: bool) -> str:
    phrases = BACKGROUND_PHRASES[scene.background]
    if not rich:
        return _pick(rng, [phrase for phrase in phrases if "{}" not in phrase])
    return _pick(rng, phrases).format(_pick(rng, _MOODS[scene.background]))


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
