"""What an import says whose extra is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str, *, of: str) -> Iterator[None]:
    """Raise ImportError that says how to install the extra `name`, which the module `of` needs.

    Around the first imports of the packages that the extra brings.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"{of} needs the {name} extra ({error.name} is missing): "
            f"pip install 'prodkit-services[{name}]'",
            name=error.name,
        ) from error
