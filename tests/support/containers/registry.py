"""An image registry on the loopback that holds one small image, tiny:1."""

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _image() -> tuple[bytes, dict[str, bytes]]:
    """A manifest, and digest → blob."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("tiny"))
    layer = gzip.compress(plain.getvalue())
    roots = {"type": "layers", "diff_ids": [_digest(plain.getvalue())]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": roots}).encode()
    described = [
        {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}
        for kind, blob in ((_CONFIG, config), (_LAYER, layer))
    ]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": described[0],
            "layers": described[1:],
        }
    ).encode()
    return manifest, {_digest(config): config, _digest(layer): layer}


class _Registry(BaseHTTPRequestHandler):
    manifest, blobs = _image()

    def do_HEAD(self) -> None:  # the library's name
        self.do_GET()

    def do_GET(self) -> None:  # the library's name
        if self.path == "/v2/":
            return self._answer(b"{}", "application/json")
        if "/manifests/" in self.path:
            return self._answer(self.manifest, _MANIFEST)
        return self._answer(self.blobs[self.path.rpartition("/")[2]], "application/octet-stream")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", _digest(body))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def registry() -> Iterator[str]:
    """The registry for a block: its `host:port`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
