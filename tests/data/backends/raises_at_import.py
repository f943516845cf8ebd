"""Cannot be imported, for another reason than that something is not there."""

raise RuntimeError("toy needs the moon to be full")
