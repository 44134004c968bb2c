"""What is not finite is refused before it becomes a figure: a comparison with NaN is false, so it would count
as a wrong answer and look like a weak encoder.
"""

from torch import Tensor


def refuse_nonfinite(values: Tensor, what: str, folder: object) -> None:
    """Check features or embeddings (n, D).

    Raises:
        ValueError: if a row is not finite, with how many and the mend.
    """
    bad = int((~values.isfinite()).any(dim=1).sum())
    if bad:
        given = f"{what} of {bad} of {len(values)} are not finite"
        raise ValueError(f"{folder}: {given}; train the arm again with a lower lr or precision 32-true")
