"""Hosts on loopback: a CA, a server with a certificate for localhost, and a proxy."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path


class Authority:
    """A CA of its own, with a certificate for ``localhost``."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o755)
        self.certificate, self.key, self.chain = (directory / name for name in ("ca.pem", "ca.key", "host.pem"))
        request, extra = directory / "host.csr", directory / "extra"
        new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj"]
        self._run(*new, "/CN=CA of a test", "-x509", "-days", "2", "-keyout", self.key, "-out", self.certificate)
        self._run(*new, "/CN=localhost", "-keyout", directory / "host.key", "-out", request)
        extra.write_text("subjectAltName=DNS:localhost\n")
        sign = ["openssl", "x509", "-req", "-days", "2", "-CAcreateserial", "-CA", self.certificate, "-CAkey", self.key]
        self._run(*sign, "-in", request, "-extfile", extra, "-out", self.chain)
        self.certificate.chmod(0o644)
        self.host_key = directory / "host.key"

    @staticmethod
    def _run(*argv: str | Path) -> None:
        subprocess.run([str(word) for word in argv], check=True, capture_output=True)

    def context(self) -> ssl.SSLContext:
        """For a server that is ``localhost``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.host_key)
        return context


class Server:
    """Answers each connection in a thread of its own."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def name(self) -> str:
        return f"localhost:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                threading.Thread(target=self._served, args=(connection,), daemon=True).start()

    def _served(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(5)
            self.serve(connection)

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


class TlsHost(Server):
    """Shakes hands, and counts how often."""

    def __init__(self, authority: Authority) -> None:
        self.context = authority.context()
        self.shaken = threading.Event()
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        with self.context.wrap_socket(connection, server_side=True) as inside:
            self.shaken.set()
            inside.recv(1)

    def wait_for_handshake(self) -> bool:
        return self.shaken.wait(5)


class Proxy(Server):
    """Connects as CONNECT asks it to, or gives another answer; over TLS if it is given a CA."""

    answer: bytes | None = None
    pause = 0.0

    def __init__(self, authority: Authority | None = None) -> None:
        self.requests: list[list[str]] = []
        self.context = authority.context() if authority else None
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte or len(head) > 4096 or (head and not b"CONNECT ".startswith(head[:8]) and len(head) > 8):
                return
            head += byte
        self.requests.append(head.decode().splitlines())
        if self.answer is not None:
            for part in [self.answer] if not self.pause else [self.answer[n : n + 1] for n in range(len(self.answer))]:
                connection.sendall(part)
                time.sleep(self.pause)
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        with socket.create_connection((host, int(port)), 5) as beyond:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")
            back = threading.Thread(target=self._copy, args=(beyond, connection), daemon=True)
            back.start()
            self._copy(connection, beyond)
            back.join(5)

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
