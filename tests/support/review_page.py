"""A review page on a small run: its application, its server, and a browser on it."""

import socket
import threading
from contextlib import contextmanager

import numpy as np
import uvicorn
from starlette.testclient import TestClient

import gradsift
from gradsift.cleaning.decisions import Decisions
from gradsift.review.app import make_app
from gradsift.review.desk import Desk
from gradsift.review.guard import Doors, Guard

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=alert(1)> \x1b[31m \u202e \"'>"
    "<style>*{display:none}</style>"
)
PORT = 8765
ORIGIN = f"http://127.0.0.1:{PORT}"


def images(size=400, wrong=120):
    """Small images of three classes, of which some have another label; probabilities that know better."""
    generator = np.random.default_rng(0)
    true = generator.integers(0, 3, size)
    pictures = np.eye(3)[true].repeat(12, axis=1).reshape(size, 1, 6, 6) + 0.5 * generator.random((size, 1, 6, 6))
    given = np.where(np.arange(size) < wrong, (true + 1) % 3, true)
    probabilities = 0.05 + 0.02 * generator.random((size, 3)) + 0.85 * np.eye(3)[true]
    return pictures.astype(np.float32), given, probabilities / probabilities.sum(axis=1, keepdims=True)


def run_on_images(output, size=400, wrong=120, class_names=("cat", "dog", "a rather long name of a class")):
    pictures, given, probabilities = images(size, wrong)
    return gradsift.audit_predictions(
        given, probabilities, features=pictures.reshape(size, -1), data=(pictures, given), class_names=list(class_names),
        out_of_fold=True, contamination=wrong / size, output=output, show_progress=False,
    )  # fmt: skip


def run_on_texts(output, text=HOSTILE, size=60):
    generator = np.random.default_rng(0)
    given = generator.integers(0, 2, size)
    rows = [
        {"text": f"{text} number {place}", "label": int(label), "id": f"<i>{place}"}
        for place, label in enumerate(given)
    ]
    probabilities = np.eye(2)[np.where(np.arange(size) < 10, 1 - given, given)] * 0.8 + 0.1
    return gradsift.audit_predictions(
        given, probabilities, data=rows, class_names=["<b>ham</b>", "spam"], contamination=0.2, output=output,
        show_progress=False,
    )  # fmt: skip


@contextmanager
def desk_of(audit, **options):
    with Decisions.open(audit.run.path) as decisions:
        yield Desk(audit, decisions, audit.train_set, **options)


def client_of(desk, reviewer="ann", **options):
    """A client that has a session, and the doors."""
    doors = Doors(PORT)
    app = Guard(make_app(desk), doors, loopback=True)
    client = TestClient(app, base_url=ORIGIN, raise_server_exceptions=False, **options)
    assert client.get(f"/?token={doors.new_link(reviewer)}").status_code == 200
    client.headers["origin"] = ORIGIN
    return client


@contextmanager
def served(desk, reviewer="ann"):
    """The page on a real socket; gives the link."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    doors = Doors(listening.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(Guard(make_app(desk), doors, loopback=True), log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{doors.port}/?token={doors.new_link(reviewer)}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def page_on(browser, link, *, width=1280, height=900, scheme="light", touch=False):
    """A tab on a link, with what the console and the network said."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=touch, is_mobile=touch
    )
    tab = context.new_page()
    tab.troubles, tab.requests = [], []
    tab.on("console", lambda message: tab.troubles.append(message.text))
    tab.on("pageerror", lambda error: tab.troubles.append(str(error)))
    tab.on("request", lambda request: tab.requests.append(request.url))
    tab.goto(link)
    ready(tab)
    yield tab
    context.close()


def ready(tab):
    """Waits until a card is shown and nothing waits to be saved."""
    tab.wait_for_selector("body[data-shown][data-waiting='0']")
