#!/bin/sh
# Makes the secret files that docker-compose.yml names: each password is new, and what is there already stays as it is.
#
# The folder is its owner's alone. The files in it may be read by everybody, because a container's user is another one than its
# owner, and Compose cannot give a file that it mounts to somebody else.
#
# To renew a password, remove its file, run this again, and then `docker compose up --detach --force-recreate`.
set -eu

FOLDER="${1:-$(dirname "$0")/../secrets}"

password() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

keep() {
    if [ -e "$FOLDER/$1" ]; then
        return
    fi
    # Whole or not at all, and without an end of line, which Kafka would take for a part of it.
    printf '%s' "$2" > "$FOLDER/$1.new"
    chmod 444 "$FOLDER/$1.new"
    mv "$FOLDER/$1.new" "$FOLDER/$1"
    echo "made $FOLDER/$1"
}

mkdir -p "$FOLDER"
chmod 700 "$FOLDER"

keep postgres_password "$(password)"
keep administrator_url "postgresql://postgres:$(cat "$FOLDER/postgres_password")@database/ledger"
for role in app notary outlet auditor reader; do
    keep "${role}_url" "postgresql://ledger_$role:$(password)@database/ledger"
done

keep kafka_broker "$(password)"
for user in topics intake outlet source follower; do
    keep "kafka_$user" "{\"security_protocol\": \"SASL_PLAINTEXT\", \"sasl_mechanism\": \"SCRAM-SHA-512\", \
\"sasl_plain_username\": \"$user\", \"sasl_plain_password\": \"$(password)\"}"
done
