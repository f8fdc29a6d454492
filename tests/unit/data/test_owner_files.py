"""Who lives and who is dead, by the locks that processes leave behind."""

import asyncio
import errno
import fcntl
import os
import signal

import pytest

from prodkit.data.database import Database
from prodkit.data.owner_files import OwnerFiles

pytestmark = pytest.mark.anyio


@pytest.fixture
def database(tmp_path):
    return Database(tmp_path / "orders.db")


@pytest.fixture
def files(database):
    return OwnerFiles(database, "sagas")


def die_holding(database, *owners):
    """Hold these in a process that is killed."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:

        async def hold():
            files = OwnerFiles(database, "sagas")
            for owner in owners:
                await files.hold(owner)
            os.write(told, b".")
            await asyncio.Event().wait()

        asyncio.run(hold())
    os.read(ready, 1)
    return pid


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


async def the_dead(files):
    async with files.dead() as owners:
        return sorted(owners)


async def test_the_living_are_left_alone_and_the_killed_are_found_once(database, files):
    await files.hold("here")
    pid = await asyncio.to_thread(die_holding, database, "there", "there too")
    assert await the_dead(files) == []
    kill(pid)
    assert await the_dead(OwnerFiles(database, "outbox")) == []  # those are of another kind
    assert await the_dead(files) == ["there", "there too"]
    assert await the_dead(files) == []


async def test_who_could_not_be_buried_is_found_again(database, files):
    kill(await asyncio.to_thread(die_holding, database, "there"))
    with pytest.raises(KeyError):
        async with files.dead():
            raise KeyError
    assert await the_dead(files) == ["there"]


async def test_two_never_bury_the_same(database, files):
    kill(await asyncio.to_thread(die_holding, database, "there"))
    async with files.dead() as owners:
        assert owners == ["there"]
        assert await the_dead(OwnerFiles(database, "sagas")) == []


async def test_who_leaves_leaves_nothing(database, files, tmp_path):
    await files.hold("here")
    await files.hold("here")
    await files.drop("here")
    await files.drop("here")
    assert await the_dead(files) == []
    assert list((tmp_path / "owners").iterdir()) == []


async def test_who_is_buried_while_it_begins_is_alive_in_the_end(database, files):
    """The file is there before its lock; whoever looks in between removes it."""
    others = [OwnerFiles(database, "sagas") for _ in range(4)]

    async def look(other):
        for _ in range(50):
            await the_dead(other)

    async def begin():
        for number in range(50):
            await files.hold(f"o{number}")

    await asyncio.gather(begin(), *map(look, others))
    assert len(list((files._folder).iterdir())) == 50
    assert await the_dead(others[0]) == []


async def test_over_postgresql_nobody_is_known_to_be_dead():
    files = OwnerFiles(Database("postgresql://me@127.0.0.1:1/orders"), "sagas")
    await files.hold("here")
    assert await the_dead(files) == []
    await files.drop("here")


async def test_a_child_of_the_dead_does_not_make_it_look_alive(database, files):
    born, told = os.pipe()
    wait, end = os.pipe()

    async def hold_and_have_a_child():
        owner = OwnerFiles(database, "sagas")
        await owner.hold("there")
        if os.fork() == 0:
            os.write(told, b".")
            os.close(end)
            os.read(wait, 1)
            os._exit(0)
        await asyncio.Event().wait()

    if (pid := os.fork()) == 0:
        os.close(end)
        asyncio.run(hold_and_have_a_child())
    try:
        await asyncio.to_thread(os.read, born, 1)
        assert await the_dead(files) == []
        kill(pid)
        assert await the_dead(files) == ["there"]
    finally:
        for descriptor in (born, told, wait, end):
            os.close(descriptor)  # the grandchild reads its end


async def test_thousands_of_dead_are_found_some_at_a_time(database, files, tmp_path):
    (tmp_path / "owners").mkdir()
    for number in range(1500):
        (tmp_path / "owners" / f"orders.db.sagas.o{number}").touch()
    before, found = len(os.listdir("/proc/self/fd")), set()
    while owners := await the_dead(files):
        assert len(owners) <= 100
        found.update(owners)
    assert len(found) == 1500
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EINVAL])
async def test_a_file_system_without_locks_leaves_nothing_open(
    database, files, tmp_path, monkeypatch, number
):
    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    await files.hold("here")
    monkeypatch.setattr(fcntl, "flock", refuse)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=os.strerror(number)):
        await files.hold("there")
    with pytest.raises(OSError, match=os.strerror(number)):
        await the_dead(files)
    assert len(os.listdir("/proc/self/fd")) == before
    assert [path.name for path in (tmp_path / "owners").iterdir()] == ["orders.db.sagas.here"]
