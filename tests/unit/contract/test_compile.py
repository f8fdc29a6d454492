import subprocess
import sys
from pathlib import Path

import protovalidate
import pytest
from typer.testing import CliRunner

from prodkit.cli import app
from prodkit.contract import compile as compiling
from prodkit.v1 import options_pb2

PROTO = """
syntax = "proto3";
package toy.v1;
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "prodkit/v1/options.proto";
message Toy {
  // What it is called.
  string name = 1 [(buf.validate.field).string.min_len = 2];
}
service Toys {
  rpc GetToy(Toy) returns (Toy) {
    option (google.api.http) = {get: "/toys/{name}"};
    option (prodkit.v1.method) = {access: {public: true}};
  }
}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "shop" / "toy" / "v1"
    folder.mkdir(parents=True)
    (folder / "toy.proto").write_text(PROTO)
    return tmp_path


def prodkit(*arguments: object):
    return CliRunner().invoke(app, ["proto", *map(str, arguments)])


def test_files_are_put_beside_their_source(root):
    result = prodkit(root, "-I", root)
    assert result.exit_code == 0
    names = {path.name for path in (root / "shop" / "toy" / "v1").iterdir()}
    assert names == {
        "toy.proto",
        "toy_pb2.py",
        "toy_pb2.pyi",
        "toy_pb2_grpc.py",
        "toy_pb2_grpc.pyi",
    }


def test_imports_are_relative_to_the_root(root):
    prodkit(root, "-I", root)
    generated = (root / "shop/toy/v1/toy_pb2_grpc.py").read_text()
    assert "from shop.toy.v1 import toy_pb2" in generated


def test_generated_code_knows_no_buf(root):
    prodkit(root, "-I", root)
    for path in (root / "shop/toy/v1").glob("*_pb2*"):
        assert "import buf" not in path.read_text()
        assert "from buf" not in path.read_text()


def test_stubs_are_async(root):
    prodkit(root, "-I", root)
    stub = (root / "shop/toy/v1/toy_pb2_grpc.pyi").read_text()
    assert "GetToy: _aio.UnaryUnaryMultiCallable[" in stub


def test_no_grpc_module_without_a_service(root):
    lone = root / "lone.proto"
    lone.write_text('syntax = "proto3"; package lone; message Lone {}')
    files = compiling.compile_contracts([lone], [root])
    assert [file.path.name for file in files] == ["lone_pb2.py", "lone_pb2.pyi"]


def test_rules_survive(library):
    (violation,) = protovalidate.collect_violations(library.pb.Publisher())
    assert violation.proto.rule_id == "required"


def test_comments_survive(library):
    title = library.pb.Book.DESCRIPTOR.fields_by_name["title"]
    options = title.GetOptions()
    assert options.Extensions[options_pb2.field_description] == "What is printed on the cover."
    options = library.pb.Book.DESCRIPTOR.GetOptions()
    assert options.Extensions[options_pb2.message_description] == "A book as the library knows it."


def test_twice_is_the_same_bytes(root):
    first = compiling.compile_contracts([root], [root])
    assert first == compiling.compile_contracts([root], [root])


def test_check_writes_nothing_and_fails_until_up_to_date(root):
    stale = prodkit(root, "-I", root, "--check")
    assert stale.exit_code == 1
    assert "toy_pb2.py" in stale.stderr
    assert not (root / "shop/toy/v1/toy_pb2.py").exists()
    prodkit(root, "-I", root)
    assert prodkit(root, "-I", root, "--check").exit_code == 0
    proto = root / "shop/toy/v1/toy.proto"
    proto.write_text(PROTO.replace("string name = 1", "string label = 7").replace("{name}", ""))
    assert prodkit(root, "-I", root, "--check").exit_code == 1


def test_another_version_of_the_generator_is_not_out_of_date(root):
    prodkit(root, "-I", root)
    module = root / "shop/toy/v1/toy_pb2.py"
    text = module.read_text()
    line = next(line for line in text.splitlines() if "Protobuf Python Version" in line)
    module.write_text(text.replace(line, "# Protobuf Python Version: 99.9.9"))
    assert prodkit(root, "-I", root, "--check").exit_code == 0


def test_a_wrong_contract_is_told_with_its_place(root):
    (root / "bad.proto").write_text('syntax = "proto3";\nmessage {}')
    result = prodkit(root / "bad.proto", "-I", root)
    assert result.exit_code == 1
    assert "bad.proto:2:9" in result.stderr


@pytest.mark.parametrize("path", ["nowhere.proto", "."])
def test_nothing_to_compile_is_a_usage_error(tmp_path, path):
    result = prodkit(tmp_path / path, "-I", tmp_path)
    assert result.exit_code == 2
    assert "no " in result.stderr


def test_a_path_outside_every_root_is_a_usage_error(root, tmp_path_factory):
    result = prodkit(root, "-I", tmp_path_factory.mktemp("elsewhere"))
    assert result.exit_code == 2
    assert "--root" in result.stderr


def test_missing_tools_are_named(root, monkeypatch):
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    monkeypatch.setattr(compiling, "_plugin", lambda name: None)
    result = prodkit(root, "-I", root)
    assert result.exit_code == 2
    assert "pip install grpcio-tools mypy-protobuf" in result.stderr


def test_our_own_options_are_up_to_date():
    source = Path(options_pb2.__file__).parents[2]
    files = compiling.compile_contracts([source / "prodkit" / "v1"], [source])
    assert [file for file in files if not file.current()] == []


def test_the_command_has_no_traceback():
    command = [sys.executable, "-m", "prodkit.cli", "proto", "/nowhere.proto"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == "/nowhere.proto: no such file\n"
