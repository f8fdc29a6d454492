"""What a stranger may read of a database that is away, and what its operators do."""

import pytest

from prodkit.data.database.postgres_errors import connecting
from prodkit.errors import UnavailableError

WHERE = "postgresql://shop@db.internal:5432/shop"


@pytest.mark.parametrize(
    ("raised", "trouble"),
    [
        (OSError("refused"), "cannot be reached: is it running, and are host and port right?"),
        (TimeoutError(), "does not answer"),
    ],
)
def test_where_the_database_is_stands_in_a_note_alone(raised, trouble):
    with pytest.raises(UnavailableError) as away, connecting("shop", WHERE):
        raise raised
    assert away.value.message == f"shop {trouble}"
    assert away.value.__notes__ == [f"shop ({WHERE}) {trouble}"]
