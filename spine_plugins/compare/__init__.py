"""Runs side by side, whichever program trained them: what differs, and what came of it."""
