"""Stand in for EC2's instance metadata service, version 2: every question needs a token that was asked for first.

boot.py runs it for a guest whose network is qemu's; cloud-init and hst_cloud ask it as they ask the real one.
Source: EC2 User Guide, "Use instance metadata to manage your EC2 instance", and what cloud-init 22.4 was seen to ask.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ADDRESS = "169.254.169.254"
TOKEN = "token-of-the-metadata-service"  # noqa: S105 - of a stand-in


def tree(user_data: str, public_key: str) -> dict[str, str]:
    """Return what is answered by path."""
    identity = {"region": "us-east-1", "availabilityZone": "us-east-1a", "instanceId": "i-0123456789abcdef0"}
    meta = {
        "ami-id": "ami-0123456789abcdef0",
        "hostname": "hst-proof",
        "instance-id": identity["instanceId"],
        "instance-type": "m7i.large",
        "local-hostname": "hst-proof",
        "placement/availability-zone": "us-east-1a",
        "placement/region": "us-east-1",
        "public-keys/0/openssh-key": public_key,
    }
    answers = {f"meta-data/{name}": value for name, value in meta.items()}
    return answers | {"user-data": user_data, "dynamic/instance-identity/document": json.dumps(identity)}


def listing(answers: dict[str, str], path: str) -> str | None:
    """Return the names below a path, one a line, as the service lists a folder; None where there are none."""
    folder = path.rstrip("/") + "/" if path else ""
    below = [name.removeprefix(folder) for name in answers if name.startswith(folder)]
    names = {name.split("/")[0] + ("/" if "/" in name else "") for name in below}
    if folder == "meta-data/public-keys/":
        names = {"0=key"}
    return "\n".join(sorted(names)) or None


class Metadata(BaseHTTPRequestHandler):
    """Answers one question."""

    server: Any

    def do_PUT(self) -> None:
        """Give a token."""
        if self.path == "/latest/api/token" and "X-aws-ec2-metadata-token-ttl-seconds" in self.headers:
            self.say(200, TOKEN)
        else:
            self.say(400, "")

    def do_GET(self) -> None:
        """Tell what is asked, to who has the token."""
        if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            self.say(401, "")
            return
        _, _, path = self.path.removeprefix("/").partition("/")  # the first part is the version of the interface
        answer = self.server.answers.get(path)
        if answer is None:
            answer = listing(self.server.answers, path)
        self.say(404 if answer is None else 200, answer or "")

    def say(self, status: int, text: str) -> None:
        """Send an answer."""
        body = text.encode()
        self.send_response(status)
        self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "21600")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def service(port: int, user_data: str, public_key: str) -> ThreadingHTTPServer:
    """Return the service on loopback; the caller runs it and closes it."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Metadata)
    server.answers = tree(user_data, public_key)  # type: ignore[attr-defined] - the handler reads it there
    return server
