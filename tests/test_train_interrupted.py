"""Ctrl-C, other threads and processes, kills: the file of a run is whole at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training import make, mse, weights
from tinygrad7.train import Checkpoint, History, fit, write_atomically


@pytest.mark.host
def test_ctrl_c_ends_the_step_saves_and_is_raised(tmp_path: Path) -> None:
    def run(path: Path, resume: bool, interrupt: int = 0) -> np.ndarray:
        model, optimizer, stream, _ = make()

        def loss(m: Any, x: Any, y: Any) -> Any:
            if optimizer.steps + 1 == interrupt:
                os.kill(os.getpid(), signal.SIGINT)
            return mse(m, x, y)

        checkpoint = Checkpoint(path)
        fit(model, optimizer, stream, loss, steps=9, checkpoint=checkpoint, resume=resume, progress=False)
        return weights(model)

    handler = signal.getsignal(signal.SIGINT)
    whole = run(tmp_path / "a.npz", False)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b.npz", False, interrupt=4)
    assert signal.getsignal(signal.SIGINT) is handler
    model, optimizer, stream, _ = make()
    history = History()
    parts = {"model": model, "optimizer": optimizer, "batches": stream, "history": history}
    Checkpoint(tmp_path / "b.npz", **parts, random=np.random.default_rng()).load()
    assert history.step == optimizer.steps == 4  # the step at hand was finished
    np.testing.assert_array_equal(run(tmp_path / "b.npz", True), whole)


@pytest.mark.host
def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    model, optimizer, stream, _ = make()

    def loss(m: Any, x: Any, y: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second one was not heard")

    with pytest.raises(KeyboardInterrupt):
        fit(model, optimizer, stream, loss, steps=2, checkpoint=Checkpoint(tmp_path / "a.npz"), progress=False)


@pytest.mark.host  # feeds NumPy arrays
def test_fit_runs_outside_the_main_thread(tmp_path: Path) -> None:
    model, optimizer, stream, _ = make()
    found: list[Any] = []
    checkpoint = Checkpoint(tmp_path / "a.npz")
    thread = threading.Thread(
        target=lambda: found.append(fit(model, optimizer, stream, mse, steps=3, checkpoint=checkpoint, progress=False))
    )
    thread.start()
    thread.join()
    assert found[0].step == 3


@pytest.mark.host
def test_two_processes_may_save_to_one_file(tmp_path: Path) -> None:
    """Two runs in one folder by mistake: what is found is what one of them wrote, and neither fails."""
    path = tmp_path / "run.npz"
    program = textwrap.dedent(
        f"""
        import sys
        import numpy as np
        from tinygrad7.train import Checkpoint
        checkpoint = Checkpoint({str(path)!r}, notes={{"array": np.full(400_000, int(sys.argv[1]))}})
        checkpoint.save()
        print("begun", flush=True)
        for _ in range(60):
            checkpoint.save()
        """
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(k)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for k in range(2)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    while any(process.poll() is None for process in processes):
        assert Checkpoint(path).load()["array"].std() == 0
    assert [process.communicate()[1] for process in processes] == [b"", b""]
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


def test_what_a_killed_process_left_is_cleared_in_time(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".run.npz.1.partial", ".run.npz.2.partial", ".run.npz.3.copy"))
    for file in (old, young, other):
        file.write_bytes(b"half")
    for file in (old, other):
        os.utime(file, (0, 0))
    write_atomically(tmp_path / "run.npz", b"whole")
    assert not old.exists() and young.exists() and other.exists()


@pytest.mark.host
def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    """SIGKILL while a process does nothing but save: what is found can be read, and is one of the states saved."""
    path = tmp_path / "run.npz"
    program = textwrap.dedent(
        f"""
        import numpy as np
        from tinygrad7.train import Checkpoint
        checkpoint = Checkpoint({str(path)!r})
        for k in range(10**9):
            checkpoint.notes = {{"k": k, "array": np.full(200_000, k)}}
            checkpoint.save()
            if k == 0:
                print("begun", flush=True)
        """
    )
    before = -1
    for wait in (0.01, 0.05, 0.023):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        threading.Event().wait(wait)
        process.kill()
        process.communicate()
        notes = Checkpoint(path).load()
        assert (notes["array"] == notes["k"]).all()
        before = max(before, notes["k"])
    assert before > 0
