from __future__ import annotations

from querywright.events import StatementExecuted, emit, has_subscribers, subscribe, subscribed


class Happened:
    pass


def test_subscribers_hear_their_events_in_order() -> None:
    heard: list[str] = []
    with subscribed(Happened, lambda _: heard.append("first")), subscribed(Happened, lambda _: heard.append("second")):
        assert has_subscribers(Happened)
        emit(Happened())
        emit(StatementExecuted("SELECT 1", 0.1))
    emit(Happened())
    assert heard == ["first", "second"]
    assert not has_subscribers(Happened)


def test_unsubscribing_twice_does_nothing() -> None:
    heard: list[object] = []
    unsubscribe = subscribe(Happened, heard.append)
    other = subscribe(Happened, heard.append)
    unsubscribe()
    unsubscribe()
    other()
    emit(Happened())
    assert heard == []
