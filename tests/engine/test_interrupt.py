from __future__ import annotations

import signal
import threading

import pytest

from limbeck.engine.interrupt import stoppable


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_only_noted_and_handlers_are_put_back(number: signal.Signals) -> None:
    before = handlers()
    with pytest.raises(ValueError), stoppable() as stop:
        assert stop.signal is None
        signal.raise_signal(number)
        assert stop.signal is number
        raise ValueError
    assert handlers() == before


def test_a_second_signal_acts_as_usual() -> None:
    with pytest.raises(KeyboardInterrupt), stoppable() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.signal is signal.SIGINT
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")


def test_a_signal_that_changed_nothing_is_delivered_afterwards() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt):
        with stoppable():
            signal.raise_signal(signal.SIGINT)
            reached = True
        raise AssertionError("not reached")
    assert reached


def test_without_a_signal_nothing_happens() -> None:
    before = handlers()
    with stoppable() as stop:
        pass
    assert stop.signal is None
    assert handlers() == before


def test_another_thread_than_the_main_one_sets_no_handlers() -> None:
    before, seen = handlers(), []

    def work() -> None:
        with stoppable() as stop:
            seen.append((handlers(), stop.signal))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, None)]


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.signal is None
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
