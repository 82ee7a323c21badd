"""The second place: what a backup takes, how restic keeps it, and how a home comes back."""
