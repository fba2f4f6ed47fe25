"""What a word was probably meant to be, where it is none of those that are understood.

A suggestion that is wrong costs more than none: somebody tries it. So only what is close is suggested (another case,
the beginning of a word, a letter or two), and what means the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

# The comparison is quadratic, and no word of ours is that long.
_LONGEST: Final = 64
_SHORTEST_PREFIX: Final = 3
_NO_SYNONYMS: Final[Mapping[str, str]] = {}


def nearest(word: str, known: Iterable[str], synonyms: Mapping[str, str] = _NO_SYNONYMS) -> str | None:
    """The one of `known` that `word` is a slip of, or what `synonyms` has for it (keys in small letters, `_` for `-`).

    Dashes at the beginning do not count, nor does the case, nor whether words are joined by `-` or by `_`.
    """
    if len(word) > _LONGEST:
        return None
    plain, ours = _plain(word), dict[str, str]()
    for each in known:
        ours.setdefault(_plain(each), each)
    found = ours.get(plain) or synonyms.get(plain)
    if found is not None:
        return found
    longer = [each for each in ours if each.startswith(plain)]
    if len(plain) >= _SHORTEST_PREFIX and len(longer) == 1:
        return ours[longer[0]]
    slips = {each: _slips(plain, each) for each in ours if _may_be_close(plain, each)}
    close = min(slips, key=lambda each: slips[each], default=None)
    return ours[close] if close is not None and slips[close] <= _pardoned(plain, close) else None


def did_you_mean(near: str | None) -> str:
    """The end of a sentence that is about a word, where there is something near it."""
    return f"; did you mean {near}?" if near else ""


def _plain(word: str) -> str:
    return word.lower().lstrip("-").replace("-", "_")


def _pardoned(word: str, other: str) -> int:
    """Slips that may be between two words: one for each three letters, or all short words would be like each other."""
    return min(max(len(word), len(other)) // 3, 3)


def _may_be_close(word: str, other: str) -> bool:
    """False is certain. Most words are told apart here, for a fraction of what counting their slips costs."""
    pardoned = _pardoned(word, other)
    # A slip makes two letters at most ones that only one of the words has.
    return abs(len(word) - len(other)) <= pardoned and len({*word} ^ {*other}) <= 2 * pardoned


def _slips(word: str, other: str) -> int:
    """Letters to put in, leave out, or replace, or neighbours to exchange, until `word` is `other`."""
    while word and other and word[0] == other[0]:
        word, other = word[1:], other[1:]
    while word and other and word[-1] == other[-1]:
        word, other = word[:-1], other[:-1]
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(word, 1):
        above, row = row, [i]
        for j, theirs in enumerate(other, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != theirs)))
            if before and j > 1 and letter == other[j - 2] and word[i - 2] == theirs:
                row[j] = min(row[j], before[j - 2] + 1)
        before = above
    return row[-1]
