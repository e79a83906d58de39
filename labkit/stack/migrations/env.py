"""The environment in which Alembic runs the revisions of one service's database."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    transaction_per_migration=True,
    # SQLite undoes the half of a revision that was killed; MySQL commits each statement by itself
    transactional_ddl=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
