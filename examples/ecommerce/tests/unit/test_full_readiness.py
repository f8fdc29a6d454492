"""How `demo-full` waits for the shop, and what it says where that is in vain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecommerce.full.readiness import await_ready

NOBODY = {"users": "http://127.0.0.1:1/health/ready"}
EXITED = "2026-01-01 00:00:00,000 INFO exited: users ({})\n"


class Running:
    def __init__(self, *, told: int = 0, dead: bool = False) -> None:
        self.told = told
        self._dead = dead

    def died(self) -> bool:
        return self._dead


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    (tmp_path / "supervisord.log").write_text("")
    (tmp_path / "log" / "users.log").write_text("")
    return tmp_path


def test_who_was_told_to_stop_does_not_wait(folder: Path) -> None:
    await_ready(NOBODY, folder, Running(told=1))


def test_who_does_not_answer_is_named_with_its_log(folder: Path) -> None:
    with pytest.raises(OSError, match=r"not ready in 0 s: users; see .*log/users\.log$"):
        await_ready(NOBODY, folder, Running(), within=0.0)


def test_an_end_of_all_is_not_called_late(folder: Path) -> None:
    with pytest.raises(OSError, match=r"^supervisord has ended; see .*supervisord\.log$"):
        await_ready(NOBODY, folder, Running(dead=True))


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("noise\ncannot start: keys_dir: no\n", "keys_dir: no"),
        (
            "cannot start, 1 of the settings must be put right:\n  port: many\n",
            "1 of the settings must be put right: port: many",
        ),
        (
            json.dumps({"error": "users database is away", "event": "start failed"})
            + '\n{"event": "stopped"}\n',
            "users database is away",
        ),
        ("", "it did not say why"),
    ],
)
@pytest.mark.parametrize("expected", ["expected", "not expected"])
def test_who_cannot_start_is_not_waited_for(
    folder: Path, expected: str, log: str, said: str
) -> None:
    (folder / "supervisord.log").write_text(EXITED.format(f"exit status 2; {expected}"))
    (folder / "log" / "users.log").write_text(log)
    with pytest.raises(OSError, match=r"^users cannot start: ") as caught:
        await_ready(NOBODY, folder, Running())
    assert str(caught.value) == f"users cannot start: {said}; see {folder / 'log' / 'users.log'}"


def test_who_is_started_again_is_waited_for(folder: Path) -> None:
    (folder / "supervisord.log").write_text(EXITED.format("exit status 1; not expected"))
    with pytest.raises(OSError, match="not ready"):
        await_ready(NOBODY, folder, Running(), within=0.0)
