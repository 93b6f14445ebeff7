"""The gateway: durable before acknowledged, once however often it is asked, no gap in numbers."""

import asyncio
from collections.abc import Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.node.gateway import Gateway, Intake
from seawall.node.journal import Request, Sent
from seawall.node.receipts import Answer, Receipt, Refused, Stopped
from seawall.node.sender import Sizes
from seawall.protocol.codec import encode_any, encode_batch, entry_digest
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    ActivateRules,
    AnyCommand,
    Batch,
    CloseAccount,
    RecordDeposits,
)
from seawall.protocol.events import AccountsOpened
from tests.node.stage import (
    ALICE,
    BOB,
    CAROL,
    CHARTER,
    CUSTODY,
    GOVERN,
    OURS,
    Stage,
    opening,
    signed,
)
from tests.replica.virtual import play

FATES = ("ok", "lost", "never", "refused", "down")
BAD_FATES = ("lost", "never", "refused", "down")


def receipt_of(said: Receipt | Refused) -> Receipt:
    assert isinstance(said, Receipt), said
    return said


def refusal_of(said: Receipt | Refused) -> tuple[Reject, str]:
    assert isinstance(said, Refused), said
    return said.code, said.field


async def answer_of(gateway: Gateway, said: Receipt | Refused) -> Answer:
    answer = await gateway.wait_released(receipt_of(said))
    assert answer is not None
    return answer


def test_a_receipt_comes_only_after_the_log_has_the_command() -> None:
    async def scene() -> None:
        stage = Stage()
        async with stage.open() as gateway:
            stage.log.gate.clear()
            asking = asyncio.create_task(gateway.submit(ALICE, (opening(3),)))
            await asyncio.sleep(1)
            assert not asking.done()
            assert len(stage.store.entries) == 1
            stage.log.gate.set()
            receipt = receipt_of(await asking)
            entry = stage.store.entries[receipt.seq - 1]
            assert encode_any(opening(3)) in entry.payload

    play(scene())


def test_no_receipt_is_given_for_what_the_log_refuses() -> None:
    async def scene() -> None:
        stage = Stage(["refused"] * 500, intake=Intake(patience_s=3))
        async with stage.open() as gateway:
            said = await gateway.submit(ALICE, (opening(3),))
            assert refusal_of(said) == (Reject.UNKNOWN_OUTCOME, "log")
            assert len(stage.store.entries) == 1

    play(scene())


@pytest.mark.parametrize("fate", BAD_FATES)
def test_retries_are_one_message_and_one_entry(fate: str) -> None:
    async def scene() -> None:
        stage = Stage([fate] * 4)
        async with stage.open() as gateway:
            answer = await answer_of(gateway, await gateway.submit(ALICE, (opening(3),)))
            assert answer.rejected is None
        assert len(set(stage.log.message_ids)) == 1
        assert stage.applied(ALICE) == [opening(3)]
        assert len(stage.batches(ALICE)) == 1

    play(scene())


@settings(max_examples=40)
@given(
    fates=st.lists(st.sampled_from(FATES), max_size=30),
    askings=st.lists(
        st.tuples(st.sampled_from((ALICE, BOB)), st.integers(0, 30)), min_size=1, max_size=12
    ),
)
def test_whatever_the_log_does_each_command_enters_once_and_in_order(
    fates: list[str], askings: list[tuple[int, int]]
) -> None:
    async def scene() -> None:
        stage = Stage(fates, intake=Intake(patience_s=1000))
        asked: dict[int, list[AnyCommand]] = {ALICE: [], BOB: []}

        async def ask(gateway: Gateway, place: int, sender_id: int, after_ms: int) -> Answer:
            await asyncio.sleep(after_ms / 1000)
            asked[sender_id].append(opening(place + 1))
            return await answer_of(gateway, await gateway.submit(sender_id, (opening(place + 1),)))

        async with stage.open() as gateway:
            answers = await asyncio.gather(
                *(ask(gateway, place, *asking) for place, asking in enumerate(askings))
            )
        for place, answer in enumerate(answers):
            assert any(isinstance(event, AccountsOpened) for event in answer.events)
            assert answer.rejections == ()
            assert encode_any(opening(place + 1)) in stage.history[answer.seq - 1].payload
        for sender_id in (ALICE, BOB):
            assert stage.applied(sender_id) == asked[sender_id]
            numbers = stage.numbers(sender_id)
            assert numbers == list(range(1, len(numbers) + 1))

    play(scene())


