-- approvals.sqlite, from version 4 to 5: requests that asked for what another one was waiting for already.
CREATE TABLE repeated (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,                    -- that the request would have had as an approval
  approval TEXT NOT NULL                      -- of the one that waited
) STRICT;
