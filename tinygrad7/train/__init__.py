"""Training: the loop, when to stop it, how to save it, and several models as one."""

from tinygrad7.train.loop import evaluate, fit
from tinygrad7.train.history import History
from tinygrad7.train.stopping import EarlyStopping
from tinygrad7.train.saving import Checkpoint, CheckpointError, write_atomically
from tinygrad7.train.ensemble import Ensemble, mc_predict