def test_one_batch_is_in_flight_per_sender_and_eight_per_gateway() -> None:
    async def scene() -> None:
        stage = Stage(intake=Intake(in_flight_max=2))
        async with stage.open() as gateway:
            asked = [gateway.submit(ALICE, (opening(1),)) for _ in range(40)]
            await asyncio.gather(*asked)
            assert stage.log.in_flight_most == 1
            # Forty submissions that came together needed few batches.
            assert len(stage.batches(ALICE)) <= 3
            asked = [gateway.submit(sender, (opening(1),)) for sender in OURS for _ in range(5)]
            await asyncio.gather(*asked)
            assert stage.log.in_flight_most == 2

    play(scene())
    assert Intake().in_flight_max == 8


def test_batches_keep_submissions_whole_and_within_their_size() -> None:
    async def scene() -> None:
        sizes = Sizes(batch_commands=5, batch_bytes=10_000)
        stage = Stage(intake=Intake(sizes=sizes))
        async with stage.open() as gateway:
            groups: list[tuple[AnyCommand, ...]] = [(opening(1), opening(2))] * 5
            said = await asyncio.gather(*(gateway.submit(ALICE, group) for group in groups))
            large = tuple(opening(1) for _ in range(9))
            receipt = receipt_of(await gateway.submit(ALICE, large))
            assert (receipt.index, receipt.count) == (0, 9)
        for receipt, group in zip(map(receipt_of, said), groups, strict=True):
            batch = next(b for b, joined in stage.batches(ALICE) if joined.seq == receipt.seq)
            assert batch.commands[receipt.index : receipt.index + receipt.count] == group
        assert [len(batch.commands) for batch, _ in stage.batches(ALICE)] == [4, 4, 2, 9]

    play(scene())


def test_an_answer_tells_the_refusals_of_its_own_commands() -> None:
    async def scene() -> None:
        stage = Stage()
        wrong = CloseAccount(999)
        async with stage.open() as gateway:
            groups: list[tuple[AnyCommand, ...]] = [
                (opening(1), opening(2)),
                (opening(3), wrong, opening(4), wrong),
                (opening(5),),
            ]
            said = await asyncio.gather(*(gateway.submit(ALICE, group) for group in groups))
            early = [await answer_of(gateway, one) for one in said]
            # Asked again later, the answer comes from the outcomes still at hand.
            late = [await answer_of(gateway, one) for one in said]
        assert len({answer.seq for answer in early}) == 1
        refused = [[event.command for event in answer.rejections] for answer in early]
        assert refused == [[], [1, 3], []]
        assert early == late

    play(scene())


def test_an_entry_of_its_own_has_nobody_elses_commands() -> None:
    async def scene() -> None:
        stage = Stage()
        async with stage.open() as gateway:
            await asyncio.gather(
                gateway.submit(ALICE, (opening(1),)),
                gateway.submit(ALICE, (opening(2),)),
                gateway.submit(ALICE, (opening(3),), alone=True),
                gateway.submit(ALICE, (opening(4),)),
            )
        sizes = [len(batch.commands) for batch, _ in stage.batches(ALICE)]
        assert sizes == [2, 1, 1]

    play(scene())


# Asking again ------------------------------------------------------------------------------


