-- The desk's first schema. Times are UTC milliseconds, spans are milliseconds, keys are text at the
-- edges and integers inside. `mention.text` is masked; what was masked lies in `mention_original`.

CREATE TABLE brand (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name_ko TEXT NOT NULL, name_en TEXT NOT NULL
) STRICT;

CREATE TABLE team (
    id INTEGER PRIMARY KEY, brand_id INTEGER NOT NULL REFERENCES brand, key TEXT NOT NULL UNIQUE,
    name_ko TEXT NOT NULL, name_en TEXT NOT NULL, zone TEXT NOT NULL
) STRICT;

-- reply: 'reply' or 'link_only'; length: the platform's length rule as JSON, told by its connector.
CREATE TABLE account (
    id INTEGER PRIMARY KEY, brand_id INTEGER NOT NULL REFERENCES brand, key TEXT NOT NULL UNIQUE,
    handle TEXT NOT NULL, reply TEXT NOT NULL DEFAULT 'link_only', length TEXT
) STRICT;

CREATE TABLE agent (
    id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, initials TEXT NOT NULL UNIQUE,
    password_hash TEXT, locale TEXT, disabled_at INTEGER
) STRICT;

CREATE TABLE membership (
    agent_id INTEGER NOT NULL REFERENCES agent, team_id INTEGER NOT NULL REFERENCES team, role TEXT NOT NULL,
    PRIMARY KEY (agent_id, team_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    token_hash BLOB PRIMARY KEY, agent_id INTEGER NOT NULL REFERENCES agent,
    created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sign_in_link (
    token_hash BLOB PRIMARY KEY, agent_id INTEGER NOT NULL REFERENCES agent, expires_at INTEGER NOT NULL, used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE source (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE contact (
    id INTEGER PRIMARY KEY, source_id INTEGER NOT NULL REFERENCES source, native_id TEXT NOT NULL,
    handle TEXT NOT NULL, name TEXT, reach INTEGER, first_seen_at INTEGER NOT NULL,
    UNIQUE (source_id, native_id)
) STRICT;

CREATE TABLE contact_handle (
    contact_id INTEGER NOT NULL REFERENCES contact, handle TEXT NOT NULL, until INTEGER NOT NULL,
    PRIMARY KEY (contact_id, handle, until)
) STRICT, WITHOUT ROWID;

-- conversation: the mention that began the thread, or a negative hash of the source's own name for the thread;
-- NULL for the mention that begins one, so that only follow-ups are indexed.
CREATE TABLE mention (
    id INTEGER PRIMARY KEY, source_id INTEGER NOT NULL REFERENCES source, native_id TEXT NOT NULL, local_ref TEXT,
    version INTEGER NOT NULL, side TEXT NOT NULL, contact_id INTEGER NOT NULL REFERENCES contact,
    conversation INTEGER, parent TEXT, lang TEXT NOT NULL, label TEXT NOT NULL, confidence REAL NOT NULL,
    unsure INTEGER NOT NULL, posted_at INTEGER NOT NULL, time_quality TEXT NOT NULL, first_seen_at INTEGER NOT NULL,
    edited_at INTEGER, deleted_at INTEGER, reach INTEGER, replies INTEGER, shares INTEGER, likes INTEGER,
    visibility TEXT, url TEXT, media TEXT, signature INTEGER NOT NULL, text TEXT NOT NULL,
    UNIQUE (source_id, native_id)
) STRICT;
CREATE INDEX mention_conversation ON mention (conversation) WHERE conversation IS NOT NULL;
CREATE INDEX mention_local_ref ON mention (source_id, local_ref) WHERE local_ref IS NOT NULL;

CREATE TABLE mention_original (mention_id INTEGER PRIMARY KEY REFERENCES mention, text TEXT NOT NULL) STRICT;

-- Why a mention has its label: the reasons as JSON, and the version of the rules that judged it.
CREATE TABLE judgement (
    mention_id INTEGER PRIMARY KEY REFERENCES mention, rules INTEGER NOT NULL, reasons TEXT NOT NULL
) STRICT;

CREATE TABLE mention_match (
    mention_id INTEGER NOT NULL REFERENCES mention, brand_id INTEGER NOT NULL REFERENCES brand,
    account_id INTEGER NOT NULL REFERENCES account, addressed INTEGER NOT NULL, query TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (mention_id, brand_id, account_id, query)
) STRICT, WITHOUT ROWID;

-- A delete that matched nothing: it wins over every later create. A hash, so that nothing can be read from it.
CREATE TABLE tombstone (hash INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;

-- Posts whose text must still leave the bus.
CREATE TABLE erasure (id INTEGER PRIMARY KEY, native_id TEXT NOT NULL, at INTEGER NOT NULL) STRICT;

-- finished: 0 while the case is somebody's work, else its own number; so the UNIQUE line below says
-- "one unfinished case for a brand, a contact and a conversation", and finds the finished ones too.
CREATE TABLE cases (
    id INTEGER PRIMARY KEY, brand_id INTEGER NOT NULL REFERENCES brand, account_id INTEGER NOT NULL REFERENCES account,
    contact_id INTEGER NOT NULL REFERENCES contact, conversation INTEGER NOT NULL, mention_id INTEGER NOT NULL REFERENCES mention,
    latest_mention_id INTEGER NOT NULL, mentions INTEGER NOT NULL DEFAULT 1, finished INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL, priority INTEGER NOT NULL, team_id INTEGER NOT NULL REFERENCES team, assignee_id INTEGER REFERENCES agent,
    label TEXT NOT NULL, confidence REAL NOT NULL, unsure INTEGER NOT NULL, labelled_by INTEGER REFERENCES agent,
    rule TEXT NOT NULL, rules INTEGER NOT NULL, policy_id INTEGER NOT NULL REFERENCES policy,
    opened_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, resolved_at INTEGER, disposition TEXT, transfers INTEGER NOT NULL DEFAULT 0,
    unanswered_since INTEGER, due_at INTEGER, overdue INTEGER NOT NULL DEFAULT 0, signature INTEGER NOT NULL, notes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (contact_id, conversation, brand_id, finished)
) STRICT;
CREATE INDEX case_queue ON cases (team_id, overdue, due_at) WHERE finished = 0;
CREATE INDEX case_assignee ON cases (assignee_id) WHERE finished = 0 AND assignee_id IS NOT NULL;

-- Mentions of a case beyond its first, in any conversation.
CREATE TABLE case_mention (
    case_id INTEGER NOT NULL REFERENCES cases, mention_id INTEGER NOT NULL REFERENCES mention, PRIMARY KEY (case_id, mention_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX case_mention_mention ON case_mention (mention_id);
CREATE INDEX case_first_mention ON cases (mention_id);

CREATE TABLE policy (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, version INTEGER NOT NULL, UNIQUE (key, version)
) STRICT;

-- kind and state are numbers in the order of sla::Kind::ALL and sla::State::ALL.
CREATE TABLE clock (
    case_id INTEGER NOT NULL REFERENCES cases, kind INTEGER NOT NULL, cycle INTEGER NOT NULL, policy_id INTEGER NOT NULL REFERENCES policy,
    state INTEGER NOT NULL, origin_at INTEGER NOT NULL, origin_source INTEGER NOT NULL, target INTEGER NOT NULL,
    elapsed INTEGER NOT NULL, since INTEGER NOT NULL, deadline_at INTEGER NOT NULL, fired INTEGER NOT NULL, next_fire_at INTEGER,
    met_at INTEGER, breached_at INTEGER, detected_at INTEGER, cancelled TEXT, breach_reason TEXT,
    PRIMARY KEY (case_id, kind, cycle)
) STRICT, WITHOUT ROWID;
CREATE INDEX clock_fire ON clock (next_fire_at) WHERE next_fire_at IS NOT NULL;
-- States 0, 1 and 2 are running, paused and breached: open. Kind 5 is a promise; there may be several.
CREATE UNIQUE INDEX clock_open ON clock (case_id, kind) WHERE state <= 2 AND kind <> 5;

CREATE TABLE pause (
    case_id INTEGER NOT NULL, kind INTEGER NOT NULL, cycle INTEGER NOT NULL, started_at INTEGER NOT NULL, ended_at INTEGER, reason TEXT NOT NULL,
    PRIMARY KEY (case_id, kind, cycle, started_at)
) STRICT, WITHOUT ROWID;

-- actor: 0 the system, -1 the customer, else an agent. Payloads hold ids and words of enums, never text.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, case_id INTEGER, mention_id INTEGER, at INTEGER NOT NULL, actor INTEGER NOT NULL,
    kind TEXT NOT NULL, payload TEXT
) STRICT;
CREATE INDEX event_case ON event (case_id) WHERE case_id IS NOT NULL;

-- kind: 'note', or why a case was handed over or given back.
CREATE TABLE note (
    id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases, agent_id INTEGER NOT NULL REFERENCES agent,
    at INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL
) STRICT;
CREATE INDEX note_case ON note (case_id);

-- The outbox. due_at: not before; sent_at: the platform's time of acceptance.
CREATE TABLE reply (
    id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases, mention_id INTEGER NOT NULL REFERENCES mention,
    account_id INTEGER NOT NULL REFERENCES account, agent_id INTEGER NOT NULL REFERENCES agent, text TEXT NOT NULL,
    state TEXT NOT NULL, created_at INTEGER NOT NULL, due_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    idempotency_key TEXT NOT NULL, native_id TEXT, url TEXT, sent_at INTEGER, reason TEXT
) STRICT;
CREATE INDEX reply_case ON reply (case_id);
CREATE INDEX reply_native ON reply (native_id) WHERE native_id IS NOT NULL;
CREATE INDEX reply_due ON reply (due_at) WHERE state IN ('queued', 'sending');

CREATE TABLE draft (
    agent_id INTEGER NOT NULL REFERENCES agent, case_id INTEGER NOT NULL REFERENCES cases, kind TEXT NOT NULL,
    text TEXT NOT NULL, version INTEGER NOT NULL, changed_at INTEGER NOT NULL, PRIMARY KEY (agent_id, case_id, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY, position INTEGER NOT NULL UNIQUE, at INTEGER NOT NULL, reason TEXT NOT NULL, bytes BLOB NOT NULL
) STRICT;

-- How far each consumer of the bus has come; moved by compare-and-set in the transaction of the batch.
CREATE TABLE position (
    consumer TEXT NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (consumer, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE stream_cursor (name TEXT PRIMARY KEY, value TEXT NOT NULL, saved_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Published rule sets; files: a JSON object of name to text.
CREATE TABLE ruleset (version INTEGER PRIMARY KEY, published_at INTEGER NOT NULL, digest TEXT NOT NULL, files TEXT NOT NULL) STRICT;
