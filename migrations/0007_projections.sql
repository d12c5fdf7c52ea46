-- The projections: statements, people and control totals. Derived from the journal, and thrown away and rebuilt at will.
--
-- 1. Each projection has two slots, one table set each. Readers use the live one; a rebuild fills the other and swaps.
-- 2. The rows of a slot and its position change in one transaction.
-- 3. A fact that a projection could not take has its dead letter there, and the projection goes on.

SET LOCAL ROLE ledger_owner;

CREATE TABLE projection (
    name text COLLATE "C" PRIMARY KEY,
    live_slot smallint NOT NULL DEFAULT 1 CHECK (live_slot IN (1, 2)),
    rebuilt_by text
);

COMMENT ON TABLE projection IS 'The projections, and which slot of each is read.';
COMMENT ON COLUMN projection.name IS 'Name of the projection.';
COMMENT ON COLUMN projection.live_slot IS 'The slot that readers use.';
COMMENT ON COLUMN projection.rebuilt_by IS 'The session that rebuilds it, as process and start; void when that has ended.';

CREATE TABLE projection_slot (
    name text COLLATE "C" NOT NULL REFERENCES projection (name),
    slot smallint NOT NULL CHECK (slot IN (1, 2)),
    position bigint CHECK (position >= 0),
    halted text,
    PRIMARY KEY (name, slot)
);

COMMENT ON TABLE projection_slot IS 'How far each slot has come. Whoever projects holds its row.';
COMMENT ON COLUMN projection_slot.name IS 'Name of the projection.';
COMMENT ON COLUMN projection_slot.slot IS 'Its tables end in this number.';
COMMENT ON COLUMN projection_slot.position IS 'Position of the last fact taken; NULL while the slot is not in use.';
COMMENT ON COLUMN projection_slot.halted IS 'Why it takes no more facts, until it is rebuilt; NULL while it does.';

INSERT INTO projection (name)
VALUES ('control_totals'), ('people'), ('statements');

INSERT INTO projection_slot (name, slot, position)
SELECT name, slot, CASE WHEN slot = live_slot THEN 0 END
FROM projection
CROSS JOIN (VALUES (1), (2)) AS slots (slot);

CREATE TABLE dead_letter (
    name text COLLATE "C" NOT NULL,
    slot smallint NOT NULL,
    position bigint NOT NULL,
    tags text[] COLLATE "C" NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (name, slot, position),
    FOREIGN KEY (name, slot) REFERENCES projection_slot (name, slot)
);

COMMENT ON TABLE dead_letter IS 'Facts that a projection could not take. What they are about is incomplete there; the rest is not.';
COMMENT ON COLUMN dead_letter.name IS 'Name of the projection.';
COMMENT ON COLUMN dead_letter.slot IS 'Its slot.';
COMMENT ON COLUMN dead_letter.position IS 'Position of the fact.';
COMMENT ON COLUMN dead_letter.tags IS 'The entities that the fact is about.';
COMMENT ON COLUMN dead_letter.reason IS 'What went wrong, without the values of the fact.';

-- Statements: one row for every account that a fact moves money of.
CREATE TABLE statement_line_1 (
    position bigint NOT NULL,
    account text COLLATE "C" NOT NULL,
    effective_on date NOT NULL,
    kind text COLLATE "C" NOT NULL,
    amount_fen bigint NOT NULL,
    parts text[] COLLATE "C" NOT NULL,
    amounts_fen bigint[] NOT NULL,
    reverses bigint,
    PRIMARY KEY (position, account)
);

COMMENT ON COLUMN statement_line_1.position IS 'Position of the fact.';
COMMENT ON COLUMN statement_line_1.account IS 'The account.';
COMMENT ON COLUMN statement_line_1.effective_on IS 'Business date of the fact.';
COMMENT ON COLUMN statement_line_1.kind IS 'What moved it; a reversal has the kind of what it reverses.';
COMMENT ON COLUMN statement_line_1.amount_fen IS 'By how much the balance changed: the sum of amounts_fen.';
COMMENT ON COLUMN statement_line_1.parts IS 'The parts of the account that changed.';
COMMENT ON COLUMN statement_line_1.amounts_fen IS 'By how much each of them changed.';
COMMENT ON COLUMN statement_line_1.reverses IS 'Position of the entry that this one reverses.';

-- With the amount, so that a balance is summed from the index alone.
CREATE INDEX ON statement_line_1 (account, effective_on, position) INCLUDE (amount_fen);

CREATE TABLE statement_line_2 (LIKE statement_line_1 INCLUDING ALL);

COMMENT ON TABLE statement_line_1 IS 'Statements, slot 1: every posting line of every account.';
COMMENT ON TABLE statement_line_2 IS 'Statements, slot 2: every posting line of every account.';

