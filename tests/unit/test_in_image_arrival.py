"""Which requests need no thread, and the socket that gunicorn's handling gets of them."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from packager.programs.image.answer import Answer
from packager.programs.image.arrival import SMALL, Begun, Whole, arrived

HEAD = b"POST /score HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("data", "state"),
    [
        (b"", "part"),
        (b"GET / HTT", "part"),
        (b"GET / HTTP/1.1\r\n\r\n", "whole"),
        (b"nonsense\r\n\r\n", "whole"),
        (HEAD + b"Content-Length: 2\r\n\r\n{", "part"),
        (HEAD + b"content-length:2\r\n\r\n{}", "whole"),
        (HEAD + b"Content-Length: 2\r\n\r\n{}GET", "whole"),
        (HEAD + b"X: y\r\nContent-Length: 0\r\n\r\n", "whole"),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "other"),
        (HEAD + b"Content-Length: two\r\n\r\n{}", "other"),
        (HEAD + b"Content-Length: -1\r\n\r\n{}", "other"),
        (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", "other"),
        (HEAD + b"Content-Length: %d\r\n\r\n{" % SMALL, "other"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "other"),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", "other"),
        (b"\x16\x03\x01\x02", "part"),
        (bytes(SMALL), "other"),
        # In the body it says nothing.
        (HEAD + b"Content-Length: 28\r\n\r\n\r\nTransfer-Encoding: chunked", "whole"),
    ],
)
def test_what_has_arrived_whole_is_known_by_its_bytes(data: bytes, state: str) -> None:
    assert arrived(data) == state


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    with closing(ours), closing(theirs):
        yield ours, theirs


def never(answer: Answer) -> None:
    raise AssertionError(answer)


def received(sock: socket.socket) -> bytes:
    found = b""
    while chunk := sock.recv(1 << 20):
        found += chunk
    return found


def test_what_was_read_is_read_again(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    whole = Whole(ours, HEAD + b"Content-Length: 3\r\n\r\nabc", never)
    assert whole.recv(4) + whole.recv(1 << 20) == HEAD + b"Content-Length: 3\r\n\r\nabc"
    assert whole.recv(4) == b"", "it waits for nothing more"
    assert whole.body(3) == b"abc"
    begun = Begun(ours, b"abc")
    theirs.sendall(b"def")
    assert [begun.recv(2), begun.recv(2), begun.recv(9)] == [b"ab", b"c", b"def"]
    assert begun.fileno() == ours.fileno()


def test_head_and_body_are_sent_together_and_a_stream_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    gone = list[bool]()
    whole = Whole(ours, b"", never, lambda: gone.append(True))
    whole.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    whole.sendall(b"ab")
    whole.sendfile(io.BytesIO(b"xcdex"), offset=1, count=3)
    theirs.settimeout(10)
    # More than was asked for: unread, it would take the answer back.
    theirs.sendall(b"\r\n")
    whole.close()
    whole.close()
    assert received(theirs) == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde"
    assert gone == [True]


def test_a_head_without_a_body_goes_when_it_is_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    whole = Whole(pair[0], b"", never)
    whole.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    whole.shutdown(socket.SHUT_WR)
    whole.settimeout(0.1)
    assert whole.recv(1) == b""
    whole.close()
    assert received(pair[1]).endswith(b"\r\n\r\n")


def test_what_a_slow_client_does_not_take_is_sent_by_another(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    late, gone = list[Answer](), list[bool]()
    whole = Whole(ours, b"", late.append, lambda: gone.append(True))
    data = bytes(range(256)) * 8192
    for _ in range(2):
        whole.sendall(data)
    whole.close()
    assert len(late) == 1
    assert not gone, "the other closes it"

    def send() -> None:
        for chunk in late[0]:
            ours.sendall(chunk)
        ours.close()

    sender = threading.Thread(target=send)
    sender.start()
    assert received(theirs) == data * 2
    sender.join()


def test_a_client_that_left_is_an_error_of_the_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    late = list[Answer]()
    whole = Whole(pair[0], b"", late.append)
    whole.sendall(bytes(10 << 20))
    late[0].close()
    with pytest.raises(BrokenPipeError):
        whole.sendall(b"more")
    whole = Whole(pair[0], b"", never)
    pair[1].close()
    with pytest.raises(OSError, match="ipe"):
        whole.sendall(b"more")
