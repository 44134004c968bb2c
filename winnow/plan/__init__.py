"""What an experiment or a training will cost, before anything runs: no data is read, nothing is trained."""
