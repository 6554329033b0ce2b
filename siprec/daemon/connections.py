"""The open connections of one of the daemon's own listeners."""

import asyncio
from collections.abc import Awaitable, Callable

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Connections:
    """Runs `converse` for every connection, at most `limit` at a time; one above that is dropped unanswered.

    An end of the connection or of its time, raised by `converse`, ends it quietly.
    """

    def __init__(self, converse: Converse, *, limit: int) -> None:
        self._converse, self._limit = converse, limit
        self._open: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end; the callback of the listener."""
        task = asyncio.current_task()
        if task is None or len(self._open) >= self._limit:
            writer.transport.abort()
            return
        self._open.add(task)
        try:
            await self._converse(reader, writer)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()  # by close(): nobody waits for more than the end of this task
        finally:
            self._open.discard(task)
            writer.close()

    async def close(self) -> None:
        """Drop every open connection."""
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
