"""Train a character-level recurrent language model on real text, and let it write.

    python -m demos char_lm                     two minutes on two cores, the manual that ships inside Python
    python -m demos char_lm --minutes 20        a larger model, dropout, early stopping
    python -m demos char_lm --text FILE         your own text

Backpropagation through time with teacher forcing, as in the lecture ("Language Modeling"): at every step the net sees
the true character and predicts the next. Read ``model.py``, then ``run.py``.
"""

from demos.char_lm.run import main

__all__ = ["main"]
