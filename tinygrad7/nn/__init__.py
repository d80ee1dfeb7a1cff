"""Layers: modules that hold parameters, and ``init``, what they start from."""

from tinygrad7.nn import init
from tinygrad7.nn.cells import GRUCell, LSTMCell, RNNCell
from tinygrad7.nn.conv import AvgPool2d, Conv1d, Conv2d, MaxPool2d
from tinygrad7.nn.linear import GELU, Dropout, Embedding, Flatten, Linear, ReLU, Sigmoid, Tanh
from tinygrad7.nn.module import Module
from tinygrad7.nn.parameter import Buffer, Parameter
from tinygrad7.nn.multiplicative import MultiplicativeRNN
from tinygrad7.nn.norm import BatchNorm1d, BatchNorm2d, LayerNorm
from tinygrad7.nn.recurrent import GRU, LSTM, RNN
from tinygrad7.nn.residual import ConvResidualBlock, Residual, ResidualBlock
from tinygrad7.nn.seq2seq import EncoderDecoder
from tinygrad7.nn.sequential import Sequential

__all__ = [
    "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Buffer", "Conv1d", "Conv2d", "ConvResidualBlock", "Dropout",
    "Embedding", "EncoderDecoder", "Flatten", "GELU", "GRU", "GRUCell", "LSTM", "LSTMCell", "LayerNorm", "Linear",
    "MaxPool2d", "Module", "MultiplicativeRNN", "Parameter", "RNN", "RNNCell", "ReLU", "Residual", "ResidualBlock",
    "Sequential", "Sigmoid", "Tanh", "init",
]  # fmt: skip
