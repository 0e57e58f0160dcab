-- approvals.sqlite, from version 3 to 4: the newest are found without looking at all that ever were.
CREATE INDEX approvals_by_time ON approvals (requested_at, id);
