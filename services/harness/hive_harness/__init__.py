"""The harness: an agent's turn loop, inside its container."""
