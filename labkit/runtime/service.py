"""One running instance of a service: its database, server, relay, consumer and sweepers."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from labkit.results import Message
from labkit.runtime import critical
from labkit.runtime.db.job import TransactionDefaults
from labkit.runtime.environment import Environment
from labkit.runtime.messaging import inbox, outbox
from labkit.runtime.messaging.admin import AdminService, Edge
from labkit.runtime.messaging.admin_handlers import AdminHandlers
from labkit.runtime.messaging.audit import PatientAdmin
from labkit.runtime.messaging.consumer import EventConsumer
from labkit.runtime.messaging.deadlines import RUNTIME_DEADLINES
from labkit.runtime.messaging.outbox import Groups
from labkit.runtime.messaging.relay import Relay
from labkit.runtime.messaging.retention import Retention, Senders
from labkit.runtime.registry.ports import Instance
from labkit.runtime.rpc.client import Calls
from labkit.runtime.rpc.ports import Handler
from labkit.runtime.steps import AnyFlow, AnyStep, Event, Flow, Step
from labkit.runtime.telemetry import tracing
from labkit.runtime.telemetry.kinds import Kind
from labkit.runtime.wiring import Service

log = logging.getLogger(__name__)

A = TypeVar("A")
C = TypeVar("C")

_HEALTH_S = 2.5  # more than a call has: a busy service is no dead one


class ServiceRuntime:
    """One running instance of a service.

    Args:
        service: its line of the wiring table.
        instance: its number among those of the service, from 1.
        environment: the ports through which it reaches the world.
        groups: topic → consumer groups.
        senders: topic → the services that send to it.
        names: contract → name of the service that offers it.
        outside: field of the flows' argument → a client, or a key, of a system outside.
    """

    def __init__(
        self,
        service: Service,
        instance: int,
        environment: Environment,
        groups: Groups,
        senders: Groups,
        names: Mapping[type, str],
        outside: Mapping[str, object],
    ) -> None:
        self.service = service
        self.instance = instance
        self.environment = environment
        self.settings = environment.settings
        self._groups = groups
        self._senders_of = senders
        self._names = names
        self._outside = outside
        self._flows: dict[tuple[str, Message], asyncio.Task[object]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.registry = environment.registry
        self.calls = Calls(
            service.name,
            environment.registry,
            environment.connect,
            environment.failpoints,
            environment.settings.call_timeout,
            environment.clock,
        )
        self._shop = self._make_shop() if service.shop else None

    def _patient_admin(self, name: str) -> PatientAdmin:
        admin = self.calls.stub(AdminService, name)
        return PatientAdmin(admin, self.settings.audit_delay, self.environment.clock.monotonic)

    def _make_shop(self) -> object:
        """Make the first argument of the flows: `run`, `settings`, and stubs of other services."""
        stubs = {
            name: self.calls.outside(contract, name, self._outside[name])
            if name in self._outside
            else self.calls.stub(contract, self._names[contract])
            for name, contract in self.service.calls.items()
        }
        assert self.service.shop
        return self.service.shop(run=self.run, settings=self.settings, **{**self._outside, **stubs})

    async def run(self, step: Step[C, A], command: C) -> A:
        """Run a step on this service's own database."""
        if step.reads or not tracing.on:
            return await self._database.run(step, command)
        with tracing.span(step.name, Kind.STEP, order_id=tracing.order_of(command)) as span:
            answer = await self._database.run(step, command)
            span.note(answer)
            return answer

    async def start(self) -> None:
        """Open the database, serve, relay and consume; telling the registry before it consumes.

        Waits for the registry where that is a ZooKeeper which is away.
        """
        environment = self.environment
        relay = Relay(
            self.service.name,
            environment.broker,
            environment.failpoints,
            lambda group: self.calls.stub(AdminService, group),
            self.settings.queue_limit,
            self.settings.audit_delay,
            environment.clock,
        )
        database = environment.open_database(self._transaction_defaults(relay.send_all))
        self._database = database
        admins = {name: self._patient_admin(name) for name in sorted(self._names.values())}
        senders = Senders(admins, self._senders_of)
        self._consumer = EventConsumer(
            self.service.name,
            {event.topic: (event, step) for event, step in self.service.handlers.items()},
            environment.broker,
            database,
            environment.failpoints,
            environment.clock,
            self.service.upcasts,
            senders,
        )
        self.announce(await self._serve())
        self._consumer.start()
        deadlines = (*RUNTIME_DEADLINES, *self.service.deadlines)
        loops = {
            "relay": relay.run(database, self._groups, deadlines),
            "retries": self._consumer.run_retries(),
            "health": self._server.keep_health(critical.stuck),
            **{sweep.name: self._sweep(sweep) for sweep in self.service.sweeps},
        }
        if self.settings.message_retention:
            keeps = Retention(
                self.service.name, database, senders, self.settings, environment.clock
            )
            loops["retention"] = keeps.run()
        self._tasks += [critical.create_task(loop, name) for name, loop in loops.items()]

    async def _serve(self) -> str:
        """Serve the contract of the service and the admin service; return the endpoint."""
        assert self.service.contract  # a service without a contract is a web
        name, manual_steps = self.service.name, self.service.manual_steps
        admin = AdminHandlers(name, self._database, self._consumer, manual_steps)
        self._server = self.environment.make_server()
        self._server.add(self.service.contract, self._handlers(), self.service.upcasts)
        self._server.add(AdminService, admin.table(self.ask_around))
        return await self._server.start()

    async def ask_around(self) -> tuple[Edge, ...]:
        """Ask every service that this one calls, or whose inbox it audits, if it answers.

        The question takes the path of every call, to the other's database and back, and changes
        nothing there. It crosses no failpoint, so that nobody counts it.
        """
        called = {
            self._names[contract]
            for name, contract in self.service.calls.items()
            if name not in self._outside
        }
        audited = {group for event in self.service.emits for group in self._groups[event.topic]}
        questions = {name: self._ask_service(name) for name in sorted(called | audited)}
        questions |= {name: client.ask_health() for name, client in self._clients()}
        errors = await asyncio.gather(*questions.values(), return_exceptions=True)
        return tuple(
            Edge(callee=name, error=str(error) if isinstance(error, BaseException) else "")
            for name, error in zip(questions, errors, strict=True)
        )

    async def _ask_service(self, name: str) -> None:
        admin = self.calls.stub(AdminService, name, {"find_missing": _HEALTH_S})
        await admin.find_missing(inbox.MissingQuery(group=name, fingerprints={}))

    def _clients(self) -> Iterator[tuple[str, Any]]:
        """Yield the clients of systems that are not ours, among those that this service calls."""
        for name in self.service.calls:
            if name in self._outside:
                yield name, self._outside[name]

    def announce(self, endpoint: str) -> None:
        """Tell the registry where this instance answers."""
        me = Instance(self.service.name, self.instance, endpoint, os.getpid())
        self.registry.announce(me)

    async def stop(self) -> None:
        """Answer what is under way, leave the consumer group, close."""
        self.registry.withdraw(self.service.name, self.instance)
        await self._server.stop()
        for task in self._tasks:
            task.cancel()
        await self._consumer.stop()
        await self.calls.close()
        await asyncio.to_thread(self._database.close)
        await asyncio.to_thread(self.registry.close)

    def _transaction_defaults(
        self, send_all: Callable[[list[outbox.OutboxMessage]], None]
    ) -> TransactionDefaults:
        loop = asyncio.get_running_loop()

        def committed(emitted: list[tuple[int, Event, str]]) -> None:
            """Hand what a commit wrote to the relay, from the committer's thread."""
            messages = [
                outbox.message_of(event_id, event, self._groups[event.topic], trace)
                for event_id, event, trace in emitted
            ]
            if messages:
                loop.call_soon_threadsafe(send_all, messages)

        return TransactionDefaults(
            service=self.service.name,
            clock=self.environment.lab_clock,
            ids=self.environment.make_ids(),
            settings=self.settings,
            failpoints=self.environment.failpoints,
            write_outbox=outbox.event_writer(self._groups),
            committed=committed,
        )

    def _handlers(self) -> dict[str, Handler]:
        def handler(function: AnyStep | AnyFlow) -> Handler:
            if isinstance(function, Flow):
                return lambda command, _expires: self._run_flow(function, command)
            return lambda command, expires: self._database.ask(function, command, expires)

        return {name: handler(function) for name, function in self.service.methods.items()}

    def _run_flow(self, flow: AnyFlow, command: Message) -> "asyncio.Task[object]":
        """Run a flow; if it is shared, callers with the same command share the one that runs."""
        if not flow.shared:
            return asyncio.ensure_future(flow.function(self._shop, command))
        key = (flow.name, command)
        running = self._flows.get(key)
        if running is None:
            running = self._flows[key] = asyncio.ensure_future(flow.function(self._shop, command))
            running.add_done_callback(lambda _: self._flows.pop(key))
        return running

    async def _sweep(self, sweep: Flow[None, None]) -> None:
        while True:
            await self.environment.clock.sleep(self.settings.sweep_interval)
            try:
                await sweep.function(self._shop, None)
            except Exception:  # a sweeper outlives whatever is away
                log.exception("%s will look again", sweep.name)
