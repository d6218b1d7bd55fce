"""A few added weights instead of all: LoRA, Houlsby's adapter and prompt tuning for a BERT whose own weights rest."""

from course_lib.adapters.change import add_houlsby, add_lora, add_prompt, merge, trainable_parameters
from course_lib.adapters.layers import Adapted, AdapterError, HoulsbyAdapter, LoRALinear, PromptTuning, adapter_parameters
from course_lib.adapters.storage import load_adapters, save_adapters

__all__ = [
    "Adapted",
    "AdapterError",
    "HoulsbyAdapter",
    "LoRALinear",
    "PromptTuning",
    "adapter_parameters",
    "add_houlsby",
    "add_lora",
    "add_prompt",
    "load_adapters",
    "merge",
    "save_adapters",
    "trainable_parameters",
]
