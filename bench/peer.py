"""The peers: the eventsourcing library's own PostgreSQL recorders, given the same events in the same batches.

They check nothing and remember nothing: the DCB recorder appends unconditionally, the stream recorder one stream an account.
"""

import uuid
from collections import defaultdict
from collections.abc import Sequence

from eventsourcing.dcb.api import DCBEvent
from eventsourcing.dcb.postgres_tt import PostgresDCBRecorderTT
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresAggregateRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

NAMESPACE = uuid.UUID(int=1)


class Peers:
    """Both recorders on one database of their own."""

    def __init__(self, url: str) -> None:
        """Create the library's tables."""
        parts = conninfo_to_dict(url)
        self.datastore = PostgresDatastore(
            dbname=str(parts["dbname"]),
            host=str(parts["host"]),
            port=str(parts.get("port", 5432)),
            user=str(parts["user"]),
            password="",
        )
        self.dcb = PostgresDCBRecorderTT(self.datastore)
        self.dcb.create_table()
        self.streams = PostgresAggregateRecorder(self.datastore)
        self.streams.create_table()
        self._versions: dict[uuid.UUID, int] = defaultdict(int)

    def stored(self, events: Sequence[DCBEvent]) -> list[StoredEvent]:
        """The same events as the stream recorder takes them: one stream an account, versions without a gap."""
        found: list[StoredEvent] = []
        for event in events:
            stream = uuid.uuid5(NAMESPACE, event.tags[0])
            self._versions[stream] += 1
            found.append(
                StoredEvent(
                    originator_id=stream,
                    originator_version=self._versions[stream],
                    topic=event.type,
                    state=event.data,
                )
            )
        return found

    def close(self) -> None:
        """Close the library's connections."""
        self.datastore.close()
