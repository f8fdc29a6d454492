"""`prodkit proto`: contracts compiled offline into modules and typed stubs, beside their sources.

Everything that a contract may import comes out of installed packages: google/api from
googleapis-common-protos, buf/validate from protovalidate, prodkit/v1 from prodkit itself.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from google.protobuf import descriptor_pb2

from prodkit.contract.descriptors import prepare, rules_schema


class CompileError(Exception):
    """The contract does not compile; the message is protoc's own, with file, line and column."""


class MissingToolError(Exception):
    """A tool that compiling needs is not installed; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Generated:
    """One generated file: where it belongs and what is in it."""

    path: Path
    content: bytes

    def current(self) -> bool:
        """Say whether the file on disk is the same but for the versions of the generators."""
        if not self.path.is_file():
            return False
        return _without_versions(self.path.read_bytes()) == _without_versions(self.content)

    def write(self) -> None:
        """Put it on disk; a file that is current keeps its bytes."""
        if not self.current():
            self.path.write_bytes(self.content)


def compile_contracts(paths: Iterable[Path], roots: Sequence[Path]) -> list[Generated]:
    """Compile the .proto files at or below `paths` and return what belongs beside them.

    `roots` are the folders that imports are relative to; a file belongs to the first that holds
    it. Raises CompileError and MissingToolError; ValueError for a path that no root holds.
    """
    sources = _sources(paths, roots)
    _check_tools()
    with tempfile.TemporaryDirectory(prefix="prodkit-proto-") as folder:
        work = Path(folder)
        descriptors = _describe(sources, roots, work)
        output = work / "out"
        output.mkdir()
        _generate(sources, descriptors, output)
        return list(_collect(sources, output))


def _sources(paths: Iterable[Path], roots: Sequence[Path]) -> dict[str, Path]:
    """Return name (relative to its root, as imports say it) -> root, sorted by name."""
    found: dict[str, Path] = {}
    for path in paths:
        files = path.rglob("*.proto") if path.is_dir() else [path]
        for file in files:
            name, root = _locate(file, roots)
            found[name] = root
    if not found:
        raise ValueError("no .proto files there")
    return dict(sorted(found.items()))


def _locate(file: Path, roots: Sequence[Path]) -> tuple[str, Path]:
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    for root in roots:
        if file.resolve().is_relative_to(root.resolve()):
            return file.resolve().relative_to(root.resolve()).as_posix(), root
    raise ValueError(f"{file} is below none of the roots; say --root DIR")


def _describe(sources: Iterable[str], roots: Sequence[Path], work: Path) -> Path:
    """First pass: everything the sources need, as one descriptor set ready for the generators."""
    rules, result = work / "rules.binpb", work / "contract.binpb"
    rules.write_bytes(rules_schema().SerializeToString(deterministic=True))
    _protoc(
        *(f"-I{folder}" for folder in (*roots, *_installed())),
        f"--descriptor_set_in={rules}",
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={result}",
        *sources,
    )
    files = descriptor_pb2.FileDescriptorSet.FromString(result.read_bytes())
    prepare(files, list(sources))
    result.write_bytes(files.SerializeToString(deterministic=True))
    return result


def _generate(sources: Iterable[str], descriptors: Path, output: Path) -> None:
    """Second pass: modules and stubs from the prepared set."""
    plugins = (f"--plugin={name}={_plugin(name)}" for name in _PLUGINS)
    _protoc(
        f"--descriptor_set_in={descriptors}",
        *plugins,
        f"--python_out={output}",
        f"--grpc_python_out={output}",
        f"--mypy_out=quiet:{output}",
        f"--mypy_grpc_out=quiet,only_async:{output}",
        *sources,
    )


def _collect(sources: dict[str, Path], output: Path) -> Iterator[Generated]:
    for name, root in sources.items():
        stem = name.removesuffix(".proto")
        for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi"):
            content = (output / f"{stem}{suffix}").read_bytes()
            # The generator writes a gRPC module even where there is no service to speak of.
            if "_grpc" not in suffix or b"class " in content:
                yield Generated(root / f"{stem}{suffix}", content)


_PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def _check_tools() -> None:
    missing = []
    if find_spec("grpc_tools") is None:
        missing.append("grpcio-tools")
    if not all(_plugin(name) for name in _PLUGINS):
        missing.append("mypy-protobuf")
    if missing:
        raise MissingToolError(f"compiling contracts needs: pip install {' '.join(missing)}")


def _plugin(name: str) -> str | None:
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def _installed() -> list[Path]:
    """Return the folders that the schemas of installed packages are relative to."""
    specs = map(find_spec, ("google.api.annotations_pb2", "prodkit.v1.options_pb2"))
    return [Path(spec.origin).parents[2] for spec in specs if spec and spec.origin]


def _protoc(*arguments: str) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode:
        raise CompileError(run.stderr.strip())


_VERSIONS = re.compile(rb"\d+(?:\.\d+)+(?:rc\d+)?|^ {4}\d+,$", re.MULTILINE)


def _without_versions(content: bytes) -> bytes:
    return _VERSIONS.sub(b"", content)
