"""The payment platform and the way to it, in the simulation: forms that take a hop each way."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from labkit.payment_api import keys
from labkit.payment_platform import notices
from labkit.payment_platform.api import Api
from labkit.payment_platform.forms import BadForm, Forbidden
from labkit.payment_platform.notifier import Notifier
from labkit.runtime.db.job import TransactionDefaults
from labkit.runtime.environment import Environment
from labkit.sim.keys import private, public

_WORKERS = 4
#: Takes a form, and returns status and body of the answer.
TakeForm = Callable[[str, Mapping[str, str]], Awaitable[tuple[int, bytes]]]


class SimPoster:
    """The port `Poster` of one process.

    Args:
        send: brings a form to the process of a name, and its answer back.
        seconds: of one form.
    """

    def __init__(
        self,
        send: Callable[[str, str, Mapping[str, str]], Awaitable[tuple[int, bytes]]],
        seconds: float,
    ) -> None:
        self._send = send
        self._seconds = seconds

    async def post(self, url: str, params: Mapping[str, str]) -> tuple[int, bytes]:
        """Post a form, as `Poster.post` has it."""
        parts = urlsplit(url)
        async with asyncio.timeout(self._seconds):
            return await self._send(parts.netloc, parts.path, params)

    async def close(self) -> None:
        """Close all connections."""


def assemble(
    environment: Environment, url: str, poster: SimPoster, make_token: Callable[[], str]
) -> Api:
    """Assemble the platform in the process that runs now; its notifier is still to be run.

    Args:
        environment: of the process.
        url: of the cashier.
        poster: posts notices.
        make_token: makes the secret of a cashier page's address.
    """
    database = environment.open_database(
        TransactionDefaults(
            service="platform",
            clock=environment.lab_clock,
            ids=environment.make_ids(),
            settings=environment.settings,
            failpoints=environment.failpoints,
            write_outbox=notices.write,
            committed=lambda _events: notifier.wake(),
        )
    )
    key = private(keys.PLATFORM)
    notifier = Notifier(database, environment.failpoints, key, poster, _WORKERS)
    return Api(
        database,
        notifier,
        environment.failpoints,
        key,
        public(keys.MERCHANT),
        url,
        environment.clock,
        make_token,
    )


async def take_form(api: Api, path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
    """Serve a form of the merchant; who cannot be served is answered without a signature."""
    actions = {
        "create": api.create,
        "query": api.query,
        "close": api.close,
        "refund": api.refund,
    }
    try:
        answer, status = await api.respond(actions[path.rpartition("/")[2]], dict(form))
    except BadForm as error:
        return 400, str(error).encode()
    except Forbidden as error:
        return 403, str(error).encode()
    except Exception as error:  # as `answers.ON_ERROR` has it
        return 503, type(error).__name__.encode()
    return status, json.dumps(answer).encode()
