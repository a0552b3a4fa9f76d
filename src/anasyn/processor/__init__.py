"""Faster convolutions on a CPU, behind one function: the only code that uses private operators of PyTorch."""

from .freezing import frozen

__all__ = ["frozen"]
