"""What each stage cost, and MLflow as a view of it."""
