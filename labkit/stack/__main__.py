"""A supervisor as a program: `python -m labkit.stack '{"home": …}'`."""

import gc
import json
import os
import sys


def main() -> None:
    """Run a supervisor; print one line and exit with code 1 where it cannot start."""
    gc.disable()  # what is imported is no garbage, and to look for some takes a fifth of the time
    spec = json.loads(sys.argv[1])
    if "gate" in spec:
        _wait_at(spec["gate"])
    from labkit.home import Home
    from labkit.settings import Settings
    from labkit.stack.supervisor import service_process
    from labkit.stack.supervisor.instances import check_instances
    from labkit.stack.supervisor.preparation import CannotStart
    from labkit.stack.supervisor.supervisor import Supervisor

    service_process.load_all()
    gc.freeze()  # what is imported stays: no collection of a child walks over it, or unshares it
    gc.enable()
    try:
        Supervisor(
            Home(spec["home"]).make(),
            Settings(),
            check_instances(spec["instances"]),
            spec["stack"],
            dies_with_stdin=spec["dies_with_stdin"],
            lock=spec.get("lock"),
        ).run()
    except (CannotStart, OSError, ValueError) as error:
        sys.exit(" ".join(str(error).split()))


def _wait_at(gate: int) -> None:
    """Wait until who started this process knows of it; end where that will never be."""
    if not os.read(gate, 1):
        sys.exit("whoever started this supervisor was interrupted")
    os.close(gate)


if __name__ == "__main__":
    main()
