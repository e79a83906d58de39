"""The texts of statements that are built once, in both dialects: MySQL's without a server."""

import importlib
import pkgutil
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.dialects.mysql import pymysql

import labkit.runtime
import labkit.shop
from labkit.runtime.db.statements import Statement, insertion
from labkit.shop.tables import TABLES
from tests.support.parcels import BUILT, VALUES, core


class Recorder:
    """A driver's cursor that only notes what it is told."""

    rowcount = 0

    def execute(self, text: str, parameters: Any) -> None:
        """Note it."""
        self.text, self.parameters = text, parameters

    def fetchall(self) -> list[Any]:
        """Find nothing."""
        return []


def of_mysql() -> Any:
    """The dialect, with no more of a driver than it asks for."""
    return pymysql.dialect(dbapi=SimpleNamespace(Error=Exception, paramstyle="format"))


@pytest.mark.parametrize("build", VALUES, ids=lambda build: build.__name__)
@given(data=st.data())
def test_mysql_is_told_the_same(build: Any, data: st.DataObject) -> None:
    """The text, and the values in their places, are what SQLAlchemy would hand to the driver."""
    values = data.draw(st.fixed_dictionaries(VALUES[build]))
    dialect, recorder = of_mysql(), Recorder()
    BUILT[build].on(dialect).execute(recorder, values)
    expected = core(build, values).compile(dialect=dialect)
    assert recorder.text == str(expected)
    assert recorder.parameters == [expected.params[name] for name in expected.positiontup]


def of_the_project() -> dict[str, Statement[Any]]:
    """Every statement of the package that is built once."""
    built = {}
    for package in (labkit.shop, labkit.runtime):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Statement):
                    built[f"{module.name}.{name}"] = value
    return built


@pytest.mark.parametrize("name", of_the_project())
def test_every_statement_of_the_project_can_be_built(name: str) -> None:
    """In both dialects, with a place for each of its values: no list is in it, whose length would
    be fixed when it is built."""
    for dialect in (of_mysql(), create_engine("sqlite://").dialect):
        recorder = Recorder()
        of_the_project()[name].on(dialect).execute(recorder, AnyValue())
        assert "POSTCOMPILE" not in recorder.text
        assert recorder.text.count("%s" if dialect.name == "mysql" else "?") == len(
            recorder.parameters
        )


class AnyValue(dict[str, Any]):
    """A value for each name."""

    def __missing__(self, _name: str) -> None:
        return None


EVERY = {table.name: table for tables in TABLES.values() for table in tables}


@pytest.mark.parametrize("table", sorted(EVERY))
def test_every_table_can_be_filled_in_both_dialects(table: str) -> None:
    """An insert gives each column its value; once too, where there is a key to tell by."""
    table_ = EVERY[table]
    for dialect in (of_mysql(), create_engine("sqlite://").dialect):
        for once in {(), tuple(table_.primary_key)}:
            recorder = Recorder()
            insertion(table_, tuple(table_.c.keys()), dialect, once).execute(recorder, AnyValue())
            assert len(recorder.parameters) == len(table_.c)
