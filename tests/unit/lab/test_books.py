"""The books count what happened: lost, answered twice, latency, and who was listening when."""

from __future__ import annotations

import pytest

from tests.lab.webex.books import Books, Entry, percentile, summarise
from tests.lab.webex.client import BotBooks


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def books(clock: Clock) -> Books:
    return Books(["jarvis", "tars"], clock)


def fetched(books: Books, key: str, room: str = "room", expect: str = "Status for") -> Entry:
    """A message to jarvis that he has fetched and acknowledged."""
    entry = books.sent(key, "jarvis", room, "status", expect)
    for step in (books.pushed, books.resolved, books.fetched, books.acked):
        step(key)
    return entry


def test_a_message_answered_in_its_thread_counts_once_with_its_latency(books: Books, clock: Clock) -> None:
    fetched(books, "m1")
    clock.passes(2.5)
    books.posted("jarvis", "room", "m1", "Status for War room")

    summary = books.summary("jarvis")

    assert (summary.sent, summary.delivered, summary.answered, summary.answered_twice) == (1, 1, 1, 0)
    assert (summary.lost, summary.pending, summary.stalled) == (0, 0, {})
    assert summary.latency_p50 == summary.latency_p99 == summary.latency_max == 2.5


def test_a_second_answer_is_answered_twice_and_leaves_the_latency_alone(books: Books, clock: Clock) -> None:
    fetched(books, "m1")
    clock.passes(1)
    books.posted("jarvis", "room", "m1", "Status for War room")
    clock.passes(60)
    books.posted("jarvis", "room", "m1", "Status for War room")

    summary = books.summary("jarvis")

    assert (summary.answered, summary.answered_twice, summary.latency_max) == (1, 1, 1)


def test_a_post_without_the_expected_text_is_a_note_not_an_answer(books: Books) -> None:
    fetched(books, "m1")
    books.posted("jarvis", "room", "m1", "This bot requires a client which can render cards.")

    summary = books.summary("jarvis")

    assert (summary.answered, summary.notes, summary.stalled) == (0, 1, {"answer": 1})


def test_another_bots_post_answers_nothing(books: Books) -> None:
    fetched(books, "m1")
    books.posted("tars", "room", "m1", "Status for War room")

    assert books.summary("jarvis").answered == 0
    assert books.summary("jarvis").notes == 0


@pytest.mark.parametrize(
    ("age", "lost", "pending"), [(129.0, 0, 1), (130.0, 0, 1), (130.1, 1, 0)], ids=["young", "at the limit", "too old"]
)
def test_an_unanswered_message_is_pending_then_lost(
    books: Books, clock: Clock, age: float, lost: int, pending: int
) -> None:
    fetched(books, "m1")
    clock.passes(age)

    summary = books.summary("jarvis", lost_after=130.0)

    assert (summary.lost, summary.pending) == (lost, pending)
    assert books.settled(130.0) is bool(lost)


def test_each_message_counts_as_answered_lost_or_pending(books: Books, clock: Clock) -> None:
    fetched(books, "old")
    clock.passes(200)
    fetched(books, "new")
    fetched(books, "done")
    books.posted("jarvis", "room", "done", "Status for War room")

    summary = books.summary("jarvis", lost_after=130.0)

    assert (summary.sent, summary.answered, summary.lost, summary.pending) == (3, 1, 1, 1)


@pytest.mark.parametrize(
    ("steps", "stage"), [(0, "push"), (1, "resolve"), (2, "fetch"), (3, "ack"), (4, "answer")], ids=str
)
def test_an_unanswered_message_says_where_it_stands(books: Books, steps: int, stage: str) -> None:
    books.sent("m1", "jarvis", "room", "status", "Status for")
    for step in (books.pushed, books.resolved, books.fetched, books.acked)[:steps]:
        step("m1")

    assert books.summary("jarvis").stalled == {stage: 1}


def test_a_post_without_a_thread_answers_what_was_fetched_last_in_the_room(books: Books, clock: Clock) -> None:
    """`stale` was fetched by a process that was ended before it answered."""
    hangs = books.sent("hangs", "jarvis", "room", "status", "Status for")
    stale = fetched(books, "stale")
    clock.passes(60)
    latest = fetched(books, "latest")
    clock.passes(1)
    elsewhere = fetched(books, "elsewhere", room="other room")

    books.posted("jarvis", "room", None, "Status for War room")

    assert [len(entry.answers) for entry in (hangs, stale, latest, elsewhere)] == [0, 0, 1, 0]


