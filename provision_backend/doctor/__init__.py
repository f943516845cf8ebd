"""``provision-backend doctor``: look at all that a build depends on, and say what to do about each finding."""
