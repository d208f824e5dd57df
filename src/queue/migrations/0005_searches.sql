-- Saved searches, what they have told, and exports.

-- team_id: shared with that team; NULL is its owner's own. alert: NULL, 'count' or 'spike'. threshold: how many
-- posts at least; percent: of what is usual, for a spike; period: milliseconds. told_until: nothing before this
-- is told again.
CREATE TABLE saved_search (
    id INTEGER PRIMARY KEY, agent_id INTEGER NOT NULL REFERENCES agent, team_id INTEGER REFERENCES team,
    name TEXT NOT NULL, query TEXT NOT NULL, created_at INTEGER NOT NULL, alert TEXT, threshold INTEGER NOT NULL,
    percent INTEGER NOT NULL, period INTEGER NOT NULL, told_until INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Why: found posts between from_at and until_at; usual: a hundred times what is usual, for a spike.
CREATE TABLE search_alert (
    id INTEGER PRIMARY KEY, saved_id INTEGER NOT NULL REFERENCES saved_search, at INTEGER NOT NULL, from_at INTEGER NOT NULL,
    until_at INTEGER NOT NULL, found INTEGER NOT NULL, usual INTEGER, UNIQUE (saved_id, from_at)
) STRICT;

-- The last alert that a person has seen.
CREATE TABLE alert_seen (agent_id INTEGER PRIMARY KEY REFERENCES agent, alert_id INTEGER NOT NULL) STRICT;

-- Who took which posts out, why and when; a row stays when its parts are gone.
CREATE TABLE export (
    id INTEGER PRIMARY KEY, agent_id INTEGER NOT NULL REFERENCES agent, query TEXT NOT NULL, reason TEXT NOT NULL,
    state TEXT NOT NULL, total INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL,
    finished_at INTEGER, downloads INTEGER NOT NULL DEFAULT 0
) STRICT;

-- posts: pairs of mention and case as JSON; lines: one JSON object a post, NULL until the part is read.
CREATE TABLE export_part (
    export_id INTEGER NOT NULL REFERENCES export, part INTEGER NOT NULL, posts TEXT NOT NULL, lines TEXT,
    PRIMARY KEY (export_id, part)
) STRICT, WITHOUT ROWID;
