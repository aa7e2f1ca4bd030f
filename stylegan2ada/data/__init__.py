"""Images and labels on their way into training: written, read, cached, drawn in batches."""
