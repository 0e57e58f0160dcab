-- agents/<name>/events.sqlite, from version 3 to 4: where each turn begins. One entry a turn: it costs the writer nothing.
CREATE INDEX events_turns ON events (turn_id) WHERE type = 'turn.started';
