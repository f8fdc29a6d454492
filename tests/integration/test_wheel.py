"""What is installed is what is here: `prodkit new` from a wheel, far from the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import prodkit
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.render import render

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates"
IGNORED = {"__pycache__", ".ruff_cache", ".mypy_cache"}

pytestmark = pytest.mark.xdist_group("wheel")


def run(*words: str | Path, folder: Path) -> str:
    quiet = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    environment = {n: v for n, v in os.environ.items() if n not in quiet and n[:4] != "GIT_"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env={**environment, "GIT_CONFIG_GLOBAL": "/dev/null"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A wheel and a source distribution, made without the network."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, folder=ROOT)
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The commands of an environment with the wheel; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder)
    [wheel] = built.glob("*.whl")
    uv = Path(sys.executable).parent / "uv"
    target = ["--python", folder / "bin/python"]
    run(uv, "pip", "install", "--offline", "--quiet", "--no-deps", *target, wheel, folder=folder)
    [site] = folder.glob("lib/python*/site-packages")
    # A .pth file within the folder that it names is not read: our editable install stays unseen.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def templates() -> dict[str, Path]:
    return {
        path.relative_to(TEMPLATES).as_posix(): path
        for path in TEMPLATES.rglob("*")
        if path.is_file() and not IGNORED & set(path.parts)
    }


def test_the_templates_travel_whole(built):
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        prefix = "prodkit/templates/"
        there = {
            info.filename.removeprefix(prefix): info
            for info in archive.infolist()
            if info.filename.startswith(prefix) and not info.filename.endswith(".pyc")
        }
        assert there.keys() == templates().keys()
        for path, source in templates().items():
            assert archive.read(there[path]) == source.read_bytes()
            assert bool(there[path].external_attr >> 16 & 0o100) == os.access(source, os.X_OK)
    [sources] = built.glob("*.tar.gz")
    with tarfile.open(sources) as archive:
        _, *inner = zip(*(name.partition("/") for name in archive.getnames()), strict=True)
    held = {name for name in inner[-1] if name.startswith("templates/")}
    assert held == {f"templates/{path}" for path in templates()}


@pytest.mark.parametrize("template", ["service", "ecommerce"])
def test_an_installed_wheel_makes_what_the_repository_makes(template, installed, tmp_path):
    where = run(
        installed / "python", "-c", "import prodkit; print(prodkit.__file__)", folder=tmp_path
    )
    assert where.startswith(str(installed.parent))
    assert run(installed / "prodkit", "--version", folder=tmp_path) == (
        f"prodkit {prodkit.__version__}\n"
    )
    command = [installed / "prodkit", "new", "my-shop", "--defaults", "--template", template]
    run(*command, folder=tmp_path)
    made = {
        path.relative_to(tmp_path / "my-shop").as_posix(): path
        for path in (tmp_path / "my-shop").rglob("*")
        if path.is_file() and ".git" not in path.relative_to(tmp_path / "my-shop").parts
    }
    wanted = render(Answers(name="my-shop", template=template))
    assert made.keys() == wanted.keys()
    assert len(made) > 10
    for path, file in wanted.items():
        assert made[path].read_bytes() == file.content
        assert os.access(made[path], os.X_OK) is file.executable
    committed = run("git", "log", "--format=%s", folder=tmp_path / "my-shop")
    assert committed == "prodkit new my-shop\n"


@pytest.mark.parametrize("template", ["service", "ecommerce"])
def test_a_project_that_names_a_wheel_can_be_built(template, built, installed, tmp_path):
    [wheel] = built.glob("*.whl")
    options = [
        "--defaults",
        "--no-git",
        "--template",
        template,
        "--prodkit",
        os.path.relpath(wheel, tmp_path),
    ]
    run(installed / "prodkit", "new", "my-shop", *options, folder=tmp_path)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    run(*command, folder=tmp_path / "my-shop")
    [made] = tmp_path.glob("my_shop-*.whl")
    with zipfile.ZipFile(made) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        said = archive.read(metadata).decode()
    asked = re.findall(
        r"^Requires-Dist: prodkit-services(?:\[[\w,-]+\])? ?@ ?(\S+)$", said, re.MULTILINE
    )
    assert asked == [wheel.as_uri()]
