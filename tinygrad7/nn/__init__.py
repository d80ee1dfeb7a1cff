"""Layers: modules that hold parameters."""

from tinygrad7.nn import init
from tinygrad7.nn.conv import AvgPool2d, Conv1d, Conv2d, MaxPool2d
from tinygrad7.nn.linear import GELU, Dropout, Embedding, Flatten, Linear, ReLU, Sigmoid, Tanh
from tinygrad7.nn.module import Buffer, Module, Parameter, Sequential
from tinygrad7.nn.recurrent import GRU, LSTM, RNN

__all__ = [
    "GELU", "GRU", "LSTM", "RNN", "Buffer", "Dropout", "Embedding", "Flatten", "Linear", "MaxPool2d", "Module", "Parameter", "ReLU", "Sequential", "Sigmoid",
    "Tanh", "init",
]  # fmt: skip
