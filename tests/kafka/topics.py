"""Topics under names of their own, so that tests on one broker never meet."""

import uuid
from typing import NamedTuple

from kafka.admin import KafkaAdminClient, NewTopic

from tests.brokers import Broker

COMMANDS_PARTITIONS = EVENTS_PARTITIONS = 4
REFUSALS_PARTITIONS = 1


class Topics(NamedTuple):
    """The three topics of one ledger, and the consumer group of its intakes."""

    commands: str
    events: str
    refusals: str
    group: str

    def settings(self, broker: Broker) -> dict[str, str]:
        """As variables of the environment."""
        return {
            "LEDGER_COMMANDS_TOPIC": self.commands,
            "LEDGER_EVENTS_TOPIC": self.events,
            "LEDGER_INTAKE_GROUP": self.group,
            "LEDGER_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
            "LEDGER_REFUSALS_TOPIC": self.refusals,
        }


def make_topics(broker: Broker) -> Topics:
    """Make them anew."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    made = Topics(f"{name}.commands", f"{name}.events", f"{name}.refusals", f"{name}.intake")
    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap.split(","))
    try:
        client.create_topics(
            [
                NewTopic(made.commands, COMMANDS_PARTITIONS, 1),
                NewTopic(made.events, EVENTS_PARTITIONS, 1),
                NewTopic(made.refusals, REFUSALS_PARTITIONS, 1),
            ]
        )
    finally:
        client.close()
    return made
