from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from planting import PLATFORM, SERVICE, plant

from prodkit.errors import ConfigurationError
from prodkit.scaffold import blueprint
from prodkit.scaffold.answers import CHOICES, Answers
from prodkit.scaffold.blueprint import draw, features_of, templates
from prodkit.scaffold.platform import TemplateError


def outputs(root, **answers):
    return [entry.output for entry in draw(Answers(name="my-shop", **answers), root=root).entries]


def test_a_layer_is_there_when_its_features_are(tmp_path):
    root = plant(tmp_path, SERVICE)
    base = ["pyproject.toml", "src/my_shop/__init__.py", "src/my_shop/my_shop/__init__.py"]
    assert outputs(root, speaks=("grpc",)) == base
    assert outputs(root) == [*base, "src/my_shop/my_shop/web.py"]
    assert outputs(root, speaks=("grpc",), deploy=True) == ["Dockerfile", *base]
    assert outputs(root, speaks=("events",)) == [*base, "src/my_shop/my_shop/news.py"]
    assert outputs(root, speaks=("grpc", "events")) == base


@pytest.mark.parametrize(
    ("layer", "on"),
    [
        ("http+state", {("http",): True, ("grpc",): False}),
        ("http+grpc", {("http",): False, ("http", "grpc"): True}),
        ("http+no-grpc", {("http",): True, ("http", "grpc"): False}),
        ("contract+no-redis", {("http",): False, ("grpc",): True}),
        ("no-events", {("http",): True, ("events",): False}),
    ],
)
def test_layers_may_join_features(tmp_path, layer, on):
    root = plant(tmp_path, {f"project/{layer}/file": ""})
    assert {speaks: outputs(root, speaks=speaks) == ["file"] for speaks in on} == on


def test_each_service_is_made_by_itself(tmp_path):
    root = plant(tmp_path, {"service/base/__service__/test___service__.py": ""})
    both = outputs(root, services=("users", "orders"))
    assert both == ["orders/test_orders.py", "users/test_users.py"]


def test_a_platform_is_the_skeleton_less_some_and_its_own(tmp_path):
    drawn = draw(Answers(name="my-shop", template="ecommerce"), root=plant(tmp_path, PLATFORM))
    assert [entry.output for entry in drawn.entries] == [
        "README.md",
        "pyproject.toml",
        "src/my_shop/__init__.py",
        "src/my_shop/orders/__init__.py",
        "src/my_shop/orders/news.py",
        "src/my_shop/orders/web.py",
        "src/my_shop/users/__init__.py",
        "src/my_shop/users/accounts.py",
        "src/my_shop/users/web.py",
    ]
    assert drawn.answers.state == "postgres"
    assert drawn.fixed == {"speaks", "state", "limiter", "broker", "deploy"}
    assert {entry.context["prefix"] for entry in drawn.entries} == {"SHOP"}


def test_a_service_can_be_added_to_a_platform(tmp_path):
    answers = Answers(name="shop", template="ecommerce", services=("returns",))
    drawn = draw(answers, root=plant(tmp_path, PLATFORM))
    assert "src/shop/returns/news.py" in {entry.output for entry in drawn.entries}
    assert drawn.entries[0].context["services"] == ["users", "orders", "returns"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"project/base/a": "", "project/http/a.jinja": ""}, r"base/a and .*http/a\.jinja both"),
        ({"project/base/a": "", "service/base/a": ""}, "both make a"),
        ({"service/base/a": ""}, None),
        ({"project/base/a": "", "service/base/a/b": ""}, "base/a makes a, and .*a folder of that"),
        ({"project/base/x/a.py": "", "service/base/x/a/b/c.py": ""}, r"makes x/a\.py, and"),
        ({"project/soap/a": ""}, "soap is no layer; features are http, grpc"),
        ({"project/no-/a": ""}, "no layer"),
        ({"project/README": ""}, "README is no layer"),
        ({"project/base/__service__.py": ""}, "no service is meant there"),
    ],
)
def test_a_fault_of_the_templates_is_told_with_its_sources(tmp_path, files, said):
    root = plant(tmp_path, files)
    if said is None:
        assert outputs(root) == ["a"]
    else:
        with pytest.raises(TemplateError, match=said):
            outputs(root)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ('[project]\nwithout = ["Makefile"]', "not there: Makefile"),
        ('[[services]]\nname = "a"\nwithout = ["__service__/x"]', "not there: a/x"),
        ('[project]\nwithout = ["mine"]\n[[services]]\nname = "a"', "not there: mine"),
    ],
)
def test_what_is_left_out_must_be_the_skeletons(tmp_path, left, said):
    root = plant(tmp_path, {"ecommerce/platform.toml": left, "ecommerce/files/mine": "", **SERVICE})
    with pytest.raises(TemplateError, match=said):
        draw(Answers(name="my-shop", template="ecommerce"), root=root)


