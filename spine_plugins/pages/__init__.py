"""What all our pages have in common: frame, look, tables, curves, pictures; no room that makes results."""
