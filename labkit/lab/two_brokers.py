"""A Kafka of two brokers, each with a copy of the other's data: made to be broken."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Self

import psutil
from docker import DockerClient
from docker.models.containers import Container
from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from labkit.settings import Settings
from labkit.stack.containers import compose_file, engine
from labkit.stack.containers.create import OURS
from labkit.stack.supervisor import ports
from labkit.waiting import wait_until

_NAME = "labkit-two-brokers-"
_SETTINGS = {
    # A broker that is paused for a moment is not taken for dead.
    "KAFKA_BROKER_SESSION_TIMEOUT_MS": "8000",
    # The leader answers a follower's fetch after so long at most, where it has nothing new.
    "KAFKA_REPLICA_FETCH_WAIT_MAX_MS": "200",
}
_ANSWERED_SECONDS = 1.0
_PREFERRED = 0  # of the kinds of election: the first of a topic's assignment leads
_READY_SECONDS = 120
_CLIENT = {
    "reconnect_backoff_ms": 50,
    "reconnect_backoff_max_ms": 500,
    "request_timeout_ms": 10_000,
    "bootstrap_timeout_ms": 10_000,
}


class TwoBrokers:
    """Two brokers, of which the first is the controller too: it elects the leaders.

    Both are made from the image and the settings of compose.yaml's Kafka, share one network and
    keep nothing: `down` removes their data.

    Attributes:
        address: of both brokers, for a client.
    """

    def __init__(self, opened: ExitStack, docker: DockerClient, settings: Settings) -> None:
        self._opened = opened
        self._docker = docker
        self._host = settings.containers_network == "host"
        self._kafka = compose_file.read(settings).services["kafka"]
        first = ports.free(3)
        self._ports = range(first, first + 3)
        self.address = ",".join(f"127.0.0.1:{port}" for port in self._ports[:2])
        self._brokers = {number: self._run(number) for number in (1, 2)}

    @classmethod
    def up(cls) -> Self:
        """Start both, with the image and the network of the settings.

        Raises:
            DockerUnusable: no Docker engine answers.
        """
        with ExitStack() as opened:
            docker = opened.enter_context(engine.connect())
            _sweep(docker)
            return cls(opened.pop_all(), docker, Settings())

    def down(self) -> None:
        """Remove both."""
        for broker in self._brokers.values():
            broker.remove(force=True, v=True)
        self._opened.close()

    def pause(self, number: int) -> None:
        """Pause a broker, with SIGSTOP."""
        self._brokers[number].kill("SIGSTOP")  # an engine's own pause may fail on a busy machine
        time.sleep(_ANSWERED_SECONDS)  # a request that it had before is answered by then

    def unpause(self, number: int) -> None:
        """Continue a paused broker."""
        self._brokers[number].kill("SIGCONT")

    def kill(self, number: int) -> None:
        """Kill a broker with −9."""
        self._brokers[number].kill()

    def start(self, number: int) -> None:
        """Start a killed broker again, with its disk."""
        self._brokers[number].start()

    def new_topic(self, name: str, **settings: str) -> None:
        """Make a topic of one partition, with a copy at each broker: broker 2 leads, 1 follows.

        Args:
            name: of the topic.
            settings: of the topic, with `_` for the dots in their names.

        Raises:
            TimeoutError: the two are not ready within two minutes.
        """
        configs = {setting.replace("_", "."): value for setting, value in settings.items()}

        def is_ready() -> bool:
            if self.in_sync(name) == [2, 1]:
                return True
            with suppress(KafkaError), self._admin() as admin:
                with suppress(TopicAlreadyExistsError):
                    admin.create_topics({name: {"assignments": {0: [2, 1]}, "configs": configs}})
                # a broker that was not ready when the topic was made leads only once elected
                admin.elect_leaders(_PREFERRED, {name: [0]})
            return False

        wait_until(is_ready, f"each broker has a copy of {name}", _READY_SECONDS, poll=0)

    def in_sync(self, topic: str) -> list[int]:
        """List the brokers that have all of a topic, its leader first; none if nobody answers."""
        try:
            with self._admin() as admin:
                (partition,) = admin.describe_topics([topic])[0]["partitions"]
        except (KafkaError, ValueError):  # nobody answers, or there is no such topic
            return []
        leader = partition["leader_id"]
        return sorted(partition["isr_nodes"], key=lambda node: (node != leader, node))

    @contextmanager
    def _admin(self) -> Iterator[KafkaAdminClient]:
        admin = KafkaAdminClient(bootstrap_servers=self.address.split(","), **_CLIENT)
        try:
            yield admin
        finally:
            admin.close()

    def _run(self, number: int) -> Container:
        first, ours = number == 1, f"{_NAME}{os.getpid()}"
        network = "host" if self._host else None if first else f"container:{ours}-1"
        published = {str(port): ("127.0.0.1", port) for port in self._ports[:2]}
        return self._docker.containers.run(
            self._kafka.image,
            detach=True,
            name=f"{ours}-{number}",
            labels={OURS: ours},
            environment=self._environment(number),
            mem_limit=self._kafka.mem_limit,
            network_mode=network,
            ports=published if first and not self._host else None,
        )

    def _environment(self, number: int) -> dict[str, str]:
        first, second, controller = self._ports
        port, listen = (first, second)[number - 1], "127.0.0.1" if self._host else "0.0.0.0"
        also = f",CONTROLLER://127.0.0.1:{controller}" if number == 1 else ""
        return (
            self._kafka.environment
            | {
                "KAFKA_NODE_ID": str(number),
                "KAFKA_PROCESS_ROLES": "broker,controller" if number == 1 else "broker",
                "KAFKA_LISTENERS": f"HOST://{listen}:{port}{also}",
                "KAFKA_ADVERTISED_LISTENERS": f"HOST://127.0.0.1:{port}",
                "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@127.0.0.1:{controller}",
            }
            | _SETTINGS
        )


def _sweep(docker: DockerClient) -> None:
    """Remove the brokers of processes that are gone."""
    for container in docker.containers.list(all=True, filters={"label": OURS}):
        name, _, pid = container.labels[OURS].rpartition("-")
        if f"{name}-" == _NAME and not psutil.pid_exists(int(pid)):
            container.remove(force=True, v=True)
