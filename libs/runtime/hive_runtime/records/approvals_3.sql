-- approvals.sqlite, from version 2 to 3: what a supervisor that was cut off has still to do.
ALTER TABLE approvals ADD COLUMN told TEXT NOT NULL DEFAULT '';        -- the last state that everybody was told
ALTER TABLE approvals ADD COLUMN decided_by TEXT NOT NULL DEFAULT '';  -- the command that decided it
UPDATE approvals SET told = state;
CREATE INDEX approvals_by_agent ON approvals (agent, requested_at);
