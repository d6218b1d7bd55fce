"""Messages on a socket: a JSON header and binary blobs, lengths first, sizes capped."""

from __future__ import annotations

import json
import socket
import struct

LONGEST_HEADER, LONGEST = 64 << 20, 96 << 20  # bytes


class Gone(ConnectionError):
    """The other side has ended, or sent what is no message."""


def send(channel: socket.socket, header: dict, blobs: list[bytes] = ()) -> None:
    """One message; Gone where nobody listens any more."""
    data = json.dumps(header | {"blobs": [len(b) for b in blobs]}).encode()
    try:
        channel.sendall(struct.pack(">Q", len(data)) + data)
        for blob in blobs:
            channel.sendall(blob)
    except OSError as error:
        raise Gone(str(error)) from None


def receive(channel: socket.socket) -> tuple[dict, list[bytes]]:
    """The next message; Gone at the end of the stream, or where sizes are beyond the caps."""
    (length,) = struct.unpack(">Q", _exactly(channel, 8))
    if length > LONGEST_HEADER:
        raise Gone("a header that is too long")
    try:
        header = json.loads(_exactly(channel, length))
        sizes = header.pop("blobs")
        if not all(type(n) is int and 0 <= n <= LONGEST for n in sizes) or sum(sizes) > LONGEST:
            raise Gone("blobs that are too long")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Gone("no message") from None
    return header, [_exactly(channel, size) for size in sizes]


def _exactly(channel: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        try:
            part = channel.recv(min(length - len(data), 1 << 20))
        except OSError as error:
            raise Gone(str(error)) from None
        if not part:
            raise Gone("the other side has ended")
        data += part
    return bytes(data)
