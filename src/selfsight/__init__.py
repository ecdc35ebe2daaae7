"""selfsight: image representations from unlabelled images, proved with few labels."""

__version__ = "0.1.0"
