"""Alembic's environment: `env.py` and one module in `versions` for each change of the schema."""
