"""WHAT: exactly the DVC stages, one thin module each: read DVC's inputs, call winnow/, write its outs."""
