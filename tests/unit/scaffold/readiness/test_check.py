"""Which files are read, what is told of those that cannot be, and what is left out."""

from __future__ import annotations

import ast
import os
import time
from pathlib import Path

import pytest

from prodkit.errors import ConfigurationError
from prodkit.scaffold.readiness import check
from prodkit.scaffold.readiness.files import files_of

ROOT = Path(__file__).parents[4]
BAD = "import uvicorn\nuvicorn.run(app)\n"


def test_tests_generated_code_environments_and_what_is_excluded_are_not_read(project):
    folder = project(
        {
            "src/app.py": BAD,
            "src/test_app.py": BAD,
            "src/app_pb2.py": BAD,
            "tests/app.py": BAD,
            ".hidden/app.py": BAD,
            "src/._app.py": "\0",
            "env/pyvenv.cfg": "",
            "env/lib/app.py": BAD,
            "node_modules/x/app.py": BAD,
            "old/deep/app.py": BAD,
            "setup.txt": BAD,
            "deploy/values.yaml": "{{ not yaml",
        }
    )
    report = check(folder, exclude=["old"])
    assert [each.path for each in report.findings] == ["src/app.py"]
    assert report.files == 1
    assert [each.path for each in check(folder).findings] == ["old/deep/app.py", "src/app.py"]
    assert check(folder / "tests").files == 1


@pytest.mark.parametrize(
    ("files", "path", "why"),
    [
        ({}, "nowhere", "there is no such folder"),
        ({"a.py": ""}, "a.py", "it is no folder"),
        ({"a.txt": ""}, ".", "no .py or .proto file"),
        ({"config/default.yaml": ""}, ".", "no .py or .proto file"),
    ],
)
def test_where_there_is_nothing_to_check_it_says_so(project, files, path, why):
    folder = project(files)
    with pytest.raises(ConfigurationError, match=why):
        check(folder / path)


def test_what_cannot_be_read_is_told_with_its_place_and_the_rest_is_checked(project):
    folder = project(
        {
            "a.py": "x = 1\ndef f(:\n",
            "b.py": BAD,
            "c.proto": "service S {\n",
            "config/production.yaml": "a: b\nc: [\n",
            "deep.py": "x = " + "(" * 1000 + ")" * 1000,
        }
    )
    (folder / "null.py").write_bytes(b"x = 1\x00\n")
    (folder / "latin.py").write_bytes(b"x = '\xe9'\n")
    (folder / "old.py").write_bytes(b"# coding: latin-1\nx = '\xe9'\n")
    (folder / "gone.py").symlink_to(folder / "nowhere.py")
    (folder / ".#b.py").symlink_to("ann@host.1:2")  # an editor's lock
    (folder / "turned.py").write_bytes(b"# coding: rot13\nx = 1\n")
    os.mkfifo(folder / "pipe.py")
    (folder / "zero.py").symlink_to("/dev/zero")
    report = check(folder)
    assert [(each.rule, each.path) for each in report.findings] == [("no-drain", "b.py")]
    lines = {each.path: each.line for each in report.unread}
    assert set(lines) == {
        *("a.py", "c.proto", "config/production.yaml", "deep.py", "null.py", "latin.py", "gone.py"),
        *("turned.py", "pipe.py", "zero.py"),
    }
    assert (lines["a.py"], lines["c.proto"], lines["config/production.yaml"]) == (2, 1, 3)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("uvicorn.run(app)  # prodkit: ignore[no-drain] the demo", []),
        ("# prodkit: ignore[no-drain] the demo\nuvicorn.run(app)", []),
        ("# prodkit: ignore[debug, no-drain]: the demo\nuvicorn.run(app, reload=True)", []),
        ("uvicorn.run(app)  # prodkit: ignore[debug] the demo", ["no-drain"]),
        ("uvicorn.run(app)  # prodkit: ignore[no-drain]", ["ignore", "no-drain"]),
        ("uvicorn.run(app)  # prodkit: ignore because", ["ignore", "no-drain"]),
        ("uvicorn.run(app)  # prodkit: ignore[nodrain] the demo", ["ignore", "no-drain"]),
        ("x = 1  # prodkit: ignore[no-drain] the demo\nuvicorn.run(app)", ["no-drain"]),
        ("x = '# prodkit: ignore[no-drain] no comment'; uvicorn.run(app)", ["no-drain"]),
        ("# prodkit is ignored here\nuvicorn.run(app)", ["no-drain"]),
    ],
)
def test_a_finding_is_left_out_by_rule_and_with_a_reason(found, text, rules):
    assert sorted(rule for rule, _ in found(f"import uvicorn\n{text}\n")) == rules


def test_nothing_of_the_project_is_imported_or_run(project, tmp_path):
    folder = project({"app.py": f"open({str(tmp_path / 'ran')!r}, 'w')\nimport nowhere\n"})
    assert check(folder).findings == ()
    assert not (tmp_path / "ran").exists()


def test_findings_come_sorted_by_place(project):
    folder = project({"b.py": BAD, "a.py": BAD + "uvicorn.run(app, reload=True)\n"})
    places = [(each.path, each.line, each.rule) for each in check(folder).findings]
    assert places == sorted(places)
    assert len(places) == 4


def test_reading_the_shop_takes_little_more_than_parsing_it():
    shop = ROOT / "examples/ecommerce"
    texts = [(shop / path).read_text() for path in files_of(shop) if path.endswith(".py")]

    def seconds(work):
        began = time.process_time()  # others may be busy on this machine
        work()
        return time.process_time() - began

    floor = seconds(lambda: [ast.parse(text) for text in texts])
    assert len(texts) > 100
    assert seconds(lambda: check(shop)) < 12 * floor


def test_the_shop_can_be_read():
    assert check(ROOT / "examples/ecommerce").unread == ()
