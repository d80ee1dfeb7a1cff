"""One run: read, build, time, train, write everything down; and the same from a checkpoint."""

from __future__ import annotations

import io
import shlex
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad7 as tg
from demos.char_lm import outputs
from demos.char_lm.model import CharLM, bits, validate, write
from demos.char_lm.settings import agree, complete, parse
from demos.char_lm.text import Corpus, Trouble, prepare, read
from tinygrad7 import optim
from tinygrad7.data import Windows, bptt_batches
from tinygrad7.train import Checkpoint, CheckpointError, EarlyStopping, History, fit

TEMPERATURES = [0.5, 0.8, 1.1]
SAMPLE = 160  # characters
FINISH = 6.0  # seconds kept for what comes after training
SAVE_SECONDS = 10.0


def main(arguments: list[str]) -> int:
    """The demo. Returns the exit status: 0, 2 for a complaint, 130 after Ctrl-C."""
    began = time.perf_counter()
    said, folder, resume = parse(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not know the text's characters
    out, run = Path(folder), None
    try:
        run = Run(said, out, resume, began)
        run.go()
    except KeyboardInterrupt:
        again = "nothing had begun yet"
        if run is not None and run.checkpoint.exists() and run.checkpoint.read_notes() == run.checkpoint.notes:
            again = f"everything is saved, go on with: python -m demos char_lm --resume --out {shlex.quote(str(out))}"
        print(f"\nInterrupted; {again}", flush=True)
        return 130
    except (Trouble, CheckpointError, FloatingPointError) as error:
        print(f"char_lm: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # nobody reads the output; nothing is wrong with --out
        raise
    except OSError as error:
        print(f"char_lm: --out {out}: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"char_lm: {error or 'out of memory'}; take smaller --hidden, --seq or --batch", file=sys.stderr)
        return 2
    return 0


class Run:
    """Everything a run consists of, new or taken up again."""

    def __init__(self, said: dict[str, Any], out: Path, resume: bool, began: float) -> None:
        self.out, self.began = out, began
        self.checkpoint = Checkpoint(out / "checkpoint.npz")
        self.resume = resume and self.checkpoint.exists()
        if resume and not self.resume:
            print(f"{self.checkpoint.path} is not there: starting from the beginning")
        notes = self.checkpoint.read_notes() if self.resume else {}
        if self.resume and not {"settings", "digest"} <= notes.keys():
            raise Trouble(f"--resume: {self.checkpoint.path} is a checkpoint, but not of a run of char_lm")
        self.settings = s = agree(said, notes["settings"]) if self.resume else complete(said)
        text, name = read(s["text"], s["encoding"])
        self.corpus = prepare(text, name, s["batch"] * s["seq"] + 1)
        if self.resume and self.corpus.digest != notes["digest"]:
            raise Trouble(f"--resume: the text {name} is not the one that the run was started with")
        out.mkdir(parents=True, exist_ok=True)
        self.introduce(self.corpus)
        if not self.resume:
            s["total"] = self.length()
        self.checkpoint.notes = {
            "settings": s,
            "digest": self.corpus.digest,
            "vocabulary": self.corpus.vocabulary.state_dict(),
        }

    def introduce(self, corpus: Corpus) -> None:
        whole = len(corpus.training) + len(corpus.validation)
        print(f"text        {corpus.name}, {whole:,} characters")
        print(f"vocabulary  {len(corpus.vocabulary)} characters, one of them for all unknown ones")
        print(f"split       training {len(corpus.training):,}, validation {len(corpus.validation):,} characters")

    def parts(self, seed: Any) -> tuple[CharLM, np.random.Generator, Windows]:
        """A model, the generator of its weights and dropout, and its training windows, all from ``seed``."""
        s = self.settings
        rng, shifts = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
        model = CharLM.of(s, len(self.corpus.vocabulary), rng=rng)
        windows = bptt_batches(self.corpus.training, batch=s["batch"], k1=s["seq"], shift=True, rng=shifts)
        return model, rng, windows

    def optimizer(self, model: CharLM, rate: Any) -> Any:
        s = self.settings
        return optim.Adam(
            list(model.named_parameters()),
            rate,
            betas=(0.9, 0.99),
            clip_norm=s["clip"],
            decoupled_decay=s["decay"],
            decay_biases=False,
        )

    def length(self) -> int:
        """The number of steps: as said, or as many as fit into --minutes, judged by a few on a model thrown away."""
        s = self.settings
        if s["steps"] is not None:
            return int(s["steps"])
        model, _, windows = self.parts([s["seed"], 1])
        optimizer, seconds = self.optimizer(model, 1e-3), []
        for x, y in windows:
            start = time.perf_counter()
            train_step(model, optimizer, windows, x, y)
            seconds.append(time.perf_counter() - start)
            if len(seconds) >= 8 and (sum(seconds) > 1.0 or len(seconds) >= 64):
                break
        start = time.perf_counter()
        validate(model, self.corpus.training, self.corpus.validation)
        evaluation = time.perf_counter() - start
        left = (
            60 * s["minutes"]
            - (time.perf_counter() - self.began)
            - min(FINISH, 6 * s["minutes"])
            - (s["evaluations"] + 1) * evaluation
        )
        fit_in = int(0.9 * left / statistics.median(seconds[2:]))
        return max(1, min(fit_in, s["most"]))

    def go(self) -> None:
        """Train, telling how it goes, and leave the results."""
        s, corpus = self.settings, self.corpus
        tg.seed(s["seed"])
        self.model, rng, windows = self.parts(s["seed"])
        total = s["total"]
        warm = min(100, max(1, total // 10))
        rate = optim.warmup(optim.cosine(s["rate"], max(1, total - warm), s["rate"] / 50), warm)
        self.journal, self.stopping = outputs.Journal(), EarlyStopping(patience=8)
        self.checkpoint.add(generator=rng, journal=self.journal)
        count = self.model.parameter_count
        print(f"model       {s['cell']}, {s['hidden']} units, {count:,} parameters, dropout {s['dropout']}")
        print(
            f"run         {total:,} steps of {s['batch']} × {s['seq']} characters; the same again: --steps {total}",
            flush=True,
        )
        every = max(1, total // s["evaluations"])
        first = min(every, 50)  # soon: people want to see something
        self.mark, self.pace = (time.perf_counter(), -1), 0.0
        if not self.resume and (kept := outputs.set_aside(self.out)):
            print(f"kept        the run that was in {self.out} is in {kept} now", flush=True)
        history = fit(
            self.model,
            self.optimizer(self.model, rate),
            windows,
            lambda model, x, y: tg.cross_entropy(windows.unroll(model, x), y),
            steps=total,
            validation=lambda model: validate(model, corpus.training, corpus.validation),
            every=lambda step: step == first or step % every == 0,
            stopping=self.stopping,
            checkpoint=self.checkpoint,
            resume=self.resume,
            save_seconds=SAVE_SECONDS,
            progress=self.tell,
            on_evaluation=self.report,
        )
        self.finish(history)

    def tell(self, history: History) -> str:
        """The text of the progress bar."""
        now, (then, step) = time.perf_counter(), self.mark
        self.mark = (now, history.step)
        if history.step == step + 1:  # else an evaluation lies between
            self.pace = 0.95 * self.pace + 0.05 * (now - then) if self.pace else now - then
        speed = self.settings["batch"] * self.settings["seq"] / self.pace if self.pace else 0.0
        return f"{bits(history.recent(50)):.3f} bits/char, ‖g‖ {history.grad_norm[-1]:.2f}, {speed:,.0f} chars/s"

    def report(self, history: History) -> None:
        """After each evaluation: figures, samples, tables."""
        s, step = self.settings, history.step
        training, validation = bits(history.recent(100)), bits(history.validation[-1])
        lines = [f"step {step:,}: validation {validation:.4f} bits/char, training {training:.4f}"]
        rng = np.random.default_rng([s["seed"], step])
        texts = write(self.model, self.corpus.vocabulary, s["prime"], SAMPLE, TEMPERATURES, rng)
        for temperature, text in zip(TEMPERATURES, texts, strict=True):
            lines.append(f"--- temperature {temperature}\n{s['prime']}{text}")
        self.journal.entries.append("\n".join(lines) + "\n")
        outputs.write_tables(self.out, history, self.journal, s["batch"] * s["seq"])
        say("\n" + self.journal.entries[-1])
        self.mark = (time.perf_counter(), -1)

    def finish(self, history: History) -> None:
        """The files that need the finished model."""
        s = self.settings
        outputs.write_tables(self.out, history, self.journal, s["batch"] * s["seq"])
        Checkpoint(self.out / "model.npz", notes=self.checkpoint.notes, model=self.model).save()
        corpus, size = self.corpus, f"{s['cell']}, {s['hidden']} units"
        missing = [outputs.plot(self.out, history, f"{corpus.name}: {size}")]
        missing.append(outputs.draw_step(self.out, self.model, s, len(corpus.vocabulary), corpus.training))
        best = bits(min(history.validation))
        ending = "stopped early" if history.stopped else "done"
        say(f"{ending} after {history.step:,} steps, with the weights of step {history.best_step:,}")
        say(f"validation {best:.4f} bits/char")
        for line in filter(None, missing):
            say(line)
        files = ", ".join(sorted(p.name for p in self.out.iterdir() if not p.name.startswith(".")))
        say(f"{self.out}: {files}   ({time.perf_counter() - self.began:.0f} s)")


def say(text: str) -> None:
    """Print beside a progress bar."""
    try:
        from tqdm import tqdm
    except ImportError:
        print(text, flush=True)
    else:
        tqdm.write(text)
        sys.stdout.flush()


def train_step(model: CharLM, optimizer: Any, windows: Windows, x: Any, y: Any) -> None:
    """One step of training, as ``fit`` makes it."""
    optimizer.zero_grad()
    tg.cross_entropy(windows.unroll(model, x), y).backward()
    optimizer.step()
