-- What the ways in and out over Kafka remember: how far they came, and which messages were refused.
--
-- 1. How far a partition was read stands in the same transaction as what came of its messages.
-- 2. A claim fences: who takes a partition raises it, and whoever read under an earlier one writes nothing more.
-- 3. A refused message is kept as it came, numbered without gaps in the order of refusal: the journal's head is held when it is.
-- 4. How far was published is written after the broker has acknowledged it. It falls only when all is published again: into
--    another topic, as an operator has told the outlet, or because the administrator sets it back.
-- 5. Which topic that was, and by how many partitions its keys are shared out, is written before anything is published so.

-- The grants on these two are among what is guarded.
DO $release$ BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        DELETE FROM guarded WHERE table_name IN ('event', 'head');
    END IF;
END $release$;

SET LOCAL ROLE ledger_owner;

CREATE TABLE intake_offset (
    topic text COLLATE "C" NOT NULL CHECK (char_length(topic) BETWEEN 1 AND 249),
    topic_id text COLLATE "C" NOT NULL CHECK (char_length(topic_id) BETWEEN 1 AND 64),
    partition integer NOT NULL CHECK (partition >= 0),
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    end_offset bigint NOT NULL CHECK (end_offset >= 0),
    claim bigint NOT NULL CHECK (claim >= 1),
    member text COLLATE "C" NOT NULL CHECK (char_length(member) BETWEEN 1 AND 128),
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (topic, topic_id, partition)
);

COMMENT ON TABLE intake_offset IS 'How far the intake has come in each partition; the offsets in Kafka itself do not count.';
COMMENT ON COLUMN intake_offset.topic IS 'The topic of commands.';
COMMENT ON COLUMN intake_offset.topic_id IS 'The id that the broker gave the topic: one made anew under its name begins anew.';
COMMENT ON COLUMN intake_offset.partition IS 'The partition, from 0.';
COMMENT ON COLUMN intake_offset.next_offset IS 'The offset read next: what came of all before it is recorded.';
COMMENT ON COLUMN intake_offset.end_offset IS 'Where the partition ended when it was last looked at.';
COMMENT ON COLUMN intake_offset.claim IS 'Fencing token: raised by each intake that takes the partition.';
COMMENT ON COLUMN intake_offset.member IS 'Which intake took it.';
COMMENT ON COLUMN intake_offset.seen_at IS 'Database clock when this row was last written.';

CREATE TABLE refused_message (
    number bigint PRIMARY KEY CHECK (number >= 1),
    topic text COLLATE "C" NOT NULL,
    topic_id text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    message_offset bigint NOT NULL,
    item integer CHECK (item >= 0),
    produced_at timestamptz,
    key bytea,
    value bytea,
    signature bytea,
    command_id text COLLATE "C",
    code text COLLATE "C" NOT NULL CHECK (char_length(code) BETWEEN 1 AND 64),
    sentence text COLLATE "C" NOT NULL,
    detail jsonb NOT NULL CHECK (jsonb_typeof(detail) = 'object'),
    refused_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE NULLS NOT DISTINCT (topic, topic_id, partition, message_offset, item)
);

COMMENT ON TABLE refused_message IS 'Messages that could not be read, and commands of messages that were refused, as they came. Append-only.';
COMMENT ON COLUMN refused_message.number IS '1, 2, 3 and so on: the order in which they are published.';
COMMENT ON COLUMN refused_message.topic IS 'Where it came from.';
COMMENT ON COLUMN refused_message.topic_id IS 'The id that the broker gave that topic.';
COMMENT ON COLUMN refused_message.partition IS 'Its partition.';
COMMENT ON COLUMN refused_message.message_offset IS 'Its offset.';
COMMENT ON COLUMN refused_message.item IS 'Which command of a list, from 0; NULL for the message as a whole.';
COMMENT ON COLUMN refused_message.produced_at IS 'The timestamp of the message.';
COMMENT ON COLUMN refused_message.key IS 'The key of the message, byte for byte.';
COMMENT ON COLUMN refused_message.value IS 'The value of the message, or of a list the one command, byte for byte.';
COMMENT ON COLUMN refused_message.signature IS 'The signature that the message carried, byte for byte.';
COMMENT ON COLUMN refused_message.command_id IS 'Id of the command, where one could be read.';
COMMENT ON COLUMN refused_message.code IS 'Why: the stable code.';
COMMENT ON COLUMN refused_message.sentence IS 'Why, in a sentence that says what to do.';
COMMENT ON COLUMN refused_message.detail IS 'What was compared.';
COMMENT ON COLUMN refused_message.refused_at IS 'Database clock when it was recorded.';

