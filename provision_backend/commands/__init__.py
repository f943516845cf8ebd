"""The commands of ``provision-backend``: what each is given, what it does, and how its answer is shown."""
