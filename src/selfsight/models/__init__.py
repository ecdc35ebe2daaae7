"""Models: a backbone with a head, kept in a folder and used on images."""
