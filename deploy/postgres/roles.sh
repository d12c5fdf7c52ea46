#!/bin/sh
# Gives the roles that log in their passwords: before the migrations, which make roles without any, and again at every start.
#
# 1. Each role has the password that stands in the address of its own secret file, ROLE_url; nothing else of it is changed.
# 2. No password stands in an argument, where a process list would show it.
set -eu

SECRETS="${SECRETS:-/run/secrets}"

PGPASSWORD="$(cat "$SECRETS/postgres_password")"
export PGPASSWORD

for role in app notary outlet auditor reader; do
    ROLE_PASSWORD="$(sed 's|^postgresql://[^:/@]*:\([^@]*\)@.*$|\1|' "$SECRETS/${role}_url")"
    export ROLE_PASSWORD
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=role="ledger_$role" <<'SQL'
\getenv password ROLE_PASSWORD
-- Logged nowhere, also where the server logs statements or the statement fails.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec
ALTER ROLE :"role" PASSWORD :'password';
SQL
done
echo "The roles have their passwords."
