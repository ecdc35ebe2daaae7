"""Losses, one file each, in their papers' symbols."""
