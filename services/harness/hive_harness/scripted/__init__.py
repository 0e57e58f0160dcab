"""The scripted engine: speaks Claude Code's stream-json and does what a message's directives say. Needs no model.

Standard library only, and little of it, so that it starts fast.
"""
