"""The one exception for a mistake in params.yaml or an override."""


class ParamsError(ValueError):
    """A mistake in params.yaml or an override; its text is the one line that the user sees.

    It names the key, the value, and what is allowed or how to mend it.
    """
