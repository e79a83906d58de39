"""Writing the state file of a lab: a disk that is full delays it, and ends nothing."""

import json
import logging
import os
from collections.abc import Iterable, Mapping

from labkit.files import write_whole
from labkit.home import DATABASES, ENDPOINTS, Home
from labkit.runtime.injection.failpoints import Failpoints
from labkit.settings import Settings
from labkit.stack.supervisor import service_process, spawn
from labkit.stack.supervisor.broker import LabBroker
from labkit.stack.supervisor.child import Child
from labkit.stack.supervisor.children import Children
from labkit.stack.supervisor.helpers import Helpers
from labkit.stack.supervisor.instances import BROKER
from labkit.stack.supervisor.webs import WebSockets
from labkit.state import LabState, Phase

log = logging.getLogger(__name__)


class StateWriter:
    """Collects the state of a lab from the parts of its supervisor, and writes it.

    Args:
        home: where the lab lives.
        settings: of the lab.
        stack: the name of its stack, for people.
        control_port: where the supervisor takes commands.
        webs: the sockets of the webs.
        broker: of the lab.
        failpoints: of the supervisor.

    Attributes:
        is_stale: whether the file is older than the state, because it could not be written or
            because something has changed.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        stack: str,
        control_port: int,
        webs: WebSockets,
        broker: LabBroker,
        failpoints: Failpoints,
    ) -> None:
        self._home = home
        self._stack = stack
        self._control_port = control_port
        self._webs = webs
        self._broker = broker
        self._registry = settings.zookeeper or str(home.registry)
        self._failpoints = failpoints
        self.is_stale = False

    def write(
        self,
        phase: Phase,
        generation: int,
        instances: Mapping[str, int],
        children: Children,
        helpers: Helpers,
    ) -> None:
        """Write the state, and let the processes work that it names.

        Raises:
            OSError: it cannot be written while the lab starts: nobody could be told that it is up.
        """
        state = self._collect(phase, generation, children, helpers)
        state["instances"] = dict(instances)
        self._failpoints.cross("supervisor.write_state.before_rename")
        try:
            write_whole(self._home.state_file, json.dumps(state, indent=1))
            self.is_stale = False
        except OSError as error:  # as on a full disk: the lab goes on
            if phase is Phase.STARTING:
                raise
            self.is_stale = True
            log.warning("the state cannot be written, and is tried again: %s", error)
        self._failpoints.cross("supervisor.write_state.after_rename")
        helpers.go_on()
        children.go_on()

    def _collect(
        self, phase: Phase, generation: int, children: Children, helpers: Helpers
    ) -> LabState:
        alive = [child.pid for child in children.all if child.pid] + helpers.pids
        return {
            "stack": self._stack,
            "home": str(self._home.folder),
            "phase": phase,
            "supervisor": os.getpid(),
            "supervisor_birth": spawn.birth(os.getpid()),
            "control": self._control_port,
            "topic_prefix": self._broker.topic_prefix(generation),
            "generation": generation,
            "endpoints": self._endpoints(),
            "databases": {name: self._home.database_url(name) for name in DATABASES},
            "services": [child.status() for child in _in_order(children.all)],
            "processes": [{"pid": pid, "birth": spawn.birth(pid)} for pid in alive],
        }

    def _endpoints(self) -> dict[str, str | None]:
        urls: dict[str, str | None] = {**self._webs.urls()}
        urls[service_process.CONSOLE] = (
            f"{urls[service_process.CONSOLE]}/?token={self._home.console_token()}"
        )
        urls |= {"broker": self._broker.address, "registry": self._registry}
        return {name: urls.get(name) for name in ENDPOINTS}


def _in_order(children: Iterable[Child]) -> list[Child]:
    """Sort the children that make up the shop: all of one service stand together."""
    order = [BROKER, *service_process.PROCESSES]
    shop = [child for child in children if child.name != service_process.CONSOLE]
    return sorted(shop, key=lambda child: order.index(child.name))
