"""A web server with virtual hosts: run in a container, as `python3 -c THIS NAME SITE…`.

Told apart by the Host header, as public servers do it: another Host, or none, gets 404. A site's
pages say who answers (/hostname) and which client was seen (/clientip); / greets.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 80


class Server(ThreadingHTTPServer):
    """The server, with its name and its sites."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, name: str, sites: list[str]) -> None:
        super().__init__(("", port), Page)
        self.name = name
        self.sites = sites


class Page(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one packet
    server: Server

    def do_GET(self) -> None:
        site = self.headers.get("Host", "").partition(":")[0].lower()
        client = f"{self.client_address[0]}:{self.client_address[1]}"
        pages = {
            "/": f"Welcome to {site}\n",
            "/hostname": self.server.name,
            "/clientip": client,
        }
        if site not in self.server.sites:
            self.answer(404, f"{self.server.name} has no site {site!a}\n")
        elif self.path in pages:
            self.answer(200, pages[self.path])
        else:
            self.answer(404, f"{site} has no page {self.path!a}\n")

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: nobody reads it."""


if __name__ == "__main__":
    Server(PORT, sys.argv[1], sys.argv[2:]).serve_forever()
