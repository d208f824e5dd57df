-- What several machines need, as in ../0002_engines.sql.
ALTER TABLE position ADD COLUMN log TEXT COLLATE "C" NOT NULL DEFAULT '';

ALTER TABLE dead_letter ADD COLUMN log TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE dead_letter ADD COLUMN part BIGINT NOT NULL DEFAULT 0;
ALTER TABLE dead_letter ADD COLUMN replayed_at BIGINT;
ALTER TABLE dead_letter DROP CONSTRAINT dead_letter_position_key;
ALTER TABLE dead_letter ADD UNIQUE (log, part, position);

-- In Kafka a text leaves by its key, which is source/native_id.
ALTER TABLE erasure ADD COLUMN source TEXT COLLATE "C" NOT NULL DEFAULT '';

-- Who does what only one node should do; an optimisation, since every effect is compare-and-set.
CREATE TABLE lease (name TEXT COLLATE "C" PRIMARY KEY, holder TEXT COLLATE "C" NOT NULL, expires_at BIGINT NOT NULL);
