-- The journal for human eyes: the same rows, with the data as jsonb.

SET LOCAL ROLE ledger_owner;

-- Events of the plain recorder interface may hold any bytes: what is not JSON shows as NULL.
CREATE FUNCTION json_or_null(data bytea) RETURNS jsonb
LANGUAGE plpgsql
STABLE
STRICT
PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN convert_from(data, 'UTF8')::jsonb;
EXCEPTION
    WHEN data_exception OR program_limit_exceeded THEN
        RETURN NULL;
END
$body$;

COMMENT ON FUNCTION json_or_null(bytea) IS 'The bytes read as JSON in UTF-8, or NULL when they are not.';

CREATE VIEW event_json
WITH (security_invoker = true)
AS
SELECT position, type, json_or_null(data) AS data, tags, effective_on, recorded_at, command_id, actor
FROM event;

COMMENT ON VIEW event_json IS 'The facts with their data as jsonb.';
COMMENT ON COLUMN event_json.position IS 'As in event.';
COMMENT ON COLUMN event_json.type IS 'As in event.';
COMMENT ON COLUMN event_json.data IS 'The event as jsonb; NULL when the stored bytes are not JSON.';
COMMENT ON COLUMN event_json.tags IS 'As in event.';
COMMENT ON COLUMN event_json.effective_on IS 'As in event.';
COMMENT ON COLUMN event_json.recorded_at IS 'As in event.';
COMMENT ON COLUMN event_json.command_id IS 'As in event.';
COMMENT ON COLUMN event_json.actor IS 'As in event.';

GRANT EXECUTE ON FUNCTION json_or_null(bytea) TO ledger_app;
GRANT SELECT ON event_json TO ledger_app;
