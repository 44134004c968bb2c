"""PURE: tensors in, tensors out; no files, no logging, no reading of configuration."""
