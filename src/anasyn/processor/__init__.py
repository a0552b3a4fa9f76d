"""Faster convolutions behind one function: the only code that uses private operators of PyTorch, or Triton."""

from .freezing import frozen
from .probe import has_triton

__all__ = ["frozen", "has_triton"]
