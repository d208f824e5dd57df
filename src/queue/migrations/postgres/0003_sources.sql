-- What connectors keep, as in ../0003_sources.sql.
CREATE TABLE source_state (
    account TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL, value TEXT COLLATE "C" NOT NULL, saved_at BIGINT NOT NULL,
    PRIMARY KEY (account, name)
);

CREATE TABLE mention_extra (mention_id BIGINT PRIMARY KEY REFERENCES mention, extra TEXT COLLATE "C" NOT NULL);
