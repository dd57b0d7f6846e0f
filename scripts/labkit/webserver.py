#!/usr/bin/python3
"""A web server of the lab: bodies of any size or pace, and a log of who asked.

GET /bytes/N           N bytes at once
GET /slow?seconds=S    one line of 1,000 bytes every 100 ms for S seconds
Each request adds a line "client-address client-port status path" to the access log, when its body has been sent.
"""

import argparse
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import parse_qs, urlsplit

CHUNK = bytes(range(256)) * 256
SLOW_LINE = b"x" * 999 + b"\n"
SLOW_INTERVAL_SECONDS = 0.1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    access_log = None
    log_lock = threading.Lock()

    def do_GET(self):
        url = urlsplit(self.path)
        try:
            if url.path.startswith("/bytes/"):
                self._send_bytes(int(url.path.removeprefix("/bytes/")))
            elif url.path == "/slow":
                self._send_slowly(float(parse_qs(url.query)["seconds"][0]))
            else:
                self._send_bytes(0, status=404)
            self._record("done")
        except (KeyError, ValueError):
            self.send_error(400)
        except OSError as error:
            self.close_connection = True
            self._record(type(error).__name__)

    def _start(self, status, length):
        self.send_response_only(status)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")  # or the client tries to use it again
        self.end_headers()

    def _send_bytes(self, count, status=200):
        self._start(status, count)
        while count > 0:
            count -= self.wfile.write(CHUNK[:count])

    def _send_slowly(self, seconds):
        lines = round(seconds / SLOW_INTERVAL_SECONDS)
        self._start(200, lines * len(SLOW_LINE))
        for _ in range(lines):
            self.wfile.write(SLOW_LINE)
            time.sleep(SLOW_INTERVAL_SECONDS)

    def _record(self, outcome):
        address, port = self.client_address[:2]
        with self.log_lock, open(self.access_log, "a", encoding="ascii") as log:
            log.write(f"{address} {port} {outcome} {self.path}\n")

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True
    address_family = socket.AF_INET

    def server_bind(self):
        """As HTTPServer, but for the look-up of its own name: it would wait for name servers that no namespace has a way to."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--access-log", required=True)
    arguments = parser.parse_args()
    Handler.access_log = arguments.access_log
    open(arguments.access_log, "w", encoding="ascii").close()
    Server(("0.0.0.0", arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
