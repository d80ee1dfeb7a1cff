"""Data for training: streams of batches, windows for truncated backpropagation, vocabularies, warping, bagging."""

from tinygrad7.data.stream import Batches, batches
from tinygrad7.data.sequences import Windows, bptt_batches
from tinygrad7.data.vocabulary import Vocabulary
from tinygrad7.data.bag import Bag, bagging
from tinygrad7.data import augment
