"""WHAT: one thin module per DVC stage, run as `python -m stages.NAME`, and the effects they share."""
