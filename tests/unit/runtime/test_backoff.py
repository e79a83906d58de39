"""The one schedule of everything that is tried again."""

from datetime import timedelta

from labkit.runtime.backoff import Backoff


def test_a_doubling_schedule_grows_to_its_longest_delay_and_no_further() -> None:
    backoff = Backoff.doubling(0.5, 3.0, jitter=0.0)
    assert [backoff.delay_ms(tries) for tries in range(5)] == [500, 1000, 2000, 3000, 3000]
    assert backoff.delay_ms(10**6) == 3000
    assert not backoff.is_over(10**6)


def test_a_first_delay_beyond_the_longest_is_cut_to_it() -> None:
    assert Backoff.doubling(60.0, 3.0, jitter=0.0).delay_ms(0) == 3000


def test_jitter_takes_its_share_of_a_delay_and_no_more() -> None:
    backoff = Backoff((1.0, 10.0), jitter=0.5, exact=1)
    drawn = [backoff.delay_ms(1) for _ in range(200)]
    assert all(5_000 <= delay_ms <= 10_000 for delay_ms in drawn)
    assert len(set(drawn)) > 1
    assert {backoff.delay_ms(0) for _ in range(20)} == {1_000}


def test_a_schedule_that_ends_is_over_after_its_last_delay() -> None:
    backoff = Backoff((60, 3600), ends=True)
    assert [backoff.is_over(tries) for tries in range(4)] == [False, False, True, True]
    assert backoff.delay(1) == timedelta(hours=1)
