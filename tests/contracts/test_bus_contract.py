"""The contract of `Bus`, held by every implementation."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from seawall.replica.bus import Bus, Message, RequestFailed
from seawall.replica.buses.subjects import DATA_BYTES_MAX
from tests.contracts.sites import HANG_S, MESSAGES_MAX, BusSite


async def say_until_heard(
    speaker: Bus, subject: str, listener: AsyncIterator[Message], data: bytes = b"?"
) -> None:
    """Publish until the listener hears it: a network learns of listeners in its own time."""
    heard = asyncio.ensure_future(anext(listener))
    async with asyncio.timeout(HANG_S):
        while not heard.done():
            await speaker.publish(subject, data)
            await asyncio.wait((heard,), timeout=0.01)
    assert heard.result() == Message(subject=subject, data=data)


async def ask_until_answered(bus: Bus, subject: str, data: bytes) -> bytes:
    async with asyncio.timeout(HANG_S):
        while True:
            try:
                return await bus.request(subject, data, timeout_s=5.0)
            except RequestFailed:
                await asyncio.sleep(0.01)


async def hear_last(listener: AsyncIterator[Message], last: bytes) -> list[bytes]:
    """What is heard up to `last`."""
    heard: list[bytes] = []
    async with asyncio.timeout(HANG_S):
        while not heard or heard[-1] != last:
            heard.append((await anext(listener)).data)
    return heard


async def test_a_message_reaches_who_listens(bus_site: BusSite) -> None:
    speaker, hearer = await bus_site.open(), await bus_site.open()
    near, far, elsewhere = (
        speaker.subscribe("vote.r1"),
        hearer.subscribe("vote.r1"),
        hearer.subscribe("vote.r2"),
    )
    await say_until_heard(speaker, "vote.r1", far)
    assert (await anext(near)).data == b"?"
    # Were "vote.r1" delivered to all, `elsewhere` would hold it before this.
    await say_until_heard(speaker, "vote.r2", elsewhere, b"!")


async def test_a_subscription_is_in_force_at_once_for_its_own_endpoint(bus_site: BusSite) -> None:
    bus = await bus_site.open()
    listener = bus.subscribe("vote.r1")
    await bus.publish("vote.r1", b"1")
    async with asyncio.timeout(HANG_S):
        assert await anext(listener) == Message(subject="vote.r1", data=b"1")


async def test_a_pattern_hears_all_below(bus_site: BusSite) -> None:
    bus = await bus_site.open()
    listener = bus.subscribe("vote.>")
    for subject in ("vote", "votes.r1", "vote.r1", "vote.r1.late", "vote.end"):
        await bus.publish(subject, subject.encode())
    assert await hear_last(listener, b"vote.end") == [b"vote.r1", b"vote.r1.late", b"vote.end"]


async def test_a_slow_listener_loses_the_oldest(bus_site: BusSite) -> None:
    bus = await bus_site.open()
    slow, witness = bus.subscribe("vote.r1"), bus.subscribe("vote.r1")
    for number in range(3 * MESSAGES_MAX):
        await bus.publish("vote.r1", b"%d" % number)
        # The witness keeps up; once it has heard a message, so has the slow one's inbox.
        await hear_last(witness, b"%d" % number)
    last = 3 * MESSAGES_MAX - 1
    kept = [b"%d" % number for number in range(last - MESSAGES_MAX + 1, last + 1)]
    assert await hear_last(slow, b"%d" % last) == kept


async def test_one_of_a_group_answers(bus_site: BusSite) -> None:
    asker = await bus_site.open()
    answered: list[tuple[str, bytes]] = []
    for name in ("r1", "r2", "r3"):
        member = await bus_site.open()

        async def answer(data: bytes, name: str = name) -> bytes:
            answered.append((name, data))
            return name.encode() + b":" + data

        await member.serve("query.seq", answer, group="replicas")
    assert (await ask_until_answered(asker, "query.seq", b"?"))[2:] == b":?"
    answered.clear()
    for number in range(30):
        data = b"%d" % number
        reply = await asker.request("query.seq", data, timeout_s=HANG_S)
        assert answered[-1] == (reply[:2].decode(), data)
    # Each question went to one member, and not to the same one always.
    assert [data for _, data in answered] == [b"%d" % number for number in range(30)]
    assert len({name for name, _ in answered}) > 1


async def test_a_question_without_an_answer_fails(bus_site: BusSite) -> None:
    asker, member = await bus_site.open(), await bus_site.open()
    with pytest.raises(RequestFailed):
        await asker.request("query.seq", b"?", timeout_s=HANG_S)
    forever = asyncio.Event()

    async def answer(data: bytes) -> bytes:
        if data == b"slow":
            await forever.wait()
        return data

    await member.serve("query.seq", answer, group="replicas")
    assert await ask_until_answered(asker, "query.seq", b"fast") == b"fast"
    with pytest.raises(RequestFailed):
        await asker.request("query.seq", b"slow", timeout_s=0.05)
    # The slow one is still being answered, and holds up nobody.
    assert await asker.request("query.seq", b"fast", timeout_s=HANG_S) == b"fast"


async def test_a_bug_in_an_answer_is_not_hidden(bus_site: BusSite) -> None:
    bugs: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, bug: bugs.append(bug))
    bus = await bus_site.open()

    async def answer(data: bytes) -> bytes:
        if data == b"ping":
            return b"pong"
        raise ZeroDivisionError

    await bus.serve("query.seq", answer, group="replicas")
    assert await ask_until_answered(bus, "query.seq", b"ping") == b"pong"
    with pytest.raises(RequestFailed):
        await bus.request("query.seq", b"?", timeout_s=0.2)
    assert [type(bug["exception"]) for bug in bugs] == [ZeroDivisionError]


async def test_closing_ends_subscriptions_and_answers(bus_site: BusSite) -> None:
    bus, other = await bus_site.open(), await bus_site.open()

    async def answer(data: bytes) -> bytes:
        return data

    await bus.serve("query.seq", answer, group="replicas")
    assert await ask_until_answered(other, "query.seq", b"?") == b"?"
    listener = bus.subscribe("vote.r1")
    end = asyncio.ensure_future(anext(listener, None))
    await asyncio.sleep(0)
    await bus.close()
    async with asyncio.timeout(HANG_S):
        assert await end is None
        assert await anext(bus.subscribe("vote.r1"), None) is None
    await bus.publish("vote.r1", b"lost")
    await bus.close()
    with pytest.raises(RequestFailed):
        await bus.request("query.seq", b"?", timeout_s=HANG_S)
    with pytest.raises(RequestFailed):
        await other.request("query.seq", b"?", timeout_s=0.5)


@pytest.mark.parametrize("subject", ["", "a..b", ".a", "a.", "a b", "*", "a.*", ">", "a.>.b", "ä"])
async def test_a_subject_is_words(bus_site: BusSite, subject: str) -> None:
    bus = await bus_site.open()
    with pytest.raises(AssertionError):
        bus.subscribe(subject)
    with pytest.raises(AssertionError):
        await bus.publish(subject, b"x")


async def test_a_message_has_a_largest_size(bus_site: BusSite) -> None:
    bus = await bus_site.open()
    listener = bus.subscribe("vote.r1")
    with pytest.raises(AssertionError):
        await bus.publish("vote.r1", bytes((DATA_BYTES_MAX) + 1))
    await bus.publish("vote.r1", bytes(DATA_BYTES_MAX))
    async with asyncio.timeout(HANG_S):
        assert len((await anext(listener)).data) == DATA_BYTES_MAX
