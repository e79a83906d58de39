"""A service process as a program, where the supervisor cannot fork it: another system, or release.

It imports all that it needs, and waits at its gate, before it works.
"""

import gc
import json
import os
import sys
from threading import Thread, get_native_id

_MODEST = 10  # of 19: about a tenth of the share that others get


def _load(name: str) -> None:
    """Import what the process needs, at less than others' priority: they work under load meanwhile.

    On Linux a thread has a priority of its own, so that nobody has to be allowed to raise it again.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, get_native_id(), _MODEST)
    from labkit.stack.supervisor import service_process

    service_process.load(name)


def main() -> None:
    """Run the process that the argument names."""
    gc.disable()  # what is imported is no garbage, and to look for some takes a fifth of the time
    spec = json.loads(sys.argv[1])
    modestly = Thread(target=_load, args=(spec["name"],))
    modestly.start()
    modestly.join()
    from labkit.home import Home
    from labkit.stack.supervisor import service_process, spawn

    spawn.hold_lifeline(spec.pop("lifeline"))
    gc.freeze()
    gc.enable()
    spawn.wait_at_gate(sys.stdin.fileno())
    service_process.run_process(Home(spec.pop("home")), **spec)


if __name__ == "__main__":
    main()
