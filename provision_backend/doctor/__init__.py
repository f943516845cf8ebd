"""``provision-backend doctor``: check everything that a build depends on, and report what to do."""
