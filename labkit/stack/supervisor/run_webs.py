"""The processes of the webs."""

import asyncio

import uvicorn
from fastapi import FastAPI

from labkit import http_limits
from labkit.runtime.service import ServiceRuntime
from labkit.shop.order.contract import OrderService
from labkit.shop.pay.contract import PayService
from labkit.stack.supervisor.service_process import ServiceInstance
from labkit.web.health import Health
from labkit.web.orders import order_web
from labkit.web.payments import pay_web


async def run_order_web(service: ServiceInstance) -> None:
    """Run the web that takes orders."""
    runtime, flow = service.runtime(), service.settings.flow_timeout
    timeouts = {"confirm_order": flow, "open_order": flow / 2}  # together well below 10 s
    orders = runtime.calls.stub(OrderService, "order", timeouts)
    await _serve_web(service, runtime, order_web(orders, service.settings.queue_limit))


async def run_pay_web(service: ServiceInstance) -> None:
    """Run the web that takes payments, and the platform's callbacks."""
    runtime, flow = service.runtime(), service.settings.flow_timeout
    timeouts = {"create_payment": flow, "take_callback": flow / 2}
    payments = runtime.calls.stub(PayService, "pay", timeouts)
    await _serve_web(service, runtime, pay_web(payments, service.settings.queue_limit))


async def _serve_web(service: ServiceInstance, runtime: ServiceRuntime, web: FastAPI) -> None:
    app = Health(web, service.home.secret, runtime.ask_around)
    config = uvicorn.Config(app, **http_limits.options())
    runtime.announce(service.address.endpoint(service.web_socket.getsockname()[1]))
    await uvicorn.Server(config).serve(sockets=[service.web_socket])
    await runtime.calls.close()
    await asyncio.to_thread(runtime.registry.close)
