"""What a build used, written down beside its wheel."""
