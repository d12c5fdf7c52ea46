-- Seals: the Merkle tree over the journal (RFC 6962) in tiles, and the notary's signed checkpoints.
--
-- 1. The notary alone inserts; nobody changes or removes.
-- 2. A tile is full: 256 hashes. What is not full yet is computed from the facts and from the roots of full tiles.
-- 3. For each size there is at most one checkpoint, and so at most one root.
-- 4. What could not be sealed is not recorded: a value with a control character, a leaf above 65,535 bytes, a date or moment
--    that is none.

SET LOCAL ROLE ledger_owner;

ALTER TABLE event ADD CONSTRAINT event_fits_a_leaf CHECK (
    effective_on BETWEEN '0001-01-01' AND '9999-12-31'
    AND recorded_at BETWEEN '1970-01-01T00:00:00Z' AND '9999-12-30T00:00:00Z'
    AND octet_length(array_to_string(tags, ',')) + octet_length(type) + octet_length(command_id) + octet_length(actor) < 65000
    AND (type || command_id || actor || array_to_string(tags, '')) !~ '[\x01-\x1f\x7f]'
);

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
