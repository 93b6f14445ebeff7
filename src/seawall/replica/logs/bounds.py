"""What every log checks at its door, so that all three refuse the same things."""

from seawall.replica.log import PAYLOAD_BYTES_MAX, AppendRefused, ReadGap

MESSAGE_ID_CHARS_MAX = 128


def check_message(message_id: str, payload: bytes) -> None:
    """Raise `AppendRefused` unless the message may enter a log.

    The id travels in a header of the wire protocol: printable ASCII without blanks, so that no
    log has to trim it and two logs never disagree on whether two ids are equal.
    """
    if not 1 <= len(message_id) <= MESSAGE_ID_CHARS_MAX:
        raise AppendRefused(
            f"message_id: {len(message_id)} characters, 1 to {MESSAGE_ID_CHARS_MAX} are taken"
        )
    if not all("!" <= char <= "~" for char in message_id):
        raise AppendRefused("message_id: only printable ASCII without blanks is taken")
    if not 1 <= len(payload) <= PAYLOAD_BYTES_MAX:
        raise AppendRefused(f"payload: {len(payload)} bytes, 1 to {PAYLOAD_BYTES_MAX} are taken")


def check_start(first_seq: int, last_seq: int) -> None:
    """Raise `ReadGap` when a reader is ahead of the log.

    A reader asks for what follows the last entry it has seen. If the log ends before that, the
    log has lost entries that somebody acted upon; to wait for them would hide it.
    """
    if first_seq > last_seq + 1:
        raise ReadGap(f"the log ends at {last_seq}, a reader wants {first_seq}: entries are lost")
