"""A TCP proxy that cuts or stalls connections after a number of bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cut:
    """The faults of one connection.

    Attributes:
        up: whether the bytes towards the server are counted, or those that come back.
        after: so many bytes still pass.
        how: closed, reset, or stalled: it stays open, and nothing passes any more.
    """

    up: bool
    after: int
    how: str


@dataclass(eq=False)
class _Connection:
    cut: Cut | None
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    stalled: bool = False

    def suffer(self) -> None:
        assert self.cut
        if self.cut.how == "stalled":
            self.stalled = True
        elif self.cut.how == "reset":
            for writer in self.writers:
                writer.transport.abort()
        else:
            self.close()

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


class Proxy:
    """Stands between a caller and a server; each new connection meets the next of the cuts.

    Args:
        endpoint: of the server.
        cuts: one after another; connections after the last pass untouched.
        gone: whether nobody listens any more after the last cut.
    """

    def __init__(self, endpoint: str, cuts: list[Cut], *, gone: bool = False) -> None:
        self._host, _, self._port = endpoint.partition(":")
        self._cuts = list(cuts)
        self._gone = gone
        self._open: list[_Connection] = []
        self.met = asyncio.Event()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.endpoint = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Close everything."""
        self._server.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Close the connections that are open; new ones are taken."""
        for connection in self._open:
            connection.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self._cuts.pop(0) if self._cuts else None, [writer])
        self._open.append(connection)
        there, thence = await asyncio.open_connection(self._host, int(self._port))
        connection.writers.append(thence)
        await asyncio.gather(
            self._pass(connection, reader, thence, up=True),
            self._pass(connection, there, writer, up=False),
        )

    async def _pass(
        self,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        up: bool,
    ) -> None:
        cut = connection.cut
        remaining = cut.after if cut and cut.up == up else None
        with suppress(OSError):
            while (data := await reader.read(4096)) and not connection.stalled:
                part = data if remaining is None else data[:remaining]
                writer.write(part)
                await writer.drain()
                remaining = None if remaining is None else remaining - len(part)
                if remaining == 0:
                    return self._cut(connection)
            if not connection.stalled:
                writer.close()
        return None

    def _cut(self, connection: _Connection) -> None:
        assert connection.cut
        self.met.set()
        connection.suffer()
        if self._gone and not self._cuts:
            self._server.close()


@asynccontextmanager
async def cutting(endpoint: str, cuts: list[Cut], *, gone: bool = False) -> AsyncIterator[Proxy]:
    """A proxy before a server, as long as it is needed."""
    proxy = Proxy(endpoint, cuts, gone=gone)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
