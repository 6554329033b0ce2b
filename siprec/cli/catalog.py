"""The catalogue as commands read it."""

import datetime
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager

from siprec.cli.errors import CommandError
from siprec.config import Config
from siprec.storage.catalog import Catalog, CatalogError, Cursor, Filter
from siprec.storage.model import Recording

SHORTEST_ID = 8
"Fewer digits of a UUIDv7 than this do not say the minute a recording was made in."
PAGE = 500

_DIGITS = 12
"Hexadecimal digits of the milliseconds in front of a UUIDv7, RFC 9562 5.7."
_SLACK = datetime.timedelta(hours=1)
"How far the start of a recording may be from the time in its id."


@contextmanager
def reading(config: Config) -> Iterator[Catalog]:
    """The catalogue of a configuration, with its faults as CommandError."""
    embedded = config.storage.path / "catalog.db"
    if config.catalog.url is None and not embedded.exists():
        raise CommandError(f"no catalogue at {embedded}; check storage.path, or start the recorder once")
    try:
        with closing(Catalog(config.catalog_url)) as catalog:
            yield catalog
    except CatalogError as error:
        raise CommandError(
            f"cannot read the catalogue: {error}; check catalog.url and the log of the recorder"
        ) from None


def find(catalog: Catalog, written: str) -> Recording:
    """The recording with this id, or the only one whose id begins like this. Raises CommandError."""
    wanted = written.lower()
    if (exact := catalog.recording(wanted)) is not None:
        return exact
    if len(wanted) < SHORTEST_ID or not re.fullmatch(r"[0-9a-f-]{1,36}", wanted):
        raise CommandError(
            f"no recording {written!r}; give an id of `siprec ls`, or its first {SHORTEST_ID} digits or more"
        )
    found = list(_beginning(catalog, wanted))
    if not found:
        raise CommandError(f"no recording {written!r}; see `siprec ls` for the ids")
    if len(found) > 1:
        raise CommandError(
            f"{written!r} is the beginning of {len(found)} ids; give more of it, such as {found[0].id}"
        )
    return found[0]


def _beginning(catalog: Catalog, prefix: str) -> Iterator[Recording]:
    """Recordings whose id begins so, looked for around the time that the beginning of an id says."""
    digits = prefix.replace("-", "")[:_DIGITS]
    since = _moment(digits.ljust(_DIGITS, "0")) - _SLACK
    until = _moment(digits.ljust(_DIGITS, "f")) + _SLACK
    after: Cursor | None = None
    while page := catalog.recordings(Filter(since=since, until=until), limit=PAGE, after=after):
        yield from (one for one in page if one.id.startswith(prefix))
        after = Cursor.of(page[-1])


def _moment(digits: str) -> datetime.datetime:
    milliseconds = min(int(digits, 16), 253_370_000_000_000)  # the year 9999, where datetime ends
    return datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(milliseconds=milliseconds)