def test_the_same_name_gets_the_same_receipt_and_one_entry() -> None:
    async def scene() -> None:
        stage = Stage(["lost", "never"])
        async with stage.open() as gateway:
            said = await asyncio.gather(
                *(gateway.submit(ALICE, (opening(2),), request_id="r") for _ in range(3))
            )
            later = await gateway.submit(ALICE, (opening(2),), request_id="r")
            assert len({receipt_of(one) for one in (*said, later)}) == 1
            other = await gateway.submit(ALICE, (opening(3),), request_id="r")
            assert refusal_of(other) == (Reject.NUMBER_REUSED, "request_id")
        assert stage.applied(ALICE) == [opening(2)]

    play(scene())


def test_a_name_is_known_after_a_restart_sent_or_settled() -> None:
    async def scene() -> None:
        stage = Stage()
        async with stage.open() as gateway:
            settled = await gateway.submit(ALICE, (opening(2),), request_id="settled")
            await answer_of(gateway, settled)
            stage.releasing.clear()
            await asyncio.sleep(0.1)
            kept = await gateway.submit(ALICE, (opening(3),), request_id="kept")
        stage.releasing.set()
        async with stage.open() as gateway:
            assert await gateway.submit(ALICE, (opening(2),), request_id="settled") == settled
            assert await gateway.submit(ALICE, (opening(3),), request_id="kept") == kept
            answer = await answer_of(gateway, kept)
            assert answer.rejected is None
            answer = await answer_of(gateway, settled)
            assert answer.seq == receipt_of(settled).seq
        assert stage.applied(ALICE) == [opening(2), opening(3)]

    play(scene())


