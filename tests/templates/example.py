"""The shop in examples/ecommerce, and what `prodkit new` makes: `make example` makes them one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from prodkit.scaffold.answers import Answers
from prodkit.scaffold.render import File, render

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "ecommerce"


def generated(name: str = SHOP.name) -> dict[str, File]:
    """Return what `prodkit new NAME --template ecommerce` writes, by path."""
    return render(Answers(name=name, template="ecommerce"), root=ROOT / "templates")


def present() -> dict[str, File]:
    """Return the shop's files as git sees them: without build output; compiled contracts aside."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."]
    told = subprocess.run(command, cwd=SHOP, check=True, capture_output=True, text=True).stdout
    paths = {path: SHOP / path for path in sorted(filter(None, told.split("\0")))}
    return {
        name: File(path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for name, path in paths.items()
        if path.is_file() and "_pb2" not in path.name
    }


def write() -> None:
    """Bring the shop to what its templates say, and say what was done."""
    wanted, found = generated(), present()
    for path in sorted(found.keys() - wanted.keys()):
        (SHOP / path).unlink()
        print(f"removed {path}")  # noqa: T201 - it talks to a terminal
    for name, file in wanted.items():
        if found.get(name) == file:
            continue
        path = SHOP / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(0o755 if file.executable else 0o644)
        print(f"wrote {name}")  # noqa: T201


if __name__ == "__main__":
    write()
