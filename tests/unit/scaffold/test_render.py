from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from jinja2 import Environment

sys.path.insert(0, str(Path(__file__).parent))
from planting import PLATFORM, SERVICE, plant

import prodkit
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.platform import TemplateError
from prodkit.scaffold.record import LOCK, RECORD, blob_id
from prodkit.scaffold.render import render

SHOP = Answers(name="my-shop")


def texts(root, answers=SHOP):
    return {path: file.content.decode() for path, file in render(answers, root=root).items()}


def test_names_are_filled_in(tmp_path):
    files = texts(plant(tmp_path, SERVICE))
    assert files["pyproject.toml"] == 'name = "my-shop"\nneeds = "prodkit-services[http]"\n'
    assert files["src/my_shop/my_shop/web.py"] == "MyShop\n"
    assert list(files) == sorted(files)


def test_a_platform_has_its_own_names(tmp_path):
    files = texts(plant(tmp_path, PLATFORM), Answers(name="my-shop", template="ecommerce"))
    assert files["README.md"] == "# The shop SHOP users orders\n"


def test_blocks_leave_no_lines_behind(tmp_path):
    text = "a\n  {% if redis %}\n  redis\n  {% endif %}\n{% for s in services %}\n{{ s }}\n"
    root = plant(tmp_path, {"project/base/a.jinja": text + "{% endfor %}\n\n"})
    assert texts(root)["a"] == "a\nmy_shop\n\n"


def test_all_names_are_there_and_nothing_is_escaped(tmp_path):
    names = "name command package prefix title prodkit direct version index state features"
    text = "".join(f"{name}={{{{ {name} }}}}\n" for name in names.split()) + "{{ '<&>' }}"
    root = plant(tmp_path, {"project/base/a.jinja": text, "service/base/b.jinja": "{{ service }}"})
    files = texts(root)
    told = dict(line.partition("=")[::2] for line in files["a"].splitlines()[:-1])
    assert told == {
        "name": "my-shop",
        "command": "my-shop",
        "package": "my_shop",
        "prefix": "MY_SHOP",
        "title": "My shop",
        "prodkit": "prodkit-services",
        "direct": "False",
        "version": prodkit.__version__,
        "index": "prodkit-services",
        "state": "True",
        "features": "['http', 'state']",
    }
    assert files["a"].endswith("<&>")
    assert files["b"] == "my_shop"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ nobody }}", r"base/a\.jinja: 'nobody' is undefined"),
        ("\n\n{% if %}", r"base/a\.jinja:3: "),
        ("{% if nobody %}{% endif %}", "'nobody' is undefined"),
        ("{{ service }}", "'service' is undefined"),
    ],
)
def test_an_unknown_name_is_an_error_and_not_an_empty_text(tmp_path, text, said):
    with pytest.raises(TemplateError, match=said):
        texts(plant(tmp_path, {"project/base/a.jinja": text}))


def test_other_files_are_copied_as_they_are(tmp_path):
    place = tmp_path / "project/base/picture"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"{{ name }}\r\n\xff")
    place.chmod(0o755)
    [file] = [file for path, file in render(SHOP, root=tmp_path).items() if path == "picture"]
    assert (file.content, file.executable) == (b"{{ name }}\r\n\xff", True)
    assert not render(SHOP, root=tmp_path)[RECORD].executable


def test_a_project_remembers_how_it_was_made(tmp_path):
    files = texts(plant(tmp_path, SERVICE), Answers(name="my-shop", deploy=True))
    assert Answers.from_toml(files[RECORD]) == Answers(name="my-shop", deploy=True)
    assert tomllib.loads(files[RECORD])["version"] == prodkit.__version__
    lines = [line for line in files[LOCK].splitlines() if not line.startswith("#")]
    assert lines == [
        f"{blob_id(files[path].encode())}  {path}"
        for path in sorted(files)
        if path not in (RECORD, LOCK)
    ]
    assert len(lines) == 5


def test_what_a_platform_fixes_is_not_recorded(tmp_path):
    files = texts(plant(tmp_path, PLATFORM), Answers(name="shop", template="ecommerce"))
    assert set(tomllib.loads(files[RECORD])) == {
        "version",
        "name",
        "template",
        "services",
        "prodkit",
    }


@pytest.mark.parametrize("path", [RECORD, LOCK])
def test_no_template_writes_the_record(tmp_path, path):
    with pytest.raises(TemplateError, match="no template makes"):
        texts(plant(tmp_path, {f"project/base/{path}": ""}))


def test_the_same_answers_make_the_same_files(tmp_path):
    root = plant(tmp_path, PLATFORM)
    answers = Answers(name="shop", template="ecommerce")
    assert render(answers, root=root) == render(answers, root=root)


def test_a_template_is_compiled_once_and_again_when_it_changed(tmp_path, monkeypatch):
    compiled = []
    compile_ = Environment.compile

    def counting(self, source, *args, **options):
        compiled.append(source)
        return compile_(self, source, *args, **options)

    monkeypatch.setattr(Environment, "compile", counting)
    template = {"service/base/src/__service__.jinja": f"{tmp_path} {{{{ service }}}}"}
    answers = Answers(name="my-shop", services=("a", "b"))
    for _ in range(2):
        assert texts(plant(tmp_path, template), answers)["src/b"] == f"{tmp_path} b"
    assert len(compiled) == 1
    assert texts(plant(tmp_path, {next(iter(template)): "new"}), answers)["src/b"] == "new"
