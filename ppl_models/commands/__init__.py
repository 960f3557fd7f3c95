"""Floor 5: what the commands of ``ppl-models`` do, one a file."""
