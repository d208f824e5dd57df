-- What was sent to us and taken, by account; the newest ones.
CREATE TABLE delivery (id INTEGER PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL,
    UNIQUE (account, name)) STRICT;

-- Listening queries that people saved, by account; those of the configuration are not here.
CREATE TABLE listening (id INTEGER PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, query TEXT NOT NULL,
    by_agent INTEGER, at INTEGER NOT NULL, UNIQUE (account, name)) STRICT;