@pytest.mark.parametrize("name", ["kit", "settings", "nested"])
def test_a_service_has_no_name_of_a_part_of_the_project(tmp_path, name):
    package = "project/base/src/__package__"
    frame = (f"{package}/kit/a.py", f"{package}/settings.py.jinja", f"{package}/nested/b/c.py")
    files = dict.fromkeys(frame, "") | {"service/base/src/__package__/__service__/x.py": ""}
    root = plant(tmp_path, files)
    with pytest.raises(ConfigurationError) as refused:
        outputs(root, services=("users", name))
    assert str(refused.value).startswith(f"a service cannot be called {name}: the project has")
    assert str(refused.value).endswith(f"src/my_shop/{name}")
    assert "src/my_shop/b/x.py" in outputs(root, services=("b",))


def test_a_service_that_is_added_has_no_name_of_a_part_of_the_platform(tmp_path):
    root = plant(tmp_path, {**PLATFORM, "ecommerce/files/src/__package__/sandbox/api.py": ""})
    with pytest.raises(ConfigurationError, match=r"called sandbox: .* src/my_shop/sandbox$"):
        outputs(root, template="ecommerce", services=("sandbox",))
    with pytest.raises(ConfigurationError, match="called users: "):
        outputs(root, template="ecommerce", services=("users",))


def test_a_platform_says_what_the_paths_of_services_begin_with(tmp_path):
    told = 'api = "/v1"\n' + PLATFORM["ecommerce/platform.toml"]
    root = plant(tmp_path, {**PLATFORM, "ecommerce/platform.toml": told})
    contexts = [
        draw(Answers(name="a", template=template), root=root).entries[0].context
        for template in ("service", "ecommerce")
    ]
    assert [context["api"] for context in contexts] == ["", "/v1"]


def test_a_platforms_own_file_does_not_hide_the_skeletons(tmp_path):
    root = plant(tmp_path, {**PLATFORM, "ecommerce/files/pyproject.toml": ""})
    with pytest.raises(TemplateError, match=r"both make pyproject\.toml"):
        draw(Answers(name="my-shop", template="ecommerce"), root=root)


def test_what_python_leaves_behind_is_no_template(tmp_path):
    root = plant(tmp_path, {"project/base/a.py": "", "project/base/__pycache__/a.pyc": ""})
    plant(tmp_path, {"project/__pycache__/b.pyc": ""})
    assert outputs(root) == ["a.py"]


def test_a_template_that_is_not_there_is_no_empty_project(tmp_path):
    with pytest.raises(TemplateError, match=r"ecommerce/platform\.toml: FileNotFoundError"):
        draw(Answers(name="a", template="ecommerce"), root=plant(tmp_path, SERVICE))


def test_every_combination_has_its_features():
    combinations = itertools.product(CHOICES["state"], CHOICES["limiter"], (True, False))
    for state, limiter, deploy in combinations:
        answers = Answers(name="a", state=state, limiter=limiter, deploy=deploy)
        on = {name for name, is_on in features_of(answers).items() if is_on}
        wanted = {"http", "state" * (state != "none"), "postgres" * (state == "postgres")}
        wanted |= {"redis" * (limiter == "redis"), "deploy" * deploy}
        assert on == wanted - {""}
    both = Answers(name="a", speaks=("grpc", "events"), broker="rabbitmq")
    assert [name for name, on in features_of(both).items() if on] == [
        "grpc",
        "events",
        "contract",
        "state",
        "rabbitmq",
    ]


def test_the_templates_are_in_the_package_or_beside_the_source(tmp_path, monkeypatch):
    package = tmp_path / "lib/prodkit"
    package.mkdir(parents=True)
    monkeypatch.setattr(blueprint.prodkit, "__file__", str(package / "__init__.py"))
    with pytest.raises(TemplateError, match="not installed whole"):
        templates()
    plant(tmp_path / "templates", {"project/base/a": ""})
    assert templates() == tmp_path / "templates"
    plant(package / "templates", {"project/base/a": ""})
    assert templates() == package / "templates"
