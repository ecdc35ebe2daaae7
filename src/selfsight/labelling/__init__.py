"""Which images to label next: chosen by density, coverage or uncertainty of a representation."""
