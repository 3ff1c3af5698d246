"""A line to a PostgreSQL server that counts round trips and can be cut, before a request arrives or its answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Line:
    """Passes on what a client and the server have to say.

    Attributes:
        dsn: where clients find the line.
        round_trips: how often a client asked something since it was last set to 0.
        loses: "request" or "answer": what the line loses next, and is cut then.
    """

    def __init__(self, dsn: str) -> None:
        told = conninfo_to_dict(dsn)
        self._server = str(Path(str(told["host"]), f".s.PGSQL.{told['port']}"))
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.dsn = make_conninfo(dsn, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
        self.round_trips = 0
        self.loses = ""
        self._told = ""
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(30)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                for ends in ((client, server, "request"), (server, client, "answer")):
                    self._threads.append(threading.Thread(target=self._pass_on, args=ends, daemon=True))
                    self._threads[-1].start()

    def _pass_on(self, source: socket.socket, target: socket.socket, what: str) -> None:
        with source, suppress(OSError):
            while said := source.recv(1 << 20):
                if what == "request" and self._told != what:  # a long request comes in several pieces
                    self.round_trips += 1
                self._told = what
                if what == self.loses:
                    self.loses = ""
                    break
                target.sendall(said)
            for end in (source, target):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def line_to(dsn: str) -> Iterator[Line]:
    line = Line(dsn)
    try:
        yield line
    finally:
        line.close()
