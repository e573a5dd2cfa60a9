"""What the orchestrator needs of an Engine, in a program that starts in no time."""

import hashlib
import http.server
import json
import os
import signal
import sqlite3
from pathlib import Path

KEYS = {os.environ["ENGINE_KEY_HASH"]}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(200, {"status": "ok", "activity": {"idle_seconds": 0}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = hashlib.sha256(self.headers["x-engine-key"].encode()).hexdigest()
        if key not in KEYS:
            return self._answer(401, {"error": "INVALID_KEY"})
        KEYS.add(body["key_hash"])
        self._answer(200, {"overlap_seconds": body["overlap_seconds"]})

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the parent's name
        pass


def _leave(number: int, frame: object) -> None:
    os._exit(0)


def main() -> None:
    brain = sqlite3.connect(Path(os.environ["SQLITE_DB_PATH"]))
    brain.execute("CREATE TABLE IF NOT EXISTS boots (at REAL DEFAULT (unixepoch('subsec')))")
    brain.execute("INSERT INTO boots DEFAULT VALUES")
    brain.commit()
    if os.environ.get("TOY_STUBBORN"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, _leave)
    address = ("127.0.0.1", int(os.environ["ENGINE_PORT"]))
    http.server.ThreadingHTTPServer(address, Handler).serve_forever()


if __name__ == "__main__":
    main()
