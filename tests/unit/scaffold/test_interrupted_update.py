"""An update that is killed goes on where it stood, whatever it was at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from merging import LINES, commit, kinds

from prodkit.errors import ConfigurationError
from prodkit.scaffold.journal import JOURNAL
from prodkit.scaffold.update import UnfinishedError


class Killed(BaseException):
    """What no handler catches."""


def killed_after(monkeypatch, steps: int) -> None:
    """Die before the change of the disk after `steps` others."""
    left = [steps]

    def counted(real):
        def act(self, *words, **options):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real(self, *words, **options)

        return act

    for name in ("replace", "unlink"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))


def set_out(shop) -> None:
    """A project with one file of every kind, and templates that are newer."""
    old = {"gone.py": "old\n", "folder/in.py": "in\n", "file.py": "file\n", "plain.py": "old\n"}
    shop.templates({**old, "merged.py": LINES, "marked.py": LINES, "kept.py": "old\n"})
    shop.new()
    shop.write("merged.py", LINES.replace("line 2\n", "mine\n"))
    shop.write("marked.py", LINES.replace("line 5\n", "mine\n"))
    shop.write("kept.py", "mine\n")
    commit(shop.folder)
    new = {"folder": "a file\n", "file.py/in.py": "now within\n", "plain.py": "new\n"}
    merged, marked = LINES.replace("line 8\n", "theirs\n"), LINES.replace("line 5\n", "theirs\n")
    shop.templates({**new, "merged.py": merged, "marked.py": marked, "new.py": "new\n"})


def test_wherever_it_is_killed_running_it_again_ends_as_if_nothing_had_been(shop, monkeypatch):
    set_out(shop)
    start = shop.folder
    whole = start.with_name("whole")
    subprocess.run(["cp", "-a", start, whole], check=True)
    shop.folder = whole
    shop.update()
    wanted = shop.tree()
    assert b"<<<<<<<" in wanted["marked.py"]
    for steps in range(100):
        shop.folder = start.with_name(f"killed-{steps}")
        subprocess.run(["cp", "-a", start, shop.folder], check=True)
        with monkeypatch.context() as patch:
            update = shop.prepare()
            killed_after(patch, steps)
            try:
                update.write()
            except Killed:
                pass
            else:
                break
        again = shop.prepare()
        assert kinds(again).get("marked.py") == "conflict" or JOURNAL not in shop.tree()
        again.write()
        assert shop.tree() == wanted, f"killed after {steps} steps"
    assert steps > 10, "it is killed at each change of the disk"


KILLED = """
import os, signal, sys
from pathlib import Path
import prodkit
from prodkit.scaffold.update import prepare_update

prodkit.__version__ = "0.2.0"
folder, root, left = Path(sys.argv[1]), Path(sys.argv[2]), [6]
real = Path.replace

def replace(self, target):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)

Path.replace = replace
prepare_update(folder, root=root).write()
"""


def test_kill_9_in_the_middle_loses_nothing(shop):
    set_out(shop)
    command = [sys.executable, "-c", KILLED, str(shop.folder), str(shop.root)]
    done = subprocess.run(command, check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    assert (shop.folder / JOURNAL).exists()
    shop.update()
    assert shop.read("merged.py") == LINES.replace("line 2\n", "mine\n").replace(
        "line 8\n", "theirs\n"
    )
    assert shop.read("plain.py") == "new\n"
    assert not list(shop.folder.rglob("*.prodkit-new"))
    assert not (shop.folder / JOURNAL).exists()


def test_marks_of_an_interrupted_update_wait_for_no_other_version(shop, monkeypatch):
    set_out(shop)
    with monkeypatch.context() as patch:
        update = shop.prepare()
        killed_after(patch, 8)
        with pytest.raises(Killed):
            update.write()
    assert "<<<<<<<" in shop.read("marked.py")
    shop.templates({"marked.py": "another\n"})
    with pytest.raises(ConfigurationError, match=r"still stand in marked\.py"):
        shop.prepare()


def test_a_full_disk_is_told_and_can_be_gone_on_from(shop, monkeypatch):
    set_out(shop)
    update = shop.prepare()
    with monkeypatch.context() as patch:

        def full(self, target):
            raise OSError(28, "No space left on device", str(target))

        patch.setattr(Path, "replace", full)
        with pytest.raises(UnfinishedError, match="No space left on device; run it again"):
            update.write()
    assert kinds(shop.prepare()) == kinds(update)
