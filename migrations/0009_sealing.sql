-- Seals: the Merkle tree over the journal (RFC 6962) in tiles, and the notary's signed checkpoints.
--
-- 1. The notary alone inserts; nobody changes or removes.
-- 2. A tile is full: 256 hashes. What is not full yet is computed from the facts and from the roots of full tiles.
-- 3. For each size there is at most one checkpoint, and so at most one root.
-- 4. What could not be sealed is not recorded: a control character, an empty or missing tag, tags that are no list, a date or
--    moment that is none, a leaf above 65,535 bytes, data above 4 MiB.

SET LOCAL ROLE ledger_owner;

-- As before, and invariant 4. It stands here and no constraint for each row says it, because one regular expression over all
-- texts of a statement costs half as much as one a row. Of a leaf's bytes the frame is what neither texts nor tags' line ends
-- are: version, position, number of tags, date, moment and digest.
CREATE OR REPLACE FUNCTION check_new_facts() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $body$
DECLARE
    frame_bytes CONSTANT int := 200;
    max_leaf_bytes CONSTANT int := 65535;
    max_data_bytes CONSTANT int := 4 * 1024 * 1024;
    facts bigint;
    first_position bigint;
    last_position bigint;
    first_recorded_at timestamptz;
    last_recorded_at timestamptz;
    head_size bigint;
    previous_recorded_at timestamptz;
    fits boolean;
BEGIN
    -- NULL inside an array is neither equal nor unequal to the empty tag. OFFSET keeps the texts from being joined twice.
    SELECT
        count(*), min(n.position), max(n.position), min(n.recorded_at), max(n.recorded_at),
        bool_and(
            n.effective_on BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'
            AND n.type <> ''
            AND ('' <> ALL (n.tags)) IS TRUE
            AND coalesce(array_ndims(n.tags), 1) = 1
            AND octet_length(n.texts) + cardinality(n.tags) <= max_leaf_bytes - frame_bytes
            AND octet_length(n.data) <= max_data_bytes
        )
        AND min(n.recorded_at) >= TIMESTAMPTZ '1970-01-01T00:00:00Z'
        AND string_agg(n.texts, '') !~ E'[\x01-\x1f\x7f]'
    INTO facts, first_position, last_position, first_recorded_at, last_recorded_at, fits
    FROM (
        SELECT f.*, f.type || f.command_id || f.actor || array_to_string(f.tags, '') AS texts
        FROM new_facts AS f
        OFFSET 0
    ) AS n;

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

    IF fits IS NOT TRUE THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            CONSTRAINT = 'event_fits_a_leaf',
            MESSAGE = format('a new fact at positions %s to %s could not be sealed', first_position, last_position),
            DETAIL = 'No control character stands in a type, tag, command id or actor, no type and no tag is empty, tags are'
                ' one list, dates have four digits for the year, a leaf has at most 65535 bytes and its data at most 4 MiB.';
    END IF;

    RETURN NULL;
END
$body$;

COMMENT ON FUNCTION check_new_facts() IS
    'Guard of the journal, once a statement: positions without a gap up to the head, time that never falls, leaves that fit.';

CREATE TABLE tile (
    level smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    index bigint NOT NULL CHECK (index >= 0),
    hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    CONSTRAINT tile_pkey PRIMARY KEY (level, index) INCLUDE (root)
);

-- Hashes do not compress.
ALTER TABLE tile ALTER COLUMN hashes SET STORAGE EXTERNAL;

COMMENT ON TABLE tile IS 'Full tiles of the tree: 256 hashes each (C2SP tlog-tiles).';
COMMENT ON COLUMN tile.level IS 'Level 0 holds leaf hashes, each further level the roots of the full tiles below it.';
COMMENT ON COLUMN tile.index IS 'Place in its level, from 0.';
COMMENT ON COLUMN tile.hashes IS '256 SHA-256 hashes, one after the other.';
COMMENT ON COLUMN tile.root IS 'The tree hash over them, which stands in a tile of the next level.';

CREATE TABLE checkpoint (
    size bigint PRIMARY KEY CHECK (size > 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    note text NOT NULL,
    signed_at timestamptz NOT NULL
);

COMMENT ON TABLE checkpoint IS 'Checkpoints of the notary: tree size and root, signed (C2SP tlog-checkpoint).';
COMMENT ON COLUMN checkpoint.size IS 'Number of facts under the root.';
COMMENT ON COLUMN checkpoint.root IS 'Root of the tree over so many facts.';
COMMENT ON COLUMN checkpoint.note IS 'The signed note, as it was published.';
COMMENT ON COLUMN checkpoint.signed_at IS 'The notary''s clock when it signed. Not signed itself.';

CREATE TRIGGER refuse_change
BEFORE UPDATE OR DELETE ON tile
FOR EACH ROW
EXECUTE FUNCTION refuse_change();

CREATE TRIGGER refuse_truncate
BEFORE TRUNCATE ON tile
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change();

CREATE TRIGGER refuse_change
BEFORE UPDATE OR DELETE ON checkpoint
FOR EACH ROW
EXECUTE FUNCTION refuse_change();

CREATE TRIGGER refuse_truncate
BEFORE TRUNCATE ON checkpoint
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change();

ALTER TABLE tile
    ENABLE ALWAYS TRIGGER refuse_change,
    ENABLE ALWAYS TRIGGER refuse_truncate;

ALTER TABLE checkpoint
    ENABLE ALWAYS TRIGGER refuse_change,
    ENABLE ALWAYS TRIGGER refuse_truncate;

GRANT SELECT, INSERT ON tile, checkpoint TO ledger_notary;
GRANT SELECT ON tile, checkpoint TO ledger_app, ledger_auditor, ledger_reader;
