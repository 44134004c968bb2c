"""Pictures of the pool or the reference that show the same shot as a held-out picture."""
