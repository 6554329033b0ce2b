"""Run by Alembic; the connection, in a transaction, comes from `siprec.storage.catalog.upgrade`."""

from alembic import context

from siprec.storage.catalog.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
