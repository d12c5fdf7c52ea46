-- Who read what: one record for every reading of a person's data over the API.
--
-- 1. The application inserts, and nobody changes or removes.
-- 2. The time is the database's own: the application may not write that column.
-- 3. Records are not numbered and wait for nobody: readings go on beside each other, and beside the journal.

SET LOCAL ROLE ledger_owner;

CREATE TABLE access_record (
    access_id uuid PRIMARY KEY,
    accessed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text COLLATE "C" NOT NULL CHECK (char_length(actor) BETWEEN 1 AND 128),
    token_id text COLLATE "C" NOT NULL CHECK (char_length(token_id) BETWEEN 1 AND 128),
    action text COLLATE "C" NOT NULL CHECK (char_length(action) BETWEEN 1 AND 64),
    subject text COLLATE "C" NOT NULL CHECK (char_length(subject) BETWEEN 1 AND 256),
    question jsonb NOT NULL CHECK (jsonb_typeof(question) = 'object'),
    purpose text COLLATE "C" NOT NULL CHECK (char_length(purpose) BETWEEN 1 AND 64),
    status smallint NOT NULL CHECK (status BETWEEN 200 AND 599),
    CONSTRAINT access_record_has_no_control_characters CHECK (
        actor || token_id || action || subject || purpose !~ '[\u0001-\u001f\u007f-\u009f]'
    )
);

COMMENT ON TABLE access_record IS 'Who read what about whom, when, what for, and what was answered. Append-only.';
COMMENT ON COLUMN access_record.access_id IS 'Random id, given by the application.';
COMMENT ON COLUMN access_record.accessed_at IS 'Database clock when it was recorded, which is before the answer left.';
COMMENT ON COLUMN access_record.actor IS 'Who read: the subject of the token.';
COMMENT ON COLUMN access_record.token_id IS 'Id of the token (jti).';
COMMENT ON COLUMN access_record.action IS 'What was read: the stable name of the reading.';
COMMENT ON COLUMN access_record.subject IS 'About whom: person or account as asked, positions of the event feed, * for all.';
COMMENT ON COLUMN access_record.question IS 'The other parameters, as asked.';
COMMENT ON COLUMN access_record.purpose IS 'What for, as the caller declared it.';
COMMENT ON COLUMN access_record.status IS 'The HTTP status that was answered.';

CREATE INDEX ON access_record (accessed_at, access_id);
CREATE INDEX ON access_record (subject, accessed_at, access_id);
CREATE INDEX ON access_record (actor, accessed_at, access_id);

CREATE TRIGGER refuse_change
BEFORE UPDATE OR DELETE ON access_record
FOR EACH ROW
EXECUTE FUNCTION refuse_change();

CREATE TRIGGER refuse_truncate
BEFORE TRUNCATE ON access_record
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change();

ALTER TABLE access_record
    ENABLE ALWAYS TRIGGER refuse_change,
    ENABLE ALWAYS TRIGGER refuse_truncate;

GRANT SELECT ON access_record TO ledger_app, ledger_auditor;
GRANT INSERT (access_id, actor, token_id, action, subject, question, purpose, status) ON access_record TO ledger_app;
