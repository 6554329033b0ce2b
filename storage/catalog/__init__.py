"""The catalogue: what was recorded, to be found again. It follows from the journal and is never waited for."""

from siprec.storage.catalog.catalog import Catalog
from siprec.storage.catalog.engine import CatalogError, CatalogRefused, CatalogUnavailable
from siprec.storage.catalog.follower import Follower, FollowerStatus
from siprec.storage.catalog.query import Cursor, Filter

__all__ = [
    "Catalog",
    "CatalogError",
    "CatalogRefused",
    "CatalogUnavailable",
    "Cursor",
    "Filter",
    "Follower",
    "FollowerStatus",
]
