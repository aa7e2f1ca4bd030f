"""What lies in a run folder: read, judged, told; needs no torch and imports nothing that makes results."""
