"""The fifteen common corruptions of pictures, on tensors: `corrupt.corrupt`."""
