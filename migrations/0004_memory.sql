-- Memory: what every entity remembers, folded from its facts. Derived; may be thrown away and refolded.

SET LOCAL ROLE ledger_owner;

-- Half of every page stays free, so that a new state lands beside the old one and no index is touched
-- (a heap-only update). Vacuum comes early, because a month's postings change every row.
CREATE TABLE memory (
    tag text COLLATE "C" PRIMARY KEY,
    position bigint NOT NULL,
    state text NOT NULL
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.2
);

COMMENT ON TABLE memory IS 'What each entity remembers: its folded state. Derived from event.';
COMMENT ON COLUMN memory.tag IS 'The entity, as it stands in event.tags.';
COMMENT ON COLUMN memory.position IS 'Position of the last fact that is folded in.';
COMMENT ON COLUMN memory.state IS 'The state as JSON. Text, because only Python reads it.';

GRANT SELECT, INSERT, UPDATE, DELETE ON memory TO ledger_app;
