"""Similar images: an index of representations, searched, compared in pairs, grouped."""
