"""Which archives there are, and which of them a request comes down to."""
