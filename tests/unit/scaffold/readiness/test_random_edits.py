"""Whatever a file has become, the check reads it or says that it cannot; it never fails itself."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from prodkit.scaffold.readiness import check

ROOT = Path(__file__).parents[4]
SOURCES = [
    ROOT / "examples/ecommerce/src/ecommerce/gateway/service.py",
    ROOT / "examples/ecommerce/src/ecommerce/settings.py",
    ROOT / "tests/fixtures/library/v1/library.proto",
    ROOT / "examples/ecommerce/config/production.yaml",
]
PIECES = [
    *("(", ")", "[", "]", "{", "}", ":", "*", "**", "=", ".", ",", "#", "//", '"', "'", "\\", "\n"),
    *(
        "    ",
        "\t",
        "\x00",
        "é",
        "lambda _:",
        "Pipeline(",
        "return ",
        "global app\n",
        "app = app\n",
    ),
    *("def app(*a, **b): return app(*a)\n", "PipelineMiddleware(app, app)", "class X(X): pass\n"),
    *("p = Pipeline(*p.members)\n", "t = (*t, *t)\n", "nonlocal app\n", "**", "@app\n"),
    *("# prodkit: ignore[", "rpc X(", "&a [*a]", "- ", "match x:\n  case {**app}: pass\n"),
]

SETTINGS = """from prodkit.service.settings import ServiceSettings, load_settings
class Settings(ServiceSettings): pass
"""
edit = st.tuples(
    st.integers(0, 10_000), st.integers(0, 60), st.sampled_from(["", *PIECES]) | st.text(max_size=8)
)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(SOURCES), st.lists(edit, min_size=1, max_size=6))
def test_random_edits_never_crash_it(source, edits):
    text = source.read_text()
    for at, length, piece in edits:
        place = at % (len(text) + 1)
        text = text[:place] + piece + text[place + length :]
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / ("config/production.yaml" if source.suffix == ".yaml" else source.name)
        path.parent.mkdir(exist_ok=True)
        (folder / "all.py").write_text(SETTINGS)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        report = check(folder)
    assert all(each.line >= 0 and each.message for each in report.unread)
    assert all(1 <= each.line <= len(text.splitlines()) + 1 for each in report.findings)
