"""One door to Kafka: how its clients connect and log in, and which topics there are.

1. How to log in comes from one file, which others may not read; a member that is no security option is refused.
2. A topic is made as this module says or found as it is: nothing here changes one.
3. Topics are never made by using them.
"""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from kafka import errors
from kafka.admin import KafkaAdminClient, NewTopic

from ledger.settings import Settings, is_secret_file

OPTION_PREFIXES = ("security_protocol", "ssl_", "sasl_")
MAX_OPTIONS_BYTES = 64 * 1024
OTHERS_MAY_READ = stat.S_IRWXG | stat.S_IRWXO
CLIENT_ID = "pension-ledger"
ANSWER_WAIT_MS = 10_000

# The largest message that sources may send, and room for it with its reasons among the refusals.
MAX_COMMANDS_MESSAGE_BYTES = 1024 * 1024
MAX_REFUSALS_MESSAGE_BYTES = 2 * MAX_COMMANDS_MESSAGE_BYTES
KEPT_FOR_EVER = "-1"
WEEK_MS = 7 * 24 * 3600 * 1000
# Commands wait in the topic while the ledger is away: longer than any outage that is planned for.
COMMANDS_KEPT_MS = 4 * WEEK_MS
REFUSALS_KEPT_MS = 26 * WEEK_MS


class BrokerUnavailable(RuntimeError):
    """Kafka does not answer. Check LEDGER_KAFKA_BOOTSTRAP_SERVERS and LEDGER_KAFKA_OPTIONS, and whether the brokers run."""


class OptionsUnusable(ValueError):
    """The file of LEDGER_KAFKA_OPTIONS cannot be used: it must be a JSON object of kafka-python's security options."""


class OptionsExposed(PermissionError):
    """Others may read the file of LEDGER_KAFKA_OPTIONS, which holds secrets; take their rights away and change the secrets."""


class NotAuthorized(RuntimeError):
    """Kafka does not allow this; log in as a user who may, with LEDGER_KAFKA_OPTIONS, or have the right given."""


class TooFewBrokers(RuntimeError):
    """There are fewer brokers than replicas asked for; ask for fewer with --replicas, or let more brokers join."""


class TopicMissing(RuntimeError):
    """A topic is missing; make it with `ledger topics`, or name another in the settings."""


class Topic(NamedTuple):
    """A topic as the broker has it. `topic_id` is another one when it was made anew under its name."""

    name: str
    topic_id: str
    partitions: int


def client_options(settings: Settings) -> dict[str, Any]:
    """What every client is given: where the brokers are and how to log in. Raises OptionsUnusable, OptionsExposed."""
    options = {} if settings.kafka_options is None else _read_options(settings.kafka_options)
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers.split(","),
        "client_id": CLIENT_ID,
        **options,
    }


def _read_options(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_mode & OTHERS_MAY_READ and not is_secret_file(path):
            raise OptionsExposed(f"{path}: {OptionsExposed.__doc__}")
        with path.open("rb") as file:
            options = msgspec.json.decode(file.read(MAX_OPTIONS_BYTES), type=dict[str, str | int | bool | None])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        if isinstance(error, OptionsExposed):
            raise
        raise OptionsUnusable(f"{path}: {OptionsUnusable.__doc__}") from error
    unknown = sorted(name for name in options if not name.startswith(OPTION_PREFIXES))
    if unknown:
        raise OptionsUnusable(f"{path}: {', '.join(unknown)[:200]} is no such option. {OptionsUnusable.__doc__}")
    return options


def administration(settings: Settings) -> KafkaAdminClient:
    """A client that asks about topics; the caller closes it. Raises BrokerUnavailable."""
    options = client_options(settings)
    try:
        return KafkaAdminClient(**options, request_timeout_ms=ANSWER_WAIT_MS, bootstrap_timeout_ms=ANSWER_WAIT_MS)
    except errors.KafkaConfigurationError as error:
        raise OptionsUnusable(f"{error}. {OptionsUnusable.__doc__}") from error
    except (errors.KafkaError, OSError) as error:
        raise BrokerUnavailable(f"{error}. {BrokerUnavailable.__doc__}") from error


def topics(settings: Settings, names: list[str]) -> dict[str, Topic]:
    """Those of the topics that there are, by name. Raises BrokerUnavailable."""
    client = administration(settings)
    try:
        described = client.describe_topics(names)
    except (errors.KafkaError, OSError) as error:
        raise BrokerUnavailable(f"{error}. {BrokerUnavailable.__doc__}") from error
    finally:
        client.close()
    return {
        each["name"]: Topic(each["name"], str(each["topic_id"]), len(each["partitions"]))
        for each in described
        if each["error_code"] == 0
    }


def required_topic(settings: Settings, name: str) -> Topic:
    """One topic. Raises TopicMissing, BrokerUnavailable."""
    found = topics(settings, [name]).get(name)
    if found is None:
        raise TopicMissing(f"{name}: {TopicMissing.__doc__}")
    return found


def make_topics(settings: Settings, *, partitions: int, replicas: int) -> list[str]:
    """Make those of the ledger's topics that are missing; the names of what was made. Raises BrokerUnavailable.

    Partitions bound how many intakes work at once. Adding some later moves keys to other partitions: what a key had sent
    before may then be read after what it sends next, unless all that was sent is read first.
    """
    names = [settings.commands_topic, settings.events_topic, settings.refusals_topic]
    there = topics(settings, names)
    # Two replicas must hold a message before it is acknowledged, where there are three.
    durable = {
        # Were older messages of a key removed, followers would take what is left for all.
        "cleanup.policy": "delete",
        "min.insync.replicas": str(max(1, replicas - 1)),
        "unclean.leader.election.enable": "false",
    }
    configurations = {
        settings.commands_topic: {
            "retention.ms": str(COMMANDS_KEPT_MS),
            "max.message.bytes": str(MAX_COMMANDS_MESSAGE_BYTES),
        },
        settings.events_topic: {"retention.ms": KEPT_FOR_EVER, "max.message.bytes": str(MAX_REFUSALS_MESSAGE_BYTES)},
        settings.refusals_topic: {
            "retention.ms": str(REFUSALS_KEPT_MS),
            "max.message.bytes": str(MAX_REFUSALS_MESSAGE_BYTES),
        },
    }
    missing = [name for name in names if name not in there]
    if not missing:
        return []
    client = administration(settings)
    try:
        client.create_topics(
            [NewTopic(name, partitions, replicas, topic_configs=configurations[name] | durable) for name in missing]
        )
    except errors.TopicAlreadyExistsError:
        pass  # Somebody else made it at the same moment.
    except (errors.AuthorizationError, errors.SaslAuthenticationFailedError) as error:
        raise NotAuthorized(f"{error}. {NotAuthorized.__doc__}") from error
    except errors.InvalidReplicationFactorError as error:
        raise TooFewBrokers(f"{replicas} replicas: {TooFewBrokers.__doc__}") from error
    except (errors.KafkaError, OSError) as error:
        raise BrokerUnavailable(f"{error}. {BrokerUnavailable.__doc__}") from error
    finally:
        client.close()
    return missing
