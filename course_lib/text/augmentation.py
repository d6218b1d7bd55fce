"""More texts out of one: a title expanded by what else is known, words replaced by their neighbours."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from course_lib.text.items import GENRES, head, item_texts, known_parts

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_YEAR = re.compile(r"\(\d{4}\)")
_COMMON = frozenset(
    "the and for from with that this his her its our your their who whom whose what which when where why how not but all any "
    "are was were been being has have had does did can could will would shall should may might must into onto upon than then "
    "there here they them she him you one two three about after before over under out off per via film movie".split()
)


def expand(items: pd.DataFrame, *, rng: np.random.Generator | None = None) -> list[str]:
    """The title of each item, expanded by its year and genres.

    Without rng as `item_texts`: "Toy Story (1995). Animation, Children's, Comedy". With it a variant that says the same:
    genres in random order, in one of three forms ("Toy Story (1995), a film from the 1990s: comedy, animation, children's").
    """
    if rng is None:
        return item_texts(items)
    return [_variant(*parts, rng) for parts in known_parts(items)]


def _variant(title: str, year: str, genres: list[str], rng: np.random.Generator) -> str:
    order, form = rng.permutation(len(genres)), rng.integers(3)
    shuffled = [genres[i] for i in order]
    lower = ", ".join(shuffled).lower()
    period = f" from the {int(year) // 10}0s" if year else ""
    tail = (f". {', '.join(shuffled)}", f": {lower}", f", a film{period}: {lower}")[form] if genres else ""
    return head(title, year) + tail


def synonyms(word: str, *, encoder, k: int = 5) -> list[str]:
    """The k whole words of the vocabulary whose input vectors have the largest cosine with that of `word`, nearest first.

    [] where `word` is not one whole piece. They are neighbours in use ("comedy" → "drama" too), not always synonyms.
    encoder: a `TextEncoder`. Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k is the number of neighbours and starts at 1, but is {k}")
    return encoder.neighbours(word.lower(), k)


def replace_synonyms(
    text: str, *, encoder, rng: np.random.Generator, share: float = 0.3, k: int = 5, title: str | None = None
) -> str:
    """The text with each word that may be replaced, with probability `share`, replaced by one of its k neighbours.

    Names stay. Never replaced are: what stands before and in the first "(year)", or else `title` where the text starts with
    it; words with a capital, but for genres; words of fewer than three letters, function words, and words of several pieces.
    A replaced word keeps its capital. Raises ValueError for a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is the probability that a word is replaced, between 0 and 1, but is {share}")
    start = _after_title(text, title)

    def exchange(match: re.Match) -> str:
        word = match[0]
        if not _replaceable(word) or rng.random() >= share:
            return word
        found = encoder.neighbours(word.lower(), k)
        if not found:
            return word
        chosen = found[rng.integers(len(found))]
        return chosen.capitalize() if word[0].isupper() else chosen

    return text[:start] + _WORD.sub(exchange, text[start:])


def _after_title(text: str, title: str | None) -> int:
    """Where the words begin that are no title."""
    year = _YEAR.search(text)
    if year:
        return year.end()
    return len(title) if title and text.startswith(title) else 0


def _replaceable(word: str) -> bool:
    return len(word) > 2 and word.lower() not in _COMMON and (word.islower() or word in GENRES)
