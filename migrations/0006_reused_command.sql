-- Command ids that came again with other content: refused, and kept, because nothing received is lost.

SET LOCAL ROLE ledger_owner;

CREATE TABLE reused_command (
    command_id text COLLATE "C" NOT NULL REFERENCES command (command_id),
    digest bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (command_id, digest)
);

COMMENT ON TABLE reused_command IS 'Every other content that came under the id of an earlier command; it was refused.';
COMMENT ON COLUMN reused_command.command_id IS 'The id, which stands in command with its first content.';
COMMENT ON COLUMN reused_command.digest IS 'SHA-256 of the other content.';
COMMENT ON COLUMN reused_command.received_at IS 'Database clock when the other content first came.';

CREATE TRIGGER refuse_change
BEFORE UPDATE OR DELETE ON reused_command
FOR EACH ROW
EXECUTE FUNCTION refuse_change();

CREATE TRIGGER refuse_truncate
BEFORE TRUNCATE ON reused_command
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change();

ALTER TABLE reused_command
    ENABLE ALWAYS TRIGGER refuse_change,
    ENABLE ALWAYS TRIGGER refuse_truncate;

GRANT SELECT, INSERT ON reused_command TO ledger_app;
