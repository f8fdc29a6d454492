import subprocess
import sys

import prodkit.testing
from prodkit.testing import conformance


def test_the_checks_of_all_stores_are_at_hand():
    checks = {name for name in conformance.__all__ if name.startswith("check_")}
    assert len(checks) == 4
    assert checks <= set(prodkit.testing.__all__)
    assert all(getattr(prodkit.testing, name) is getattr(conformance, name) for name in checks)


def test_they_need_no_extra():
    script = (
        "import sys; before = set(sys.modules); import prodkit.testing;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new - set(sys.stdlib_module_names) - {'prodkit'}))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert output.stdout.strip() == b"[]"
