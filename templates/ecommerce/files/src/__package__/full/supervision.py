"""supervisord over the shop's processes: what dies is started again, and the end has an order."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .readiness import REFUSED

_HEAD = """\
; Written by `demo-full`. Try: supervisorctl -c {path} status
[supervisord]
nodaemon=true
{user}
directory={directory}
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}/log
minfds=1024
[unix_http_server]
file={folder}/control.sock
chmod=0700
username=shop
password={password}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/control.sock
username=shop
password={password}
"""
_GROUP = """\
[group:{name}]
programs={programs}
priority={priority}
"""
_PROGRAM = """\
[program:{name}]
command={command}
autorestart=unexpected
exitcodes={refused}
startretries=20
stopsignal={stop}
stopwaitsecs={patience}
killasgroup=true
redirect_stderr=true
stdout_logfile={folder}/log/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
"""
#: What Linux takes as the name of a Unix socket, less what supervisord adds while it makes it.
_LONGEST = 107 - len(".4194304")


@dataclass(frozen=True)
class Program:
    """One process to keep alive; `patience` is how many seconds it may take to end."""

    name: str
    command: Sequence[str]
    stop: str = "TERM"
    patience: int = 10


class Supervisor:
    """supervisord, a child that ends when we do.

    `groups` start in their order and stop in the opposite one, each when the one before has ended.
    """

    def __init__(self, folder: Path, directory: Path, groups: dict[str, list[Program]]) -> None:
        self._config = folder / "supervisord.conf"
        if len(str(folder / "control.sock")) > _LONGEST:
            raise OSError(f"{folder}: the path is too long for a socket; set SHOP_DATA_DIR")
        (folder / "log").mkdir()
        self._config.touch(mode=0o600)
        self._config.write_text(_escaped_config(folder, self._config, directory, groups))
        #: Seconds after which everything has ended, or been killed.
        self.patience = 5.0 + sum(max(p.patience for p in group) for group in groups.values())
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def control(self) -> str:
        """The command line that asks it for things."""
        program = relative(Path(sys.executable).with_name("supervisorctl"))
        return shlex.join((program, "-c", relative(self._config)))

    def start(self) -> subprocess.Popen[bytes]:
        """Start everything; what it has to say goes to our output.

        It leads a session of its own: Ctrl-C in a terminal is for us alone, and we tell it.
        """
        tied = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "supervisor.supervisord"]
        self.process = subprocess.Popen(  # noqa: S603 - the command is ours
            [*tied, "-c", str(self._config)], stdin=subprocess.DEVNULL, start_new_session=True
        )
        return self.process

    def pids(self) -> dict[str, int]:
        """Return the process ids of what runs now, by name."""
        told = subprocess.run(  # noqa: S603 - the command is ours
            [*shlex.split(self.control), "status"], capture_output=True, text=True, check=False
        )
        found = re.findall(r"^(?:\S+:)?(\S+)\s+\w+\s+pid (\d+),", told.stdout, re.MULTILINE)
        return {name: int(pid) for name, pid in found}


def relative(path: Path) -> str:
    """Return a path as one types it here: from the current folder, if that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def _escaped_config(
    folder: Path, path: Path, directory: Path, groups: dict[str, list[Program]]
) -> str:
    user = "user=root" if os.geteuid() == 0 else ""  # or it warns that nobody else was named
    head = {"folder": folder, "path": path, "user": user, "directory": directory}
    parts = [_HEAD.format(**head, password=secrets.token_hex(16))]
    for number, (name, programs) in enumerate(groups.items(), 1):
        names = ",".join(program.name for program in programs)
        parts.append(_GROUP.format(name=name, programs=names, priority=number))
        parts += [
            _PROGRAM.format(
                name=program.name,
                command=shlex.join(program.command),
                refused=REFUSED,  # starting it again would not help; 0 is no reason to stay away
                stop=program.stop,
                patience=program.patience,
                folder=folder,
            )
            for program in programs
        ]
    return "\n".join(parts).replace("%", "%%")  # it interpolates