-- People: who is who in one hop, from a source identity, a one_id or an account.
CREATE TABLE person_identity_1 (
    sid text COLLATE "C" PRIMARY KEY,
    one_id text COLLATE "C" NOT NULL UNIQUE,
    person text COLLATE "C" NOT NULL,
    members text[] COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    verification_tier text COLLATE "C" NOT NULL,
    registered_position bigint NOT NULL,
    changed_position bigint NOT NULL
) WITH (fillfactor = 80);

COMMENT ON COLUMN person_identity_1.sid IS 'The source identity.';
COMMENT ON COLUMN person_identity_1.one_id IS 'The one_id born with it.';
COMMENT ON COLUMN person_identity_1.person IS 'The one_id of the oldest identity of the person, which names her.';
COMMENT ON COLUMN person_identity_1.members IS 'All source identities of the person, itself included.';
COMMENT ON COLUMN person_identity_1.provider IS 'Who registered it.';
COMMENT ON COLUMN person_identity_1.verification_tier IS 'How it was verified.';
COMMENT ON COLUMN person_identity_1.registered_position IS 'Position of its registration.';
COMMENT ON COLUMN person_identity_1.changed_position IS 'Position of the fact that last composed the person.';

CREATE TABLE person_identity_2 (LIKE person_identity_1 INCLUDING ALL) WITH (fillfactor = 80);

COMMENT ON TABLE person_identity_1 IS 'People, slot 1: every source identity with the person it belongs to.';
COMMENT ON TABLE person_identity_2 IS 'People, slot 2: every source identity with the person it belongs to.';

CREATE TABLE person_account_1 (
    account text COLLATE "C" PRIMARY KEY,
    sid text COLLATE "C" NOT NULL,
    product text COLLATE "C" NOT NULL,
    opened_position bigint NOT NULL
);

COMMENT ON COLUMN person_account_1.account IS 'The account.';
COMMENT ON COLUMN person_account_1.sid IS 'The source identity that holds it; it never changes.';
COMMENT ON COLUMN person_account_1.product IS 'Its product.';
COMMENT ON COLUMN person_account_1.opened_position IS 'Position of its opening.';

CREATE INDEX ON person_account_1 (sid);

CREATE TABLE person_account_2 (LIKE person_account_1 INCLUDING ALL);

COMMENT ON TABLE person_account_1 IS 'People, slot 1: every account with its holder.';
COMMENT ON TABLE person_account_2 IS 'People, slot 2: every account with its holder.';

-- Control totals: sums over spans of positions, of 1,000 and each hundredfold, so that the totals known at any position
-- are the sum of at most 99 spans of each size and of less than 1,000 facts.
CREATE TABLE control_total_1 (
    span_size bigint NOT NULL,
    span bigint NOT NULL,
    effective_on date NOT NULL,
    product text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    part text COLLATE "C" NOT NULL,
    lines bigint NOT NULL,
    amount_fen bigint NOT NULL,
    PRIMARY KEY (span_size, span, effective_on, product, kind, part)
);

COMMENT ON COLUMN control_total_1.span_size IS 'How many positions the span has.';
COMMENT ON COLUMN control_total_1.span IS 'Number of the span, from 0: it begins after position span * span_size.';
COMMENT ON COLUMN control_total_1.effective_on IS 'Business date.';
COMMENT ON COLUMN control_total_1.product IS 'Product of the accounts, or external.';
COMMENT ON COLUMN control_total_1.kind IS 'What moved the money, as in statements.';
COMMENT ON COLUMN control_total_1.part IS 'Part of the accounts, or where the money came from or went to.';
COMMENT ON COLUMN control_total_1.lines IS 'Number of postings.';
COMMENT ON COLUMN control_total_1.amount_fen IS 'Sum of the postings.';

CREATE TABLE control_total_2 (LIKE control_total_1 INCLUDING ALL);

COMMENT ON TABLE control_total_1 IS 'Control totals, slot 1: sums per span, day, product, kind and part.';
COMMENT ON TABLE control_total_2 IS 'Control totals, slot 2: sums per span, day, product, kind and part.';

GRANT SELECT, UPDATE (live_slot, rebuilt_by) ON projection TO ledger_app;
GRANT SELECT, UPDATE (position, halted) ON projection_slot TO ledger_app;
GRANT SELECT, INSERT, DELETE ON dead_letter TO ledger_app;
GRANT SELECT, INSERT, TRUNCATE ON statement_line_1, statement_line_2 TO ledger_app;
GRANT SELECT, INSERT, UPDATE, TRUNCATE ON person_identity_1, person_identity_2 TO ledger_app;
GRANT SELECT, INSERT, TRUNCATE ON person_account_1, person_account_2 TO ledger_app;
GRANT SELECT, INSERT, UPDATE, TRUNCATE ON control_total_1, control_total_2 TO ledger_app;

-- How many commands were refused, by code, without reading the accepted ones.
CREATE INDEX command_refusal ON command ((refusal ->> 'code')) WHERE refusal IS NOT NULL;
