"""Damage to valid bytes: flips, splices, cuts and numbers that are out of all bounds."""

from random import Random

EXTREMES = tuple(
    value.to_bytes(size, order)
    for size in (1, 2, 4, 8)
    for value in (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1)
    for order in ("big", "little")
)


def damaged(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Return the bytes with one to four kinds of damage; a splice takes from `other`, or from themselves."""
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(_WAYS)(rng, data, other or data)
    return data


def _flip(rng: Random, data: bytes, _: bytes) -> bytes:
    changed = bytearray(data)
    for _change in range(rng.choice((1, 1, 4, 32)) if data else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _splice(rng: Random, data: bytes, other: bytes) -> bytes:
    at, start = rng.randint(0, len(data)), rng.randint(0, len(other))
    piece = other[start : start + rng.choice((1, 8, 64, 512))]
    return data[:at] + piece + data[at + rng.choice((0, len(piece))) :]


def _cut(rng: Random, data: bytes, _: bytes) -> bytes:
    start, stop = sorted(rng.randint(0, len(data)) for _ in range(2))
    return data[:start] if rng.random() < 0.5 else data[:start] + data[stop:]


def _blank(rng: Random, data: bytes, _: bytes) -> bytes:
    at = rng.randint(0, len(data))
    length = min(rng.choice((1, 16, 512)), len(data) - at)
    return data[:at] + rng.choice((b"\0", b"\xff", b" ")) * length + data[at + length :]


def _number(rng: Random, data: bytes, _: bytes) -> bytes:
    """Headers hold their sizes and counts near the beginning or the end."""
    number, near = rng.choice(EXTREMES), min(len(data), 512)
    at = rng.choice((rng.randint(0, near), rng.randint(len(data) - near, len(data))))
    return data[:at] + number + data[at + len(number) :]


_WAYS = (_flip, _flip, _splice, _cut, _blank, _number)
