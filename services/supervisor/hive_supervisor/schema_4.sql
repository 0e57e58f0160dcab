-- supervisor.sqlite, from version 3 to 4: what the next supervisor must know of each container.
ALTER TABLE agents ADD COLUMN life TEXT NOT NULL DEFAULT '{}';  -- Life as JSON
