"""What a run shows: figures, tables and the page; all of it read from the run folder."""
