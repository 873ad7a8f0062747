"""Traces leave for the endpoint that is set."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

SCRIPT = """
import sys
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import trace
from app.settings import Settings
from app.telemetry import instrument

app = FastAPI()
app.get("/hello")(lambda: "hello")
instrument(app, Settings(_env_file=None, telemetry_url=sys.argv[1]))
assert TestClient(app).get("/hello").status_code == 200
trace.get_tracer_provider().shutdown()
"""


def test_a_request_is_traced_to_the_endpoint() -> None:
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/traces"
    # In a process of its own, since a tracer provider is set once and for all.
    subprocess.run([sys.executable, "-c", SCRIPT, url], check=True, timeout=120, env={"PYTHONPATH": ".", "PATH": ""})
    server.shutdown()
    server.server_close()
    assert received[0][0] == "/v1/traces"
    assert b"GET /hello" in received[0][1]