def test_a_post_without_a_thread_too_many_is_answered_twice(books: Books) -> None:
    fetched(books, "m1")
    for _ in range(2):
        books.posted("jarvis", "room", None, "Status for War room")

    assert books.summary("jarvis").answered_twice == 1


def test_a_thread_of_an_unknown_message_without_the_expected_text_is_not_booked(books: Books) -> None:
    fetched(books, "m1")
    books.posted("jarvis", "room", "nobody knows", "hello everybody")

    assert books.summary("jarvis").notes == 0


def test_phases_are_summed_up_apart(books: Books) -> None:
    books.phase = "before"
    fetched(books, "m1")
    books.phase = "after"
    fetched(books, "m2")
    fetched(books, "m3")

    assert books.phases() == ["before", "after"]
    assert [books.summary("jarvis", phase).sent for phase in ("before", "after", None)] == [1, 2, 3]


def test_unacknowledged_messages_are_sent_again_while_young(books: Books, clock: Clock) -> None:
    books.sent("old", "jarvis", "room", "status", "Status for")
    clock.passes(100)
    books.sent("new", "jarvis", "room", "status", "Status for")
    fetched(books, "acked")

    assert [entry.id for entry in books.unacked("jarvis", younger_than=50)] == ["new"]
    assert [entry.id for entry in books.unacked("jarvis", younger_than=500)] == ["old", "new"]


def test_reset_forgets_messages_but_not_open_websockets(books: Books, clock: Clock) -> None:
    fetched(books, "m1")
    closed = books.opened("jarvis", "device")
    clock.passes(1)
    books.closed(closed, 1001)
    books.opened("jarvis", "device")

    books.reset()

    assert books.summary("jarvis").sent == 0
    assert books.connected("jarvis")
    assert [session.opened_at for session in books.sessions["jarvis"]] == [1001.0]


def test_two_live_websockets_are_two_consumers_for_as_long_as_both_live(books: Books, clock: Clock) -> None:
    first = books.opened("jarvis", "device")
    clock.passes(10)
    second = books.opened("jarvis", "device")
    clock.passes(1)
    books.heard("jarvis", first)
    books.heard("jarvis", second)
    clock.passes(4)
    books.heard("jarvis", first)

    assert [(overlap.since, overlap.until) for overlap in books.overlaps["jarvis"]] == [(1010.0, 1015.0)]


def test_a_websocket_whose_client_is_gone_is_no_second_consumer(books: Books, clock: Clock) -> None:
    books.opened("jarvis", "device")
    clock.passes(10)
    second = books.opened("jarvis", "device")
    for _ in range(5):
        clock.passes(2)
        books.heard("jarvis", second)

    assert books.overlaps["jarvis"] == []


def test_one_websocket_after_the_other_is_one_consumer(books: Books, clock: Clock) -> None:
    first = books.opened("jarvis", "device")
    clock.passes(1)
    books.heard("jarvis", first)
    books.closed(first, 1001)
    clock.passes(1)
    books.heard("jarvis", books.opened("jarvis", "device"))

    assert books.overlaps["jarvis"] == []


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ((), 0.5, None),
        ((7.0,), 0.99, 7.0),
        ((4.0, 1.0, 3.0, 2.0), 0.5, 2.0),
        ((3.0, 1.0, 2.0), 0.5, 2.0),
        (tuple(range(1, 201)), 0.99, 198),
    ],
    ids=["none", "one", "even", "odd", "many"],
)
def test_percentile_is_the_nearest_rank(values: tuple[float, ...], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


def test_no_messages_have_no_latency() -> None:
    summary = summarise([], now=0.0)

    assert (summary.sent, summary.latency_p50, summary.latency_max) == (0, None, None)


def test_down_time_is_the_time_without_any_websocket(books: Books, clock: Clock) -> None:
    first = books.opened("jarvis", "device")
    clock.passes(10)
    books.closed(first, None)
    clock.passes(3)
    second = books.opened("jarvis", "device")
    clock.passes(1)
    third = books.opened("jarvis", "device")
    clock.passes(1)
    books.closed(second, None)
    clock.passes(10)
    books.closed(third, None)
    clock.passes(5)

    of_jarvis = BotBooks(
        total=books.summary("jarvis"),
        phases={},
        requests={},
        sessions=books.sessions["jarvis"],
        two_consumers=[],
        devices=1,
        connections=[],
    )

    assert of_jarvis.down_time(1000.0, clock.now) == 3 + 5
    assert of_jarvis.down_time(1000.0, 1010.0) == 0
    assert of_jarvis.down_time(1011.0, 1012.0) == 1
    assert of_jarvis.down_time(990.0, 1000.0) == 10
