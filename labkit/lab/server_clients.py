"""The clients that come with MySQL, Kafka and ZooKeeper, run in the servers' own containers."""

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
#: The output of ZooKeeper's client before its command, and its log lines.
_CHATTER = re.compile(r"(?s)\A.*?WatchedEvent[^\n]*\n|^[^\n]* - (?:INFO|WARN) [^\n]*\n", re.M)


class ServerClients:
    """The commands that an engineer would type in a shell of the container.

    Everything of a lab at a server begins with a mark of its own, which is written `this_lab` here,
    in commands and in outputs. Ids have their short names.

    Args:
        lab: which uses containers.
    """

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab
        self._of_lab = re.compile(rf"(?<=labkit[-_/]){lab.home.mark}(-\d+)?")

    def mysql(self, query: str, service: str = "order") -> str:
        """Run `mysql --table -e QUERY`, as the account of a service, in its schema.

        Args:
            query: in SQL.
            service: as `goods`.

        Returns:
            The output; where the server refuses, its message.
        """
        url = make_url(self._lab.home.database_url(service))
        where = ["-h", "127.0.0.1", "-P", str(url.port), "-u", str(url.username), str(url.database)]
        sql = query.replace("labkit_this_lab", f"labkit_{self._lab.home.mark}")
        output = self._run(
            "mysql", ["mysql", *where, "--table", "-e", sql], MYSQL_PWD=str(url.password)
        )
        return _LONG_ID.sub(lambda id_: self._lab.alias(id_[0]).ljust(len(id_[0])), output)

    def kafka(self, script: str, *options: str) -> str:
        """Run one of Kafka's scripts, as `kafka-topics.sh`, at the broker.

        Returns:
            The output.
        """
        state = self._lab.home.state()
        words = [option.replace("labkit-this_lab-", state["topic_prefix"]) for option in options]
        broker = ["--bootstrap-server", state["endpoints"]["broker"]]
        output = self._run("kafka", [_SCRIPTS + script, *broker, *words])
        return self._lab.alias(_TRACE.sub("00-…", _UUID.sub("…", output)))

    def zookeeper(self, *command: str) -> str:
        """Run `zkCli.sh COMMAND`.

        Returns:
            The output, from where it is connected.
        """
        server = self._lab.home.state()["endpoints"]["registry"]
        mark = f"/labkit/{self._lab.home.mark}"
        words = [word.replace("/labkit/this_lab", mark) for word in command]
        return _CHATTER.sub("", self._run("zookeeper", ["zkCli.sh", "-server", server, *words]))

    def _run(self, service: str, command: Sequence[str], **environment: str) -> str:
        with engine.connect() as docker:
            container = find(docker, compose_file.read(Settings()).name, service)
            assert container  # the lab uses it
            result = container.exec_run(list(command), environment=environment, demux=True)
        output, errors = ((text or b"").decode() for text in result.output)  # type: ignore[union-attr]  # two, with demux
        return self._of_lab.sub("this_lab", output if result.exit_code == 0 else output + errors)
