-- What an account keeps beside its cursors: tokens (sealed), what is left of its allowances, how its streams fare, and
-- which posts of a reply in parts are out.
CREATE TABLE source_state (
    account TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, saved_at INTEGER NOT NULL, PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- What a connector keeps of a mention for its reply: a JSON object of texts.
CREATE TABLE mention_extra (mention_id INTEGER PRIMARY KEY REFERENCES mention, extra TEXT NOT NULL) STRICT;
