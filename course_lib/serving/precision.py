"""The encoder in torch with 16 bits a number."""

from __future__ import annotations

import copy

import torch

from course_lib.text import TextEncoder


def in_bfloat16(encoder: TextEncoder) -> TextEncoder:
    """A copy of the encoder that computes in bfloat16: the range of float32 with 8 instead of 24 bits of mantissa.

    Faster only where the processor multiplies bfloat16 by itself (AMX or AVX-512 BF16, or a GPU); elsewhere it is slower. Its
    vectors are neither read from the stored ones nor stored among them. The encoder itself stays as it is.
    Source: Kalamkar et al. (2019), A study of bfloat16 for deep learning training.
    """
    half = copy.copy(encoder)
    half.__dict__.pop("_words", None)
    half.__dict__.pop("_loaded", None)  # without it the copy counts as changed, so the cache leaves it alone
    half._neighbours = {}
    with torch.inference_mode(False):
        half.model = copy.deepcopy(encoder.model).to(torch.bfloat16)
    return half
