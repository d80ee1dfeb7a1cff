"""Layers: modules that hold parameters."""

from tinygrad7.nn import init
from tinygrad7.nn.linear import GELU, Dropout, Embedding, Flatten, Linear, ReLU, Sigmoid, Tanh
from tinygrad7.nn.module import Buffer, Module, Parameter, Sequential
from tinygrad7.nn.recurrent import GRU, LSTM, RNN

__all__ = [
    "GELU", "GRU", "LSTM", "RNN", "Buffer", "Dropout", "Embedding", "Flatten", "Linear", "Module", "Parameter", "ReLU", "Sequential", "Sigmoid",
    "Tanh", "init",
]  # fmt: skip
