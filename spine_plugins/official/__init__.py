"""A user's own checkout of the official program, trained with our loss; nothing of it is imported here."""
