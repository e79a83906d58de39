"""The lab clock as a notebook uses it."""

from datetime import datetime, timedelta

from labkit.runtime.clock import LabClock


class Clock:
    """Reads, stops and advances the lab clock of all processes.

    Args:
        clock: of the home.
    """

    def __init__(self, clock: LabClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        """Return the business time."""
        return self._clock.now()

    def stop(self, at: datetime | None = None) -> None:
        """Stop business time, at a time or where it is."""
        self._clock.stop(at)

    def advance(self, **by: float) -> datetime:
        """Move business time forward in all processes, as `advance(minutes=30)`.

        Raises:
            ValueError: that is no length of time, or one that the lab clock cannot move by.
        """
        try:
            length = timedelta(**by)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"the lab clock goes forward by a length of time: {error}") from None
        self._clock.advance(length)
        return self._clock.now()
