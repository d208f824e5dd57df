-- Who read which abusive post on which day, as in ../0007_protection.sql.
CREATE TABLE exposure (
    agent_id BIGINT NOT NULL, day TEXT COLLATE "C" NOT NULL, mention_id BIGINT NOT NULL, case_id BIGINT NOT NULL,
    at BIGINT NOT NULL, PRIMARY KEY (agent_id, day, mention_id)
);