CREATE INDEX ON refused_message (code);

CREATE TRIGGER refuse_change
BEFORE UPDATE OR DELETE ON refused_message
FOR EACH ROW
EXECUTE FUNCTION refuse_change();

CREATE TRIGGER refuse_truncate
BEFORE TRUNCATE ON refused_message
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change();

ALTER TABLE refused_message
    ENABLE ALWAYS TRIGGER refuse_change,
    ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TABLE outlet_position (
    stream text COLLATE "C" PRIMARY KEY CHECK (stream IN ('events', 'refusals')),
    position bigint NOT NULL CHECK (position >= 0),
    published_at timestamptz NOT NULL,
    topic_id text COLLATE "C" CHECK (char_length(topic_id) BETWEEN 1 AND 64),
    partitions integer CHECK (partitions >= 1),
    earlier_partitions integer CHECK (earlier_partitions BETWEEN 1 AND partitions - 1),
    earlier_until bigint CHECK (earlier_until >= 0),
    CHECK ((topic_id IS NULL) = (partitions IS NULL)),
    CHECK ((earlier_partitions IS NULL) = (earlier_until IS NULL))
);

COMMENT ON TABLE outlet_position IS 'How far the outlet has published: facts by position, refused messages by number.';
COMMENT ON COLUMN outlet_position.stream IS 'What is published: events or refusals.';
COMMENT ON COLUMN outlet_position.position IS 'Position or number of the last that the broker has acknowledged; 0 before the first.';
COMMENT ON COLUMN outlet_position.published_at IS 'Database clock when that was written.';
COMMENT ON COLUMN outlet_position.topic_id IS 'The id that the broker gave the topic; NULL before the first.';
COMMENT ON COLUMN outlet_position.partitions IS 'By how many partitions keys are shared out, above earlier_until.';
COMMENT ON COLUMN outlet_position.earlier_partitions IS 'By how many, up to earlier_until; NULL where none were added.';
COMMENT ON COLUMN outlet_position.earlier_until IS 'The last that may have arrived by the earlier number; never falls in a topic.';

INSERT INTO outlet_position (stream, position, published_at)
VALUES ('events', 0, clock_timestamp()), ('refusals', 0, clock_timestamp());

SET LOCAL ROLE NONE;

DO $outlet$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledger_outlet') THEN
        BEGIN
            CREATE ROLE ledger_outlet LOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL;  -- Created by another database's migration between the look and the deed.
        END;
    END IF;

    EXECUTE format('GRANT CONNECT ON DATABASE %I TO ledger_outlet', current_database());
END
$outlet$;

GRANT USAGE ON SCHEMA public TO ledger_outlet;

SET LOCAL ROLE ledger_owner;

REVOKE INSERT ON refused_message FROM ledger_owner;
GRANT SELECT, INSERT, UPDATE ON intake_offset TO ledger_app;
GRANT SELECT ON refused_message, outlet_position TO ledger_app;
GRANT INSERT (
    number, topic, topic_id, partition, message_offset, item, produced_at, key, value, signature, command_id, code, sentence, detail
) ON refused_message TO ledger_app;
GRANT SELECT ON migration, head, refused_message, outlet_position TO ledger_outlet;
GRANT SELECT ON event TO ledger_outlet;
GRANT UPDATE (position, published_at, topic_id, partitions, earlier_partitions, earlier_until) ON outlet_position TO ledger_outlet;
GRANT SELECT ON intake_offset, refused_message, outlet_position TO ledger_auditor;
GRANT SELECT ON intake_offset, outlet_position TO ledger_reader;

SET LOCAL ROLE NONE;

DO $protect$ BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        INSERT INTO guarded SELECT table_name, item FROM standing_guards(ARRAY['event', 'head', 'refused_message']);
    END IF;
END $protect$;
