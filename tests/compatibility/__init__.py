"""Real frontends by real backends, in both plans: what is made through us is what the real backend makes alone."""
