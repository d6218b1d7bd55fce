"""What an item's words say: texts of items, variants of them, and a vector for each."""

from course_lib.text.augmentation import expand, replace_synonyms, synonyms
from course_lib.text.encoder import TextEncoder, tokenize
from course_lib.text.items import GENRES, item_texts, natural_title
from course_lib.text.pruning import PrunedEmbedding, prune_vocabulary, used_pieces
from course_lib.text.source import encoder_source

__all__ = [
    "GENRES",
    "PrunedEmbedding",
    "TextEncoder",
    "encoder_source",
    "expand",
    "item_texts",
    "natural_title",
    "prune_vocabulary",
    "replace_synonyms",
    "synonyms",
    "tokenize",
    "used_pieces",
]
