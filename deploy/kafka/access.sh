#!/bin/sh
# Who may log in to Kafka, and what each may do there: run once at every start, and again when a password was renewed.
#
# 1. Each user has the password that stands in its own secret file, kafka_NAME: the same file that its client logs in with.
# 2. The intake alone reads commands. Only the outlet writes facts and refusals. A source may write commands, and nothing else.
# 3. What is not allowed here is denied, but to the broker's own user.
set -eu

BIN="${KAFKA_BIN:-/opt/kafka/bin}"
SECRETS="${SECRETS:-/run/secrets}"
SERVER="${KAFKA_SERVER:-kafka:9094}"
ADMIN="${ADMIN_PROPERTIES:-/etc/kafka/ledger/admin.properties}"
COMMANDS="${LEDGER_COMMANDS_TOPIC:-pension.commands}"
EVENTS="${LEDGER_EVENTS_TOPIC:-pension.events}"
REFUSALS="${LEDGER_REFUSALS_TOPIC:-pension.refusals}"
GROUP="${LEDGER_INTAKE_GROUP:-pension-ledger-intake}"

password() {
    sed 's|^.*"sasl_plain_password": *"\([^"]*\)".*$|\1|' "$SECRETS/kafka_$1"
}

user() {
    # Through a file, because a process list shows arguments.
    (umask 077 && printf 'SCRAM-SHA-512=password=%s\n' "$(password "$1")" > "/tmp/kafka_$1")
    "$BIN/kafka-configs.sh" --bootstrap-server "$SERVER" --command-config "$ADMIN" \
        --alter --entity-type users --entity-name "$1" --add-config-file "/tmp/kafka_$1"
    rm "/tmp/kafka_$1"
}

allow() {
    name="$1"
    shift
    "$BIN/kafka-acls.sh" --bootstrap-server "$SERVER" --command-config "$ADMIN" \
        --add --force --allow-principal "User:$name" "$@"
}

for name in topics intake outlet source follower; do
    user "$name"
done

allow topics --operation Create --operation Describe --topic "$COMMANDS" --topic "$EVENTS" --topic "$REFUSALS"
allow intake --operation Read --operation Describe --topic "$COMMANDS"
allow intake --operation Read --group "$GROUP"
allow outlet --operation Write --operation Describe --topic "$EVENTS" --topic "$REFUSALS"
allow source --operation Write --operation Describe --topic "$COMMANDS"
# Refusals hold what was sent, so that a source may not read those of another.
allow follower --operation Read --operation Describe --topic "$EVENTS"
allow follower --operation Read --group follower- --resource-pattern-type prefixed
echo "Kafka knows its users and what each may do."
