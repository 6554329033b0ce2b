"""What can go wrong with a probe call, as one line for people."""


class ProbeError(Exception):
    """The probe could not do its work; the text says why and what to do."""


class CallFailed(ProbeError):
    """The recorder refused the call, did not answer, or ended it."""
