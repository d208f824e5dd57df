-- What was sent to us and taken, by account; the newest ones.
CREATE TABLE delivery (id INTEGER PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL,
    UNIQUE (account, name)) STRICT;
