"""The device that a run computes on."""

import torch

from ..errors import InputError

__all__ = ["choose_device", "has_bfloat16"]


def choose_device(asked: str) -> torch.device:
    """The device of the setting ``device``; raises `InputError` if it is cuda and there is no GPU."""
    if asked == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda was asked for and there is no GPU here; use --device cpu")
    return torch.device("cuda" if asked == "cuda" or (asked == "auto" and torch.cuda.is_available()) else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices natively instead of converting them to float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported())  # AMX implies it; oneDNN would emulate it on any AVX-512
