-- The case library: what others like her have, in editions of cells with figures. Nobody's identity or account stands here.
--
-- 1. Which editions were published is append-only: what may be published next depends on all that ever was.
-- 2. Cells and figures are derived from the journal at the editions' positions, and can be thrown away and written anew.
-- 3. A cell either says of how many people it is and has figures, or neither.

SET LOCAL ROLE ledger_owner;

CREATE TABLE case_edition (
    number integer PRIMARY KEY CHECK (number >= 1),
    position bigint NOT NULL CHECK (position >= 0),
    as_of date NOT NULL UNIQUE,
    least integer NOT NULL CHECK (least >= 20),
    digest text COLLATE "C" NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    built_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE case_edition IS 'The editions of the case library that were published. Append-only.';
COMMENT ON COLUMN case_edition.number IS '1, 2, 3 and so on.';
COMMENT ON COLUMN case_edition.position IS 'What was recorded up to this position of the journal is in it.';
COMMENT ON COLUMN case_edition.as_of IS 'What took effect by this date is in it.';
COMMENT ON COLUMN case_edition.least IS 'The least number of people that a figure is of.';
COMMENT ON COLUMN case_edition.digest IS 'SHA-256 of all that was published, in hexadecimal digits.';
COMMENT ON COLUMN case_edition.built_at IS 'Database clock when it was published.';

CREATE TRIGGER refuse_change
BEFORE UPDATE OR DELETE ON case_edition
FOR EACH ROW
EXECUTE FUNCTION refuse_change();

CREATE TRIGGER refuse_truncate
BEFORE TRUNCATE ON case_edition
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change();

ALTER TABLE case_edition
    ENABLE ALWAYS TRIGGER refuse_change,
    ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TABLE case_cell (
    edition integer NOT NULL REFERENCES case_edition (number),
    number integer NOT NULL CHECK (number >= 1),
    area text COLLATE "C" NOT NULL,
    without text[] COLLATE "C" NOT NULL,
    birth_from integer,
    birth_to integer CHECK (birth_from <= birth_to),
    income_bands text[] COLLATE "C" NOT NULL CHECK (cardinality(income_bands) >= 1),
    employments text[] COLLATE "C" NOT NULL CHECK (cardinality(employments) >= 1),
    people_at_least integer CHECK (people_at_least >= 20),
    PRIMARY KEY (edition, number)
);

COMMENT ON TABLE case_cell IS 'The cells of an edition: boxes that do not overlap and together cover everybody.';
COMMENT ON COLUMN case_cell.edition IS 'Number of the edition.';
COMMENT ON COLUMN case_cell.number IS 'Number of the cell in it, from 1.';
COMMENT ON COLUMN case_cell.area IS 'The area: the country, a province or a city.';
COMMENT ON COLUMN case_cell.without IS 'Areas in it that are in other cells.';
COMMENT ON COLUMN case_cell.birth_from IS 'First year of birth; NULL where it is open.';
COMMENT ON COLUMN case_cell.birth_to IS 'Last year of birth; NULL where it is open.';
COMMENT ON COLUMN case_cell.income_bands IS 'Codes of the income bands, in rising order.';
COMMENT ON COLUMN case_cell.employments IS 'Codes of the kinds of employment.';
COMMENT ON COLUMN case_cell.people_at_least IS 'Of at least so many people; NULL where there are too few for figures.';

CREATE TABLE case_figure (
    edition integer NOT NULL,
    cell integer NOT NULL,
    measure text COLLATE "C" NOT NULL,
    since_edition integer NOT NULL CHECK (since_edition BETWEEN 1 AND edition),
    quarter bigint NOT NULL CHECK (quarter >= 0),
    median bigint NOT NULL CHECK (median >= quarter),
    three_quarters bigint NOT NULL CHECK (three_quarters >= median),
    PRIMARY KEY (edition, cell, measure),
    FOREIGN KEY (edition, cell) REFERENCES case_cell (edition, number)
);

COMMENT ON TABLE case_figure IS 'The figures of a cell: rounded quartiles over its people.';
COMMENT ON COLUMN case_figure.edition IS 'Number of the edition.';
COMMENT ON COLUMN case_figure.cell IS 'Number of the cell.';
COMMENT ON COLUMN case_figure.measure IS 'What it is of; the name ends in the unit.';
COMMENT ON COLUMN case_figure.since_edition IS 'The edition that it was first published in; it stands since then.';
COMMENT ON COLUMN case_figure.quarter IS 'A quarter of the people have about this or less.';
COMMENT ON COLUMN case_figure.median IS 'Half of the people have about this or less.';
COMMENT ON COLUMN case_figure.three_quarters IS 'Three quarters of the people have about this or less.';

REVOKE INSERT ON case_edition FROM ledger_owner;
GRANT SELECT ON case_edition TO ledger_app;
GRANT INSERT (number, position, as_of, least, digest) ON case_edition TO ledger_app;
GRANT SELECT, INSERT, DELETE ON case_cell, case_figure TO ledger_app;
GRANT SELECT ON case_edition, case_cell, case_figure TO ledger_auditor, ledger_reader;

SET LOCAL ROLE NONE;

DO $protect$ BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        INSERT INTO guarded SELECT table_name, item FROM standing_guards(ARRAY['case_edition']);
    END IF;
END $protect$;
