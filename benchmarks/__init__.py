"""What we cost, measured side by side with what people would use otherwise: ``scripts/bench``."""
