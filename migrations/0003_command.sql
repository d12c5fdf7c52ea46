-- Commands: what was received, once each, and what came of it.
--
-- 1. Every command ever received has exactly one row, accepted or refused.
-- 2. A row is never changed or removed.

SET LOCAL ROLE ledger_owner;

CREATE TABLE command (
    command_id text COLLATE "C" PRIMARY KEY CHECK (char_length(command_id) BETWEEN 1 AND 128),
    digest bytea NOT NULL,
    first_position bigint,
    last_position bigint,
    refusal jsonb,
    received_at timestamptz NOT NULL,
    CONSTRAINT command_positions_are_a_range CHECK (
        (first_position IS NULL AND last_position IS NULL)
        OR (first_position IS NOT NULL AND last_position IS NOT NULL AND first_position <= last_position)
    ),
    CONSTRAINT command_refused_records_nothing CHECK (refusal IS NULL OR first_position IS NULL)
);

COMMENT ON TABLE command IS 'Every command ever received, once: the receipt or the refusal it got.';
COMMENT ON COLUMN command.command_id IS 'The idempotency key that the sender chose.';
COMMENT ON COLUMN command.digest IS 'SHA-256 of the content, to tell a repetition from a reused id.';
COMMENT ON COLUMN command.first_position IS 'Position of the first fact of the command, if it recorded any.';
COMMENT ON COLUMN command.last_position IS 'Position of the last fact of the command, if it recorded any.';
COMMENT ON COLUMN command.refusal IS 'Code, sentence and detail of the refusal, if it was refused.';
COMMENT ON COLUMN command.received_at IS 'Database clock of the transaction that settled the command.';

CREATE TRIGGER refuse_change
BEFORE UPDATE OR DELETE ON command
FOR EACH ROW
EXECUTE FUNCTION refuse_change();

CREATE TRIGGER refuse_truncate
BEFORE TRUNCATE ON command
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change();

ALTER TABLE command
    ENABLE ALWAYS TRIGGER refuse_change,
    ENABLE ALWAYS TRIGGER refuse_truncate;

GRANT SELECT, INSERT ON command TO ledger_app;
