"""A build backend that builds a project under a Python that the machine does not have."""
