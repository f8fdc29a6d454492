"""Projects of every combination of answers, rendered, compiled and tried."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path

from prodkit.contract.compile import compile_contracts
from prodkit.scaffold.answers import CHOICES, Answers
from prodkit.scaffold.render import render

ROOT = Path(__file__).parents[2]
#: Names as short and as long as they may be: lines must stay laid out.
SHORT, LONG = "a", "a-name-that-is-just-as-long-as-is-allowe"
Options = dict[str, object]

SPEAKS = [
    tuple(spoken) for count in range(1, 4) for spoken in combinations(CHOICES["speaks"], count)
]
VALUES: dict[str, Sequence[object]] = {
    "speaks": SPEAKS,
    "state": CHOICES["state"],
    "limiter": CHOICES["limiter"],
    "broker": CHOICES["broker"],
    "deploy": (False, True),
}


def every() -> list[Options]:
    """Return every combination that can be answered."""
    drawn = (dict(zip(VALUES, each, strict=True)) for each in product(*VALUES.values()))
    return [each for each in drawn if possible(each)]


def possible(options: Options) -> bool:
    """Say whether there is such a project: a broker is for events."""
    return options["broker"] == "memory" or "events" in options["speaks"]  # type: ignore[operator]


def single() -> list[Options]:
    """Return a combination for each value of each option, the others as they are by default."""
    default = {name: values[0] for name, values in VALUES.items()}
    found = [{**default, name: value} for name, values in VALUES.items() for value in values]
    for each in found:
        if not possible(each):
            each["speaks"] = ("http", "events")
    return [each for at, each in enumerate(found) if each not in found[:at]]


def pairwise() -> list[Options]:
    """Return some combinations that hold every pair of values that there is, greedily."""
    left = {pair for each in every() for pair in pairs(each)}
    chosen = []
    while left:
        best = max(every(), key=lambda each: len(left & pairs(each)))
        chosen.append(best)
        left -= pairs(best)
    return chosen


def pairs(options: Options) -> set[tuple[tuple[str, object], ...]]:
    """Return the pairs of values in a combination."""
    return set(combinations(options.items(), 2))


def called(options: Options) -> str:
    """Return a word for a combination, for the names of tests and projects."""
    spoken = "".join(each[0] for each in options["speaks"])  # type: ignore[attr-defined]
    rest = (str(options[name])[:2] for name in ("state", "limiter", "broker", "deploy"))
    return f"{spoken}-{'-'.join(rest)}".lower()


def answered(options: Options, name: str, services: tuple[str, ...] = ()) -> Answers:
    """Return the answers of a project."""
    return Answers(name=name, services=services, **options)  # type: ignore[arg-type]


def write(folder: Path, answers: Answers, *, compiled: bool = True) -> Path:
    """Write a project, with the code of its contracts if it is to be `compiled`."""
    for path, file in render(answers).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
    if compiled and "grpc" in answers.speaks:
        source = folder / "src"
        for generated in compile_contracts([source], [source]):
            generated.write()
    return folder


def free_ports(*names: str) -> dict[str, int]:
    """Return ports that nobody listens on now, by name."""
    probes = [socket.socket() for _ in names]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = {name: probe.getsockname()[1] for name, probe in zip(names, probes, strict=True)}
    for probe in probes:
        probe.close()
    return found


def own_environment() -> dict[str, str]:
    """Return the environment of a shell that knows nothing of this repository."""
    known = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    # What starts many processes compiles once.
    known.add("PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if name not in known}


def run(
    *command: str | Path,
    folder: Path,
    environment: Mapping[str, str] = os.environ,
    **variables: str,
) -> str:
    """Run a command that must go well; return what it says."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


def own_tests(folder: Path) -> str:
    """Run a project's own tests by this Python, with prodkit as it lies here."""
    path = os.pathsep.join(map(str, (folder / "src", ROOT / "src")))
    command = (sys.executable, "-m", "pytest", "--show-capture=no")
    return run(*command, folder=folder, environment=own_environment(), PYTHONPATH=path)


def sources(folder: Path) -> set[str]:
    """Return what is in the Python files that were rendered into a folder, each text once."""
    return {path.read_text() for path in folder.rglob("*.py") if "_pb2" not in path.name}
