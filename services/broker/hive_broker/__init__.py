"""The broker: takes messages from outboxes, checks and stamps them, delivers to inboxes, records what happened."""
