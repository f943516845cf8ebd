"""Get the bytes of an archive or a catalog, verified: from which sources, how, and resumed where they stopped."""