@pytest.mark.parametrize("fates", [(), ("lost", "never", "lost"), ("never", "refused", "lost")])
@pytest.mark.parametrize("steps", range(0, 44, 2))
def test_killed_at_any_step_a_gateway_loses_and_doubles_nothing(
    steps: int, fates: tuple[str, ...]
) -> None:
    """Each life ends after so many turns of the loop; clients ask again under the same name."""

    async def scene() -> None:
        stage = Stage(fates)
        said: dict[str, Receipt] = {}

        async def ask(gateway: Gateway, name: str, size: int) -> None:
            answer = await gateway.submit(ALICE, (opening(size),), request_id=name)
            if isinstance(answer, Receipt):
                assert said.setdefault(name, answer) == answer
                assert encode_any(opening(size)) in stage.store.entries[answer.seq - 1].payload

        asked = {f"r{size}": size for size in range(1, 6)}
        for turns in (steps, steps // 2, steps + 7):
            async with stage.open() as gateway:
                tasks = [asyncio.create_task(ask(gateway, *item)) for item in asked.items()]
                for _ in range(turns):
                    await asyncio.sleep(0 if turns % 3 else 0.0005)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        async with stage.open() as gateway:
            await asyncio.gather(*(ask(gateway, *item) for item in asked.items()))
        assert len(said) == len(asked)
        assert sorted(stage.applied(ALICE), key=lambda c: c.count) == [  # type: ignore[union-attr]
            opening(size) for size in sorted(asked.values())
        ]
        numbers = stage.numbers(ALICE)
        assert numbers == list(range(1, len(numbers) + 1))

    play(scene())


def test_numbers_go_on_without_a_journal() -> None:
    async def scene() -> None:
        stage = Stage()
        async with stage.open() as gateway:
            for _ in range(3):
                await answer_of(gateway, await gateway.submit(ALICE, (opening(1),)))
        stage.journals.stores.clear()
        async with stage.open() as gateway:
            answer = await answer_of(gateway, await gateway.submit(ALICE, (opening(2),)))
            assert answer.rejected is None
        assert stage.numbers(ALICE) == [1, 2, 3, 4]
        assert all(joined.is_applied for _, joined in stage.batches(ALICE))

    play(scene())


def test_a_number_that_somebody_else_used_is_replaced_and_nothing_is_lost() -> None:
    """The journal was lost together with the machine's power; a copy of the key is in use."""

    async def scene() -> None:
        stage = Stage()
        async with stage.open() as gateway:
            stage.releasing.clear()
            await asyncio.sleep(0.1)
            stage.store.store("foreign", signed(ALICE, 1, opening(9)))
            asked = [
                asyncio.create_task(gateway.submit(ALICE, (opening(size),), alone=True))
                for size in (1, 2, 3)
            ]
            await asyncio.sleep(0.1)
            stage.releasing.set()
            answers = [await answer_of(gateway, await task) for task in asked]
        assert [answer.rejections for answer in answers] == [(), (), ()]
        # One that was under way already may come before those that had to be numbered anew.
        applied = stage.applied(ALICE)
        assert applied[0] == opening(9)
        assert sorted(map(encode_any, applied[1:])) == [encode_any(opening(n)) for n in (1, 2, 3)]
        assert stage.numbers(ALICE) == [1, 2, 3, 4]

    play(scene())


def test_bytes_that_were_refused_once_can_still_enter_the_log() -> None:
    """The log takes the second copy for a retry of the first, which the machine refused."""

    async def scene() -> None:
        stage = Stage()
        early = signed(ALICE, 2, opening(5))
        async with stage.open() as gateway:
            lane = gateway._senders[ALICE].lane
            name = f"{CHARTER.log_id.hex()[:16]}.{ALICE}.2.{entry_digest(early).hex()[:16]}"
            stage.store.store(name, early)
            await asyncio.sleep(0.1)
            assert stage.history[1].refusal is not None
            await gateway.submit(ALICE, (opening(4),))
            answer = await answer_of(gateway, await gateway.submit(ALICE, (opening(5),)))
            assert answer.rejected is None
            assert answer.seq == 4
            assert not lane.kept
        assert stage.log.message_ids[-2:] == [name, f"{name}.1"]
        assert stage.applied(ALICE) == [opening(4), opening(5)]

    play(scene())


def test_the_refusal_of_another_copy_decides_nothing() -> None:
    """A copy came too early and was refused; the one that the log answers for is applied."""

    async def scene() -> None:
        stage = Stage()
        second = signed(ALICE, 2, opening(2))
        whole = Request("", b"", 0, 1)
        stage.journals.open("sender-1").write(Sent(2, second, (whole,)))
        stage.store.store("early", second)
        stage.log.gate.clear()
        async with stage.open() as gateway:
            await asyncio.sleep(0.5)
            assert stage.history[1].refusal is not None
            assert gateway.kept_batches == 1
            stage.store.store("first", signed(ALICE, 1, opening(1)))
            await asyncio.sleep(0.5)
            stage.log.gate.set()
            await asyncio.sleep(5)
            assert gateway.kept_batches == 0
            await answer_of(gateway, await gateway.submit(ALICE, (opening(3),)))
        assert stage.applied(ALICE) == [opening(1), opening(2), opening(3)]

    play(scene())


# Saying no ---------------------------------------------------------------------------------


def test_a_gateway_says_why_it_takes_nothing() -> None:
    async def scene() -> None:
        stage = Stage()
        async with stage.open() as gateway:
            columns = bytes(8 << 17)
            large = RecordDeposits(1, 1, columns, bytes(4), bytes(8))
            cases: list[tuple[Awaitable[Receipt | Refused], Reject, str]] = [
                (gateway.submit(99, (opening(1),)), Reject.SENDER_UNKNOWN, "sender_id"),
                (gateway.submit(CAROL, (opening(1),)), Reject.SENDER_UNKNOWN, "sender_id"),
                (gateway.submit(ALICE, ()), Reject.COMMANDS_EMPTY, "commands"),
                (gateway.submit(GOVERN, (ActivateRules(2),)), Reject.RULES_FUTURE, "version"),
                (gateway.submit(CUSTODY, (large,)), Reject.BATCH_LARGE, "commands"),
            ]
            for asking, code, field in cases:
                assert refusal_of(await asking) == (code, field)
        assert len(stage.store.entries) == 1

    play(scene())


def test_intake_stops_when_too_much_is_not_released() -> None:
    async def scene() -> None:
        stage = Stage(intake=Intake(ahead_entries_max=3))
        async with stage.open() as gateway:
            await answer_of(gateway, await gateway.submit(ALICE, (opening(1),)))
            stage.releasing.clear()
            await asyncio.sleep(0.1)
            said = [await gateway.submit(ALICE, (opening(1),)) for _ in range(8)]
            taken = [one for one in said if isinstance(one, Receipt)]
            assert len(taken) == 4
            assert {refusal_of(one) for one in said[4:]} == {(Reject.BACKLOG, "log")}
            stage.releasing.set()
            await answer_of(gateway, taken[-1])
            receipt_of(await gateway.submit(ALICE, (opening(1),)))

    play(scene())


def test_a_full_queue_refuses_and_what_was_not_sent_is_taken_back() -> None:
    async def scene() -> None:
        sizes = Sizes(queue_commands=3, batch_commands=1)
        stage = Stage(intake=Intake(sizes=sizes, patience_s=2))
        async with stage.open() as gateway:
            await answer_of(gateway, await gateway.submit(ALICE, (opening(1),)))
            stage.log.is_down = True
            asked = [
                asyncio.create_task(gateway.submit(ALICE, (opening(size),), request_id=f"{size}"))
                for size in range(2, 8)
            ]
            said = [refusal_of(await task) for task in asked]
            # The first is on its way and may arrive; two waited in vain; for three was no room.
            assert said == [
                (Reject.UNKNOWN_OUTCOME, "log"),
                *[(Reject.LOG_DOWN, "log")] * 2,
                *[(Reject.BACKLOG, "sender_id")] * 3,
            ]
            stage.log.is_down = False
            again = await gateway.submit(ALICE, (opening(2),), request_id="2")
            await answer_of(gateway, again)
            await asyncio.sleep(5)
        # What was called certainly not in the log is not, and the unknown one is there once.
        assert stage.applied(ALICE) == [opening(1), opening(2)]

    play(scene())


def test_a_gateway_that_knows_no_numbers_sends_nothing_before_it_has_read_the_log() -> None:
    async def scene() -> None:
        stage = Stage(intake=Intake(patience_s=2))
        stage.releasing.clear()
        async with stage.open() as gateway:
            said = await gateway.submit(ALICE, (opening(1),))
            assert refusal_of(said) == (Reject.BACKLOG, "log")
            stage.releasing.set()
            await answer_of(gateway, await gateway.submit(ALICE, (opening(2),)))
        assert stage.applied(ALICE) == [opening(2)]

    play(scene())


def test_who_waits_hears_when_the_gateway_stops() -> None:
    async def scene() -> None:
        stage = Stage()
        async with stage.open() as gateway:
            await answer_of(gateway, await gateway.submit(ALICE, (opening(1),)))
            stage.releasing.clear()
            await asyncio.sleep(0.1)
            receipt = receipt_of(await gateway.submit(ALICE, (opening(2),)))
            waiting = asyncio.create_task(gateway.wait_released(receipt))
            await asyncio.sleep(0.1)
        with pytest.raises(Stopped):
            await waiting

    play(scene())


# Batches that clients sign ----------------------------------------------------------------


def test_a_signed_batch_gets_one_receipt_for_ever() -> None:
    async def scene() -> None:
        stage = Stage(["lost", "never"])
        first, second = signed(CAROL, 1, opening(1), opening(2)), signed(CAROL, 2, opening(3))
        async with stage.open() as gateway:
            await asyncio.sleep(0.1)
            said = await asyncio.gather(*(gateway.submit_signed(first) for _ in range(3)))
            receipt = receipt_of(said[0])
            assert set(said) == {receipt}
            answer = await answer_of(gateway, receipt)
            assert (answer.rejections, receipt.count) == ((), 2)
            await answer_of(gateway, await gateway.submit_signed(second))
        stage.journals.stores.clear()
        async with stage.open() as gateway:
            await asyncio.sleep(0.1)
            assert await gateway.submit_signed(first) == receipt
            assert (await answer_of(gateway, receipt)).seq == receipt.seq
        assert stage.applied(CAROL) == [opening(1), opening(2), opening(3)]

    play(scene())


def test_a_signed_batch_that_cannot_pass_hears_its_code_early() -> None:
    async def scene() -> None:
        stage = Stage()
        key = CHARTER.keys["bob"]
        forged = encode_batch(Batch(CHARTER.log_id, CAROL, 1, (opening(1),)), key)
        good = signed(CAROL, 1, opening(1))
        cases = [
            (b"\x01", Reject.MALFORMED, "payload"),
            (bytes((9,)) + good[1:], Reject.VERSION_FUTURE, "payload"),
            (CHARTER.payload, Reject.GENESIS_MISPLACED, "payload"),
            (signed(CAROL, 1, opening(1), log_id=bytes(32)), Reject.LOG_WRONG, "log_id"),
            (forged, Reject.SIGNATURE_BAD, "signature"),
            (signed(CAROL, 1), Reject.COMMANDS_EMPTY, "commands"),
            (signed(ALICE, 1, opening(1)), Reject.SENDER_UNKNOWN, "sender_id"),
            (signed(CAROL, 2, opening(1)), Reject.NUMBER_GAP, "number"),
            (signed(CAROL, 1, ActivateRules(9)), Reject.ROLE_MISSING, "sender"),
            (signed(CAROL, 1, opening(1), ActivateRules(9)), Reject.RULES_FUTURE, "version"),
        ]
        async with stage.open() as gateway:
            await asyncio.sleep(0.1)
            for payload, code, field in cases:
                assert refusal_of(await gateway.submit_signed(payload)) == (code, field)
            assert len(stage.store.entries) == 1
            await answer_of(gateway, await gateway.submit_signed(good))
            said = await gateway.submit_signed(signed(CAROL, 1, opening(2)))
            assert refusal_of(said) == (Reject.NUMBER_REUSED, "number")
        assert stage.applied(CAROL) == [opening(1)]

    play(scene())


def test_a_number_on_its_way_is_taken() -> None:
    async def scene() -> None:
        stage = Stage()
        async with stage.open() as gateway:
            await asyncio.sleep(0.1)
            stage.log.gate.clear()
            first = asyncio.create_task(gateway.submit_signed(signed(CAROL, 1, opening(1))))
            second = asyncio.create_task(gateway.submit_signed(signed(CAROL, 2, opening(2))))
            await asyncio.sleep(0.1)
            for number in (1, 2):
                said = await gateway.submit_signed(signed(CAROL, number, opening(9)))
                assert refusal_of(said) == (Reject.NUMBER_REUSED, "number")
            stage.log.gate.set()
            for one in (first, second):
                await answer_of(gateway, await one)
        assert stage.applied(CAROL) == [opening(1), opening(2)]
        assert len(stage.store.entries) == 3

    play(scene())


def test_what_a_client_sends_in_one_go_keeps_its_order() -> None:
    async def scene() -> None:
        stage = Stage(["never", "lost", "refused"] * 3)
        async with stage.open() as gateway:
            await asyncio.sleep(0.1)
            said = await asyncio.gather(
                *(gateway.submit_signed(signed(CAROL, n, opening(n))) for n in range(1, 6))
            )
            for one in said:
                assert (await answer_of(gateway, one)).rejected is None
        assert stage.applied(CAROL) == [opening(n) for n in range(1, 6)]

    play(scene())


def test_a_batch_of_another_client_is_still_kept_after_a_crash() -> None:
    async def scene() -> None:
        stage = Stage(["never"] * 3)
        payload = signed(CAROL, 1, opening(4))
        async with stage.open() as gateway:
            await asyncio.sleep(0.05)
            asking = asyncio.create_task(gateway.submit_signed(payload))
            await asyncio.sleep(0.01)
            assert not asking.done()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        async with stage.open():
            await asyncio.sleep(1)
        assert stage.applied(CAROL) == [opening(4)]

    play(scene())
