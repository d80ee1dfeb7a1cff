"""Train a character-level recurrent language model on real text, and let it write.

    python -m demos char_lm                     under two minutes, the manual that ships inside Python
    python -m demos char_lm --minutes 20        a larger model, dropout, early stopping
    python -m demos char_lm --text FILE         your own text

Backpropagation through time with teacher forcing, as in the lecture ("Language Modeling"): at every step the net sees
the true character and predicts the next. Read ``model.py``, then ``run.py``.
"""

import os

# Before NumPy is imported. With one BLAS thread a run is the same on any number of cores, and a busy machine does not
# make threads wait for each other in each of the many small products; a second one can be had by setting these.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

from demos.char_lm.run import main  # noqa: E402

__all__ = ["main"]
