-- What is due, and how full the queues are, is read from the index alone: hundreds of thousands of clocks may run out at
-- once, and the figures above each queue count every open case.
DROP INDEX clock_fire;
CREATE INDEX clock_fire ON clock (next_fire_at, deadline_at, case_id) WHERE next_fire_at IS NOT NULL;
DROP INDEX case_queue;
CREATE INDEX case_queue ON cases (team_id, overdue, due_at, assignee_id) WHERE finished = 0;
