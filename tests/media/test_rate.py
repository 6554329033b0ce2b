"""The rate of a file follows from what can be decoded, and from what the configuration allows."""

from siprec.media.rate import file_rate


def test_what_can_be_decoded_needs_no_more_than_8000_hz() -> None:
    assert file_rate(48_000) == 8_000
    assert file_rate(8_000) == 8_000
