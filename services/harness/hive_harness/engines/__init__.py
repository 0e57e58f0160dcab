"""The kinds of engines: how each is started. All speak the same stream-json."""
