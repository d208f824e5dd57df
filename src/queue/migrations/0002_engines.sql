-- What several machines need. A position names its log, so that a topic made anew is not taken for the old
-- one: empty for the embedded log, else the topic's id.
ALTER TABLE position ADD COLUMN log TEXT NOT NULL DEFAULT '';

CREATE TABLE dead_letter_new (
    id INTEGER PRIMARY KEY, log TEXT NOT NULL, part INTEGER NOT NULL, position INTEGER NOT NULL, at INTEGER NOT NULL,
    reason TEXT NOT NULL, bytes BLOB NOT NULL, replayed_at INTEGER, UNIQUE (log, part, position)
) STRICT;
INSERT INTO dead_letter_new SELECT id, '', 0, position, at, reason, bytes, NULL FROM dead_letter;
DROP TABLE dead_letter;
ALTER TABLE dead_letter_new RENAME TO dead_letter;

-- In Kafka a text leaves by its key, which is source/native_id.
ALTER TABLE erasure ADD COLUMN source TEXT NOT NULL DEFAULT '';

-- Who does what only one node should do; an optimisation, since every effect is compare-and-set.
CREATE TABLE lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
