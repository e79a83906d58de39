"""The clients that MySQL, Kafka and ZooKeeper bring with them, run in their own containers."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from labkit.settings import Settings
from labkit.stack.containers import compose_file, engine
from labkit.stack.containers.create import find

if TYPE_CHECKING:
    from labkit.lab.lab import Lab

_SCRIPTS = "/opt/kafka/bin/"
_LONG_ID = re.compile(r"\d{15,}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TRACE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-\d\d")
#: What ZooKeeper's client says before it does what it was told, and where it logs.
_CHATTER = re.compile(r"(?s)\A.*?WatchedEvent[^\n]*\n|^[^\n]* - (?:INFO|WARN) [^\n]*\n", re.M)


class ServerClients:
    """What an engineer would type in a shell of the container.

    All that a lab has at a server begins with a mark of its own, which is `this_lab` here, in what
    they are told and in what they print. Ids have their short names.

    Args:
        lab: which stands on containers.
    """

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab
        self._of_lab = re.compile(rf"(?<=labkit[-_/]){lab.home.mark}(-\d+)?")

    def mysql(self, query: str, service: str = "order") -> str:
        """`mysql --table -e QUERY`, as the account of a service, in its schema.

        Args:
            query: of SQL.
            service: as `goods`.

        Returns:
            What it prints; where the server refuses, what that says.
        """
        url = make_url(self._lab.home.database_url(service))
        where = ["-h", "127.0.0.1", "-P", str(url.port), "-u", str(url.username), str(url.database)]
        sql = query.replace("labkit_this_lab", f"labkit_{self._lab.home.mark}")
        said = self._run(
            "mysql", ["mysql", *where, "--table", "-e", sql], MYSQL_PWD=str(url.password)
        )
        return _LONG_ID.sub(lambda found: self._lab.alias(found[0]).ljust(len(found[0])), said)

    def kafka(self, script: str, *options: str) -> str:
        """One of Kafka's scripts, as `kafka-topics.sh`, at the broker.

        Returns:
            What it prints.
        """
        state = self._lab.home.state()
        told = [option.replace("labkit-this_lab-", state["topic_prefix"]) for option in options]
        broker = ["--bootstrap-server", state["endpoints"]["broker"]]
        said = self._run("kafka", [_SCRIPTS + script, *broker, *told])
        return self._lab.alias(_TRACE.sub("00-…", _UUID.sub("…", said)))

    def zookeeper(self, *command: str) -> str:
        """`zkCli.sh COMMAND`.

        Returns:
            What it prints when it is connected.
        """
        server = self._lab.home.state()["endpoints"]["registry"]
        told = [
            one.replace("/labkit/this_lab", f"/labkit/{self._lab.home.mark}") for one in command
        ]
        return _CHATTER.sub("", self._run("zookeeper", ["zkCli.sh", "-server", server, *told]))

    def _run(self, service: str, command: Sequence[str], **environment: str) -> str:
        with engine.connect() as docker:
            container = find(docker, compose_file.read(Settings()).name, service)
            assert container  # the lab stands on it
            found = container.exec_run(list(command), environment=environment, demux=True)
        said, complaint = ((text or b"").decode() for text in found.output)  # type: ignore[union-attr]  # two, with demux
        return self._of_lab.sub("this_lab", said if found.exit_code == 0 else said + complaint)
