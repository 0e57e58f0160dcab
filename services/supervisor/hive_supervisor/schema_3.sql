-- supervisor.sqlite, from version 2 to 3: the ids that an agent has on the machine.
ALTER TABLE agents ADD COLUMN id_base INTEGER;  -- the first of 65,536; never another agent's, for number never is
UPDATE agents SET id_base = 0x40000000 + number * 65536;
