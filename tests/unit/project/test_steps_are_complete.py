"""Every step that writes can be run twice, and every boundary has one name: by construction.

The list of steps comes from the wiring table, so that a new step is proven here or fails here.
"""

from collections import Counter
from importlib import import_module
from pkgutil import walk_packages

import pytest

from labkit import shop
from labkit.faults.points import catalogue
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.steps import Step
from labkit.runtime.wiring import failpoints_of
from labkit.shop.wiring import GROUPS, SERVICES
from labkit.stack.boundaries import HELPER, SUPERVISOR, boundaries_of
from tests.support.cases import CASES, WRITING, command_of
from tests.support.store import OpenStore

each_step = pytest.mark.parametrize("name", WRITING)


def test_every_writing_step_has_a_case() -> None:
    """Each step of the wiring that writes has a case, and no case is left over."""
    assert {name.partition("(")[0] for name in WRITING} == CASES.keys()


def test_every_step_of_the_business_is_wired() -> None:
    """A step that writes and is not in the wiring would have no failpoints: there is none."""
    modules = [
        import_module(package.name) for package in walk_packages(shop.__path__, f"{shop.__name__}.")
    ]
    values = [value for module in modules for value in vars(module).values()]
    steps = {value for value in values if isinstance(value, Step)}
    assert {step for step in steps if not step.reads} == {step for _, step, _ in WRITING.values()}


@each_step
def test_a_second_run_changes_nothing(open_store: OpenStore, name: str) -> None:
    """Run twice with the same command, at another time, a step changes no row of any table the
    second time, outbox included, and gives the same answer; and the first run did change some."""
    service, step, _ = WRITING[name]
    store = open_store(service)
    command = command_of(name, store)
    before = store.everything()

    first = store.run(step, command)
    after_once = store.everything()
    store.wait(1)
    second = store.run(step, command)

    assert after_once != before, "the case proves nothing: the step did not apply"
    assert store.everything() == after_once
    if service == "pay" and step.name.startswith("claim_"):
        assert (bool(first), bool(second)) == (True, False), "who comes second has nothing to do"
    elif first is not None:
        assert second.model_dump() == first.model_dump()


@each_step
def test_a_step_that_fails_at_its_end_leaves_nothing(open_store: OpenStore, name: str) -> None:
    """Whatever a step did is undone together when its transaction fails, and it can run again."""
    service, step, _ = WRITING[name]
    store = open_store(service)
    command = command_of(name, store)
    before = store.everything()

    def run_and_fail(*args: object) -> None:
        step(*args)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.run(Step(run_and_fail, step.name), command)

    assert store.everything() == before
    store.run(step, command)
    assert store.everything() != before


def test_every_failpoint_has_a_name_of_its_own() -> None:
    """No two boundaries share a name: arming one never arms another."""
    services = (*SERVICES.values(), PLATFORM)
    every = [point.name for service in services for point in failpoints_of(service)]
    every += [point.name for name in (SUPERVISOR, HELPER) for point in boundaries_of(name)]
    assert [name for name, times in Counter(every).items() if times > 1] == []
    assert set(every) == catalogue().keys()


def test_every_topic_has_its_groups() -> None:
    """An event that a service emits is in the wiring, and each of its groups handles it."""
    emitted = {topic for service in SERVICES.values() for topic in service.topics()}
    assert emitted <= GROUPS.keys()
    handled = {
        (event.topic, service.name) for service in SERVICES.values() for event in service.handlers
    }
    assert {(topic, group) for topic, groups in GROUPS.items() for group in groups} == handled
