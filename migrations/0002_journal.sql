-- The journal: one append-only log of facts with gapless positions, and the row that orders it.
--
-- 1. Positions run 1..n without a gap, and head.size is n.
-- 2. recorded_at never falls from one position to the next, and never lies in the future.
-- 3. A fact is never changed or removed, by whatever role and in whatever replication mode.
--
-- Every append first locks the head row. The guards check what a writer claims; they compute nothing.

SET LOCAL ROLE ledger_owner;

CREATE TABLE head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    size bigint NOT NULL CHECK (size >= 0),
    recorded_at timestamptz NOT NULL
);

COMMENT ON TABLE head IS 'The end of the journal: one row, locked and raised by every append.';
COMMENT ON COLUMN head.one IS 'Always true, so that there is one row only.';
COMMENT ON COLUMN head.size IS 'Number of facts, which is the position of the last one.';
COMMENT ON COLUMN head.recorded_at IS 'When the last fact was recorded; 1970 while there is none.';

INSERT INTO head (size, recorded_at)
VALUES (0, '1970-01-01T00:00:00Z');

CREATE TABLE event (
    position bigint PRIMARY KEY CHECK (position > 0),
    type text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    tags text[] COLLATE "C" NOT NULL,
    effective_on date NOT NULL,
    recorded_at timestamptz NOT NULL,
    command_id text COLLATE "C" NOT NULL CHECK (char_length(command_id) BETWEEN 1 AND 128),
    actor text COLLATE "C" NOT NULL CHECK (char_length(actor) BETWEEN 1 AND 128)
);

COMMENT ON TABLE event IS 'The facts, one a row, append-only. The only source of truth.';
COMMENT ON COLUMN event.position IS 'Place in the one order of the journal, from 1 without a gap.';
COMMENT ON COLUMN event.type IS 'Bare class name of the event; it never changes.';
COMMENT ON COLUMN event.data IS 'The event as JSON in UTF-8, byte for byte as it is hashed.';
COMMENT ON COLUMN event.tags IS 'Every entity that the fact mentions, in the order of the event.';
COMMENT ON COLUMN event.effective_on IS 'Business date in the pension calendar.';
COMMENT ON COLUMN event.recorded_at IS 'Database clock when the fact was recorded, under the head lock.';
COMMENT ON COLUMN event.command_id IS 'The command that caused the fact.';
COMMENT ON COLUMN event.actor IS 'Who sent the command.';

CREATE TABLE event_tag (
    tag text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tag, position)
);

COMMENT ON TABLE event_tag IS 'The way from an entity to its facts. Derived from event.tags.';
COMMENT ON COLUMN event_tag.tag IS 'An entity, as it stands in event.tags.';
COMMENT ON COLUMN event_tag.position IS 'Position of a fact that mentions it.';

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $body$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'insufficient_privilege',
        MESSAGE = format('%s of table %I is refused: it is append-only', TG_OP, TG_TABLE_NAME),
        TABLE = TG_TABLE_NAME;
END
$body$;

COMMENT ON FUNCTION refuse_change() IS 'Guard of append-only tables: refuses UPDATE, DELETE and TRUNCATE.';

CREATE FUNCTION check_new_facts() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $body$
DECLARE
    facts bigint;
    first_position bigint;
    last_position bigint;
    first_recorded_at timestamptz;
    last_recorded_at timestamptz;
    head_size bigint;
    previous_recorded_at timestamptz;
BEGIN
    SELECT count(*), min(n.position), max(n.position), min(n.recorded_at), max(n.recorded_at)
    INTO facts, first_position, last_position, first_recorded_at, last_recorded_at
    FROM new_facts AS n;

    IF facts = 0 THEN
        RETURN NULL;
    END IF;

    SELECT h.size
    INTO head_size
    FROM head AS h;

    IF last_position IS DISTINCT FROM head_size THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            CONSTRAINT = 'event_ends_at_head',
            MESSAGE = format('the last new fact has position %s, but the head says %s', last_position, head_size);
    END IF;

    IF last_position - first_position + 1 <> facts THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            CONSTRAINT = 'event_is_gapless',
            MESSAGE = format('%s new facts do not fill positions %s to %s', facts, first_position, last_position);
    END IF;

    IF first_position > 1 THEN
        SELECT e.recorded_at
        INTO previous_recorded_at
        FROM event AS e
        WHERE e.position = first_position - 1;

        IF NOT FOUND THEN
            RAISE EXCEPTION USING
                ERRCODE = 'check_violation',
                CONSTRAINT = 'event_is_gapless',
                MESSAGE = format('there is no fact before position %s', first_position);
        END IF;
    END IF;

    IF first_recorded_at < previous_recorded_at
        OR first_recorded_at <> last_recorded_at AND EXISTS (
            SELECT
            FROM (
                SELECT n.recorded_at, lag(n.recorded_at) OVER (ORDER BY n.position) AS earlier
                FROM new_facts AS n
            ) AS pair
            WHERE pair.recorded_at < pair.earlier
        )
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            CONSTRAINT = 'event_time_never_falls',
            MESSAGE = format('recorded_at falls in or before positions %s to %s', first_position, last_position);
    END IF;

    IF last_recorded_at > clock_timestamp() THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            CONSTRAINT = 'event_time_not_ahead',
            MESSAGE = format('recorded_at %s lies after the database clock', last_recorded_at);
    END IF;

    RETURN NULL;
END
$body$;

COMMENT ON FUNCTION check_new_facts() IS
    'Guard of the journal, once a statement: positions without a gap up to the head, time that never falls.';

CREATE TRIGGER check_new_facts
AFTER INSERT ON event
REFERENCING NEW TABLE AS new_facts
FOR EACH STATEMENT
EXECUTE FUNCTION check_new_facts();

CREATE TRIGGER refuse_change
BEFORE UPDATE OR DELETE ON event
FOR EACH ROW
EXECUTE FUNCTION refuse_change();

CREATE TRIGGER refuse_truncate
BEFORE TRUNCATE ON event
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change();

CREATE TRIGGER refuse_change
BEFORE UPDATE OR DELETE ON event_tag
FOR EACH ROW
EXECUTE FUNCTION refuse_change();

CREATE TRIGGER refuse_truncate
BEFORE TRUNCATE ON event_tag
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change();

-- ALWAYS, because session_replication_role = replica switches plain triggers off.
ALTER TABLE event
    ENABLE ALWAYS TRIGGER check_new_facts,
    ENABLE ALWAYS TRIGGER refuse_change,
    ENABLE ALWAYS TRIGGER refuse_truncate;

ALTER TABLE event_tag
    ENABLE ALWAYS TRIGGER refuse_change,
    ENABLE ALWAYS TRIGGER refuse_truncate;

GRANT SELECT, UPDATE (size, recorded_at) ON head TO ledger_app;
GRANT SELECT, INSERT ON event TO ledger_app;
GRANT SELECT, INSERT ON event_tag TO ledger_app;
