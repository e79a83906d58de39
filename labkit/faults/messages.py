"""Messages that the broker loses."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from labkit.faults import broker_loss
from labkit.faults.processes import Processes
from labkit.stack import launch


class Messages(Processes):
    """What can befall a message."""

    def lose_broker(self, seed: int | None = None) -> int:
        """Make the broker forget what it had acknowledged: everything, or a random tail of it.

        The services stand still meanwhile, so that what is lost can be counted.

        Args:
            seed: of the tail that each partition loses; without one, everything is lost.

        Returns:
            How many records were lost: none means that the fault was not reached.
        """
        log = broker_loss.BrokerLog(self._home)
        with self._services_stopped():
            held = log.read()
            if log.is_kept:
                log.cut(held)
            else:
                self.kill("broker")
            kept = [] if seed is None else broker_loss.heads(held, seed)
            log.write(kept)
        return len(held) - len(kept)

    @contextmanager
    def _services_stopped(self) -> Iterator[None]:
        """Stop all services for a block, and wake those that ran before."""
        services = [one for one in launch.status(self._home)["services"] if one["name"] != "broker"]
        stopped = [one["pid"] for one in services if one["pid"] and _stop(one["pid"])]
        try:
            yield
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


def _stop(pid: int) -> bool:
    """Stop a process in its tracks; False where it stands already, or is gone."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_STOPPED:
            return False
        process.suspend()
    except psutil.NoSuchProcess:
        return False
    return True
