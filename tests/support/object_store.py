"""A server that speaks S3, on the loopback: moto behind a layer that can fail, cut connections and deny."""

import contextlib
import logging
import random
import socket
import struct
import threading

import fsspec
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>%s</Message></Error>"


class Quiet(WSGIRequestHandler):
    """Ends silently where a connection was cut."""

    def log(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def finish(self):
        with contextlib.suppress(OSError, ValueError):
            super().finish()


class Faults:
    """Fails a share of the requests: half with a 503, half by a cut connection, before or after the work is done."""

    def __init__(self, application):
        self._application, self._random = application, random.Random(0)
        self.share, self.denied, self.failed, self.served = 0.0, "", 0, 0

    def __call__(self, environ, start_response):
        self.served += 1
        if (
            self.denied
            and environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE")
            and self.denied in environ["PATH_INFO"]
        ):
            return self._answer(environ, start_response, "403 Forbidden", b"AccessDenied", b"Access Denied")
        chance = self._random.random()
        if chance >= self.share:
            return self._application(environ, start_response)
        self.failed += 1
        if chance < self.share / 2:
            return self._answer(
                environ, start_response, "503 Slow Down", b"SlowDown", b"Please reduce your request rate."
            )
        if chance < self.share * 3 / 4:  # what was asked for is done, but the answer is lost
            b"".join(self._application(environ, lambda *_: None))
        connection = environ["werkzeug.socket"]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
        connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError

    @staticmethod
    def _answer(environ, start_response, status, code, message):
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(status, [("Content-Type", "application/xml")])
        return [SLOW_DOWN % (code, message)]


@contextlib.contextmanager
def object_store(monkeypatch, bucket="bucket"):
    """Serves an empty bucket; the environment points boto and s3fs, also of child processes, to it."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    application = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    values = {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    fresh()
    fsspec.filesystem("s3").mkdir(bucket)
    try:
        yield application
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        fresh()
        from moto.backends import get_backend

        get_backend("s3").reset()


def fresh():
    """Forgets the clients of fsspec, which keep the address that they began with."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()


def keys(prefix):
    """Names of all objects below."""
    return sorted(fsspec.filesystem("s3", use_listings_cache=False).find(prefix))
