"""Which words of a text an encoder cannot read."""

from __future__ import annotations

from collections.abc import Collection

from tokenizers import Tokenizer


def lost_words(texts: list[str], *, tokenizer: Tokenizer, pieces: Collection[int] | None = None) -> list[list[str]]:
    """The words and signs of each text with a piece that the tokenizer does not know, as they are written there, each once.

    pieces: ids that the encoder has, when they are not all of the tokenizer's. What the tokenizer cuts off is not looked at.
    """
    return [_lost(text, found, tokenizer, pieces) for text, found in zip(texts, tokenizer.encode_batch(texts), strict=True)]


def _lost(text: str, found, tokenizer: Tokenizer, pieces: Collection[int] | None) -> list[str]:
    unk = getattr(tokenizer.model, "unk_token", None)
    bad = {
        word
        for word, i, token in zip(found.word_ids, found.ids, found.tokens, strict=True)
        if word is not None and (token == unk or (pieces is not None and i not in pieces))
    }
    spans = {}
    for word, (start, end) in zip(found.word_ids, found.offsets, strict=True):
        if word in bad:
            first, last = spans.get(word, (start, end))
            spans[word] = min(first, start), max(last, end)
    return list(dict.fromkeys(text[start:end] for start, end in spans.values()))
