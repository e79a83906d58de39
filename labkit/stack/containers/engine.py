"""The Docker engine: a connection to it, and its images. Each error is one line for people."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager

import docker
from docker import DockerClient
from docker.context import ContextAPI
from docker.context.config import get_current_context_name
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

_PROBE_S, _WORK_S = 5, 60
_OFFLINE = (
    "make the images with compose/offline/build and name them: set -a; . compose/offline/images.env"
)


class DockerUnusable(Exception):
    """Containers cannot be used; the message is one line that says what to do."""


@contextmanager
def connect() -> Iterator[DockerClient]:
    """Connect to the engine that DOCKER_HOST names, else to that of Docker's current context.

    Raises:
        DockerUnusable: nobody answers there, or not to us.
    """
    host = os.environ.get("DOCKER_HOST") or _host_of_context()
    try:
        engine = docker.from_env(timeout=_PROBE_S, environment={**os.environ, "DOCKER_HOST": host})
    except Exception as error:  # of ssh:// alone it raises those of three libraries, and ValueError
        raise DockerUnusable(_explain_refusal(error, host)) from None
    engine.api.timeout = _WORK_S
    with closing(engine):
        try:
            yield engine
        except (DockerException, RequestException) as error:
            raise DockerUnusable(f"the Docker engine at {host} says: {explain(error)}") from error


def _host_of_context() -> str:
    """Return where the engine of Docker's current context is.

    Raises:
        DockerUnusable: the context is gone, as after Docker Desktop was removed, or is broken.
    """
    cure = "docker context use default, or name an engine in DOCKER_HOST"
    try:
        context = ContextAPI.get_current_context()
    except Exception as error:  # a bare one, where its file is no JSON
        raise DockerUnusable(
            f"Docker's context cannot be read ({explain(error)}): {cure}"
        ) from None
    if context is None or not context.Host:
        name = get_current_context_name()
        raise DockerUnusable(f"Docker's current context, {name}, is not there any more: {cure}")
    return str(context.Host)


def missing(engine: DockerClient, images: Iterable[str]) -> list[str]:
    """Return the images that the engine does not hold."""
    return [image for image in images if not _has(engine, image)]


def pull(engine: DockerClient, image: str, on_progress: Callable[[str], None]) -> None:
    """Fetch an image from its registry.

    Args:
        engine: where to put it.
        image: its name and tag.
        on_progress: called with how far the pull is.

    Raises:
        DockerUnusable: it cannot be had.
    """
    on_progress(f"pulling {image}")
    layers: dict[str, bool] = {}
    try:
        for event in engine.api.pull(image, stream=True, decode=True):
            if "error" in event:
                raise DockerUnusable(_no_image(image, event["error"]))
            status = event.get("status")
            if status in ("Pulling fs layer", "Pull complete"):
                layers[event["id"]] = status == "Pull complete"
                on_progress(f"pulling {image}: {sum(layers.values())} of {len(layers)} layers")
    except (APIError, RequestException) as error:
        raise DockerUnusable(_no_image(image, explain(error))) from None


def explain(error: BaseException) -> str:
    """Return the engine's error, in one line."""
    text = error.explanation if isinstance(error, APIError) and error.explanation else error
    return " ".join(str(text).split())


def _no_image(image: str, reason: str) -> str:
    return (
        f"the image {image} is not here and cannot be pulled ({reason}): go online, or {_OFFLINE}"
    )


def _has(engine: DockerClient, image: str) -> bool:
    try:
        engine.images.get(image)
    except ImageNotFound:
        return False
    return True


def _explain_refusal(error: BaseException, host: str) -> str:
    causes = list(_causes(error))
    if isinstance(error, NameError | ImportError):  # docker-py's way to miss a library
        return f"{host} cannot be used from here: forward its socket, and name that in DOCKER_HOST"
    if any(isinstance(cause, PermissionError) for cause in causes):
        return (
            f"you may not use the Docker engine at {host}: add yourself to its group "
            "(sudo usermod -aG docker $USER) and log in again"
        )
    if not any(isinstance(cause, FileNotFoundError | ConnectionRefusedError) for cause in causes):
        return f"no Docker engine answers at {host} ({explain(causes[-1])}): does docker info work?"
    if shutil.which("docker") or shutil.which("dockerd"):
        return (
            f"the Docker engine is not running (nobody listens at {host}): "
            "start Docker Desktop, or: sudo systemctl start docker"
        )
    return "there is no Docker: install Docker Engine or Docker Desktop"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__
