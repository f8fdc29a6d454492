import pytest
from sqlalchemy import create_engine, inspect

from prodkit.errors import ConfigurationError
from prodkit.messaging import tables


def test_an_upgrade_makes_all_of_the_tables():
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        tables.upgrade(connection, 1)
        there = set(inspect(connection).get_table_names())
    assert there == {name for metadata in tables.TABLES for name in metadata.tables}
    engine.dispose()


@pytest.mark.parametrize(("version", "since"), [(0, 0), (1, 1), (tables.VERSION + 1, 0), (1, -1)])
def test_versions_that_do_not_exist_are_refused(version, since):
    with pytest.raises(ConfigurationError, match="versions go from 0 to"):
        tables.upgrade(None, version, since=since)
