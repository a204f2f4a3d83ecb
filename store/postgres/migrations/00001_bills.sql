-- What a store of bills is made of. Records are JSON, as every store keeps
-- them; the columns beside them are what is looked for. Text compares as bytes.
--
-- Migrations only go forward, and a program that does not know them yet goes on
-- beside one that does: they add what may be left out, and raise state.oldest
-- where that cannot be had.

-- What the store knows of itself.
CREATE TABLE qlink.state (
	one       boolean PRIMARY KEY DEFAULT true CHECK (one),
	store     text    NOT NULL,             -- random, given once
	oldest    integer NOT NULL,             -- the oldest migration whose programs may go on
	migration text    NOT NULL DEFAULT '',  -- JSON of a move to or from another store; '': there is none
	checkouts_closed timestamptz            -- since when there are no new payments, since the store comes from a backup; NULL: they are open
);

INSERT INTO qlink.state (store, oldest) VALUES (gen_random_uuid()::text, 1);

CREATE TABLE qlink.bills (
	id          text COLLATE "C" PRIMARY KEY,
	revision    bigint      NOT NULL,
	version     bigint      NOT NULL,
	status      text        NOT NULL,
	ledger      text COLLATE "C" NOT NULL,
	shop        text COLLATE "C" NOT NULL,
	order_code  text COLLATE "C" NOT NULL,
	attempt     bigint      NOT NULL,
	account     text        NOT NULL,
	amount      text        NOT NULL,       -- without zeros that say nothing
	bill_code   text COLLATE "C",           -- NULL: it has none
	request_id  text COLLATE "C",
	client      text COLLATE "C",           -- NULL once it has ended
	created_at  timestamptz NOT NULL,
	updated_at  timestamptz NOT NULL,
	due         timestamptz,
	open        boolean     NOT NULL,       -- has not ended
	late        boolean     NOT NULL,       -- paid after it had ended
	refund      boolean     NOT NULL,       -- to be given back
	held        boolean     NOT NULL,       -- reported as paid, and not confirmed
	forgettable boolean     NOT NULL,       -- has ended for certain, and holds more than its stub
	leased_by    text,
	leased_until timestamptz,
	record      text        NOT NULL
) WITH (fillfactor = 85);

-- One order, one payment: of two nodes that begin an attempt, one loses.
CREATE UNIQUE INDEX attempts ON qlink.bills (order_code, ledger, shop, attempt);
-- These grow with the store …
CREATE INDEX bills_by_status ON qlink.bills (status, created_at DESC, id);
CREATE INDEX bills_by_bill_code ON qlink.bills (bill_code) WHERE bill_code IS NOT NULL;
CREATE INDEX bills_by_request_id ON qlink.bills (request_id) WHERE request_id IS NOT NULL;
-- … and these with what is open, or to be seen to.
CREATE INDEX bills_due ON qlink.bills (due, id) WHERE due IS NOT NULL;
CREATE INDEX bills_open ON qlink.bills (created_at DESC, id) WHERE open;
CREATE INDEX bills_open_of ON qlink.bills (client) WHERE client IS NOT NULL;
CREATE INDEX bills_late ON qlink.bills (created_at DESC, id) WHERE late;
CREATE INDEX bills_refund ON qlink.bills (created_at DESC, id) WHERE refund;
CREATE INDEX bills_held ON qlink.bills (created_at DESC, id) WHERE held;
CREATE INDEX bills_forgettable ON qlink.bills (updated_at, id) WHERE forgettable;

-- What the shop handed over with a bill.
CREATE TABLE qlink.details (
	bill   text COLLATE "C" PRIMARY KEY,
	record text NOT NULL
);

-- The history of bills.
CREATE TABLE qlink.events (
	bill     text COLLATE "C" NOT NULL,
	revision bigint  NOT NULL,              -- of the bill's write that it came with …
	place    integer NOT NULL,              -- … and its place among those of that write
	record   text    NOT NULL,
	PRIMARY KEY (bill, revision, place)
);

CREATE TABLE qlink.orders (
	ledger     text COLLATE "C" NOT NULL,
	shop       text COLLATE "C" NOT NULL,
	order_code text COLLATE "C" NOT NULL,
	revision   bigint NOT NULL,
	record     text   NOT NULL,
	PRIMARY KEY (order_code, ledger, shop)
) WITH (fillfactor = 85);

-- The outbox.
CREATE TABLE qlink.notifications (
	id              text COLLATE "C" PRIMARY KEY,
	revision        bigint      NOT NULL,
	state           text        NOT NULL,
	bill            text COLLATE "C" NOT NULL,
	target          text COLLATE "C" NOT NULL, -- hash of URL and order: what nothing may overtake on the way to
	created_at      timestamptz NOT NULL,
	bill_created_at timestamptz NOT NULL,
	due             timestamptz,
	leased_by       text,
	leased_until    timestamptz,
	record          text        NOT NULL
) WITH (fillfactor = 85);

CREATE UNIQUE INDEX pending ON qlink.notifications (target) WHERE state = 'pending';
CREATE INDEX notifications_by_bill ON qlink.notifications (bill);
CREATE INDEX notifications_by_state ON qlink.notifications (state, created_at DESC, id);
CREATE INDEX notifications_due ON qlink.notifications (due, id) WHERE due IS NOT NULL;
CREATE INDEX notifications_leased ON qlink.notifications (target) WHERE leased_until IS NOT NULL;
CREATE INDEX notifications_undelivered ON qlink.notifications (bill_created_at DESC, bill) WHERE state IN ('pending', 'dead');

-- Answers under Idempotency-Keys. expires_at serves upkeep alone: no sooner than
-- the answer was written.
CREATE TABLE qlink.idempotency (
	key        text COLLATE "C" PRIMARY KEY,
	expires_at timestamptz NOT NULL,
	record     text        NOT NULL
);

CREATE INDEX idempotency_expired ON qlink.idempotency (expires_at);

CREATE TABLE qlink.orphans (
	ledger   text COLLATE "C" NOT NULL,
	id       text COLLATE "C" NOT NULL,
	resolved boolean NOT NULL,
	record   text    NOT NULL,
	PRIMARY KEY (ledger, id)
);

-- What buyers could have seen changing, for the other nodes; the old is
-- deleted.
CREATE TABLE qlink.changes (
	place   bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	bill    text COLLATE "C" NOT NULL,
	version bigint NOT NULL
);

-- How many records of a kind there are, as the sum of the stripes: each
-- transaction adds to one of them, so that few wait for each other.
CREATE TABLE qlink.counts (
	stripe     integer PRIMARY KEY,
	choose     bigint NOT NULL DEFAULT 0,
	created    bigint NOT NULL DEFAULT 0,
	wait       bigint NOT NULL DEFAULT 0,
	success    bigint NOT NULL DEFAULT 0,
	fail       bigint NOT NULL DEFAULT 0,
	canceled   bigint NOT NULL DEFAULT 0,
	expired    bigint NOT NULL DEFAULT 0,
	late       bigint NOT NULL DEFAULT 0,
	refunds    bigint NOT NULL DEFAULT 0,
	pending    bigint NOT NULL DEFAULT 0,
	delivered  bigint NOT NULL DEFAULT 0,
	superseded bigint NOT NULL DEFAULT 0,
	dead       bigint NOT NULL DEFAULT 0,
	orphans    bigint NOT NULL DEFAULT 0    -- that no operator has seen to
) WITH (fillfactor = 20);
