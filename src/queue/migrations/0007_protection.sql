-- Who read which abusive post on which day of their team: once a day each, and what the daily figure counts.
CREATE TABLE exposure (
    agent_id INTEGER NOT NULL REFERENCES agent, day TEXT NOT NULL, mention_id INTEGER NOT NULL REFERENCES mention,
    case_id INTEGER NOT NULL REFERENCES cases, at INTEGER NOT NULL, PRIMARY KEY (agent_id, day, mention_id)
) STRICT, WITHOUT ROWID;
