"""Everything that is fitted on labels: probes, fine-tuning, heads."""
