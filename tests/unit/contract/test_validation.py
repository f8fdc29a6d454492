import pytest

from prodkit.call import Call
from prodkit.contract import Validate, validate
from prodkit.contract.validation import MAX_VIOLATIONS
from prodkit.errors import FieldViolation, InvalidArgumentError

pytestmark = pytest.mark.anyio


def test_violations_are_told_by_json_pointer(library):
    book = library.pb.Book(title="t", authors=["a", ""], publisher={"email": "nobody"})
    with pytest.raises(InvalidArgumentError) as caught:
        validate(library.pb.CreateBookRequest(book=book))
    assert caught.value.violations == (
        FieldViolation("/book/authors/1", "must be at least 1 characters", "string.min_len"),
        FieldViolation("/book/publisher/name", "value is required", "required"),
        FieldViolation("/book/publisher/email", "must be a valid email address", "string.email"),
    )
    assert caught.value.message == "/book/authors/1: must be at least 1 characters"


def test_violations_are_capped(library):
    books = [library.pb.Book() for _ in range(100)]
    with pytest.raises(InvalidArgumentError) as caught:
        validate(library.pb.ListBooksResponse(books=books))
    assert len(caught.value.violations) == MAX_VIOLATIONS


async def test_a_valid_request_goes_on(library):
    request = library.pb.GetBookRequest(id="1")

    async def proceed(call):
        return call.payload

    assert await Validate()(Call("x", payload=request), proceed) is request


async def test_an_invalid_request_does_not(library):
    async def proceed(call):
        pytest.fail("went on")

    with pytest.raises(InvalidArgumentError):
        await Validate()(Call("x", payload=library.pb.Book()), proceed)


async def test_messages_of_a_stream_are_checked_when_they_are_taken(library):
    async def requests():
        yield library.pb.GetBookRequest(id="1")
        yield library.pb.GetBookRequest(id="1" * 37)

    taken = []

    async def proceed(call):
        taken.append((await anext(call.payload)).id)
        await anext(call.payload)

    with pytest.raises(InvalidArgumentError):
        await Validate()(Call("x", payload=requests()), proceed)
    assert taken == ["1"]
