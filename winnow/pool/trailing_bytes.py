"""What follows an image in its own file: an archive, a page. Decoders ignore it, so a file can be both.

Sources: ITU-T T.81, B.1 (JPEG markers); W3C PNG, 5 (chunks); RFC 9649, 2.3 (WebP's RIFF header).
"""

import re

NOT_IN_A_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a stuffed byte and restarts belong to the scan
PADDING = b"\0\r\n\t \xff"  # what encoders and cards leave there


def cut(data: bytes, ext: str) -> bytes:
    """A jpg, png or webp without what follows it; the same object if nothing or only padding does."""
    end = {"jpg": _jpg, "png": _png, "webp": _webp}[ext](data)
    return data if end is None or not data[end:].strip(PADDING) else data[:end]


def _jpg(data: bytes) -> int | None:
    """Where the first picture ends; None if it has no end marker."""
    at = 2
    while at + 4 <= len(data) + 2 and data[at : at + 1] == b"\xff":
        marker = data[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker == 0xFF:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            found = NOT_IN_A_SCAN.search(data, at)
            if found is None:
                return None
            at = found.start()
    return None


def _png(data: bytes) -> int | None:
    at = 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IEND":
            return end
        at = end
    return None


def _webp(data: bytes) -> int | None:
    size = int.from_bytes(data[4:8], "little")
    return 8 + size + size % 2
