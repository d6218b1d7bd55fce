"""A BERT in plain torch: attention, blocks, the encoder with real weights, and masked language modelling."""

from course_lib.transformer.encoder import (
    Embeddings,
    Encoder,
    EncoderBlock,
    FeedForward,
    MultiHeadAttention,
    attention,
    causal_mask,
    mean_pool,
    padding_mask,
)
from course_lib.transformer.masked_language import IGNORED, MaskedLanguageModel, mask_tokens
from course_lib.transformer.pretrained import EncoderConfig, bert_name, read_config, read_weights

__all__ = [
    "IGNORED",
    "Embeddings",
    "Encoder",
    "EncoderBlock",
    "EncoderConfig",
    "FeedForward",
    "MaskedLanguageModel",
    "MultiHeadAttention",
    "attention",
    "bert_name",
    "causal_mask",
    "mask_tokens",
    "mean_pool",
    "padding_mask",
    "read_config",
    "read_weights",
]
