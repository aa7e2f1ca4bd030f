"""One self-contained HTML page about runs: reads their files, never imports training."""
