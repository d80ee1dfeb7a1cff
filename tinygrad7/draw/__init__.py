"""Drawings of computation graphs: time from left to right, shared weights once, values and bars on the nodes."""

from tinygrad7.draw import notebook as _notebook
from tinygrad7.draw.api import compose, draw
from tinygrad7.draw.render import RendererError

__all__ = ["RendererError", "compose", "draw"]
