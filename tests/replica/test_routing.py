"""Routing: near, idle and up to date, and the same choice for everybody who asks."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from seawall.replica.quarantine import Phase
from seawall.replica.routing import LAG_ENTRIES_MAX, Reader, Unroutable, choose_reader

NEAR = Reader("b", "east", 100, 0, "voting", 5)
IDLE = Reader("a", "west", 100, 0, "voting", 0)


def test_own_region_first_then_least_loaded_then_name() -> None:
    assert choose_reader([IDLE, NEAR], region="east") == NEAR
    assert choose_reader([IDLE, NEAR], region="west") == IDLE
    assert choose_reader([NEAR, IDLE], region="north") == IDLE
    twin = msgspec.structs.replace(NEAR, replica="a")
    assert choose_reader([NEAR, twin], region="east") == twin


def test_each_refusal_has_its_code_in_order_of_precedence() -> None:
    change = msgspec.structs.replace
    assert choose_reader([], region="east") is Unroutable.NO_REPLICA
    doubtful = [change(NEAR, phase=phase.value) for phase in Phase if phase is not Phase.VOTING]
    assert choose_reader(doubtful, region="east") is Unroutable.NONE_VOTING
    behind = change(NEAR, lag_entries=LAG_ENTRIES_MAX + 1)
    ahead = change(NEAR, lag_entries=-1)
    assert choose_reader([*doubtful, behind, ahead], region="east") is Unroutable.ALL_LAGGING
    assert choose_reader([behind, NEAR], region="east", min_seq=101) is Unroutable.SEQ_NOT_REACHED
    assert choose_reader([behind, NEAR], region="east", min_seq=100) == NEAR


readers = st.builds(
    Reader,
    replica=st.sampled_from("abcdef"),
    region=st.sampled_from(("east", "west")),
    seq=st.integers(0, 200),
    lag_entries=st.integers(-2, 100),
    phase=st.sampled_from([phase.value for phase in Phase]),
    reads_waiting=st.integers(0, 3),
)


@given(st.lists(readers, max_size=6), st.integers(0, 200), st.data())
def test_the_choice_is_fit_and_does_not_depend_on_the_order(
    found: list[Reader], min_seq: int, data: st.DataObject
) -> None:
    chosen = choose_reader(found, region="east", min_seq=min_seq)
    fit = [
        reader
        for reader in found
        if reader.phase == "voting"
        and 0 <= reader.lag_entries <= LAG_ENTRIES_MAX
        and reader.seq >= min_seq
    ]
    assert (chosen in fit) if fit else isinstance(chosen, Unroutable)
    shuffled = data.draw(st.permutations(found))
    again = choose_reader(shuffled, region="east", min_seq=min_seq)
    if isinstance(chosen, Reader):
        assert isinstance(again, Reader)
        assert (again.replica, again.region) == (chosen.replica, chosen.region)
    else:
        assert again is chosen
