-- What people said of the classifier's word: one row for each mention whose label a person corrected, with what the
-- classifier had said. The text is the mention's, so that it goes when that goes.
CREATE TABLE feedback (
    mention_id INTEGER PRIMARY KEY REFERENCES mention, case_id INTEGER NOT NULL REFERENCES cases, was TEXT NOT NULL,
    confidence REAL NOT NULL, unsure INTEGER NOT NULL, model INTEGER NOT NULL, said TEXT NOT NULL, label TEXT NOT NULL,
    agent_id INTEGER NOT NULL REFERENCES agent, at INTEGER NOT NULL, state TEXT NOT NULL, reviewed_by INTEGER REFERENCES agent,
    reviewed_at INTEGER
) STRICT;
CREATE INDEX feedback_state ON feedback (state, at);

-- Every model that was ever put to use, so that going back is one word. One that came with the program gives way to the
-- next program's.
CREATE TABLE model (
    version INTEGER PRIMARY KEY, added_at INTEGER NOT NULL, digest TEXT NOT NULL UNIQUE,
    built_in INTEGER NOT NULL, card TEXT NOT NULL, bytes BLOB NOT NULL
) STRICT;
-- Which model does what from when on; of each role the newest row counts. Without a version: none.
CREATE TABLE model_choice (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, role TEXT NOT NULL, version INTEGER REFERENCES model) STRICT;

-- The model that judged beside the rules; 0 where there was none.
ALTER TABLE judgement ADD COLUMN model INTEGER NOT NULL DEFAULT 0;
