"""Faster convolutions on a CPU, behind one function; the only part that uses what PyTorch does not publish."""

from .freezing import frozen

__all__ = ["frozen"]
