"""WHEN: Prefect only; no torch, no import of stages."""
