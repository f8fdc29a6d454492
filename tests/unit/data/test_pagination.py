from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, String, Table, event, insert, select

from prodkit.data.database import Database
from prodkit.data.pagination import decode_cursor, encode_cursor, page
from prodkit.errors import InvalidArgumentError

METADATA = MetaData()
ITEMS = Table(
    "items", METADATA, Column("id", Integer, primary_key=True), Column("name", String(10))
)


@pytest.fixture
async def database():
    database = Database(":memory:")
    await database.start()
    await database.create_all(METADATA)
    async with database.transaction() as tx:
        await tx.execute(insert(ITEMS), [{"id": n, "name": f"n{n % 3}"} for n in range(1, 11)])
    yield database
    await database.stop()


async def walk(database, *keys, **options):
    cursor, seen = "", []
    while True:
        async with database.read() as tx:
            found = await page(tx, select(ITEMS), *keys, cursor=cursor, **options)
        seen.extend(row.id for row in found.rows)
        cursor = found.next_cursor
        if not cursor:
            return seen


@pytest.mark.anyio
@pytest.mark.parametrize("size", [1, 3, 10, 11])
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_cover_everything_once_in_order(database, size, descending):
    expected = sorted(range(1, 11), key=lambda n: (n % 3, n), reverse=descending)
    found = await walk(database, ITEMS.c.name, ITEMS.c.id, size=size, descending=descending)
    assert found == expected


@pytest.mark.anyio
async def test_a_page_is_one_statement_whatever_its_size(database):
    statements = []
    async with database.read() as tx:
        listener = lambda *args: statements.append(args[2])  # noqa: E731
        event.listen(tx.connection.sync_connection, "before_cursor_execute", listener)
        for size in (1, 10):
            await page(tx, select(ITEMS), ITEMS.c.id, size=size)
    assert len(statements) == 2


@pytest.mark.anyio
async def test_a_page_size_below_one_is_refused(database):
    async with database.read() as tx:
        with pytest.raises(InvalidArgumentError):
            await page(tx, select(ITEMS), ITEMS.c.id, size=0)


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_a_cursor_gives_back_its_keys(text, whole, real):
    keys = (text, whole, real)
    assert decode_cursor(encode_cursor(*keys), str, int, float) == keys


@pytest.mark.parametrize(
    "cursor",
    ["x", "%%%", "é", encode_cursor("a"), encode_cursor(1, 2), encode_cursor(2**63), "bnVsbA"]
    + [urlsafe_b64encode(text).decode() for text in (b"[true]", b"[NaN]", b"[" * 5000, b"\xff")],
)
def test_a_cursor_that_is_not_ours_is_refused(cursor):
    with pytest.raises(InvalidArgumentError) as caught:
        decode_cursor(cursor, int)
    assert caught.value.reason == "INVALID_CURSOR"


def test_a_cursor_cannot_smuggle_nan():
    with pytest.raises(InvalidArgumentError):
        decode_cursor(urlsafe_b64encode(b"[NaN]").decode(), float)
