"""What crosses a process boundary: names, ids, streams, envelopes, events and states. Data only, no I/O."""
