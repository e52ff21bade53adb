"""Who may talk to the review server."""

import pytest
from starlette.testclient import TestClient

from gradsift.errors import SettingError
from gradsift.review.app import make_app
from gradsift.review.guard import Doors, Guard, read_tokens
from tests.support.review_page import ORIGIN, PORT, client_of, desk_of, run_on_images

TOKEN = "a-token-of-more-than-thirty-two-characters"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    with desk_of(run_on_images(tmp_path_factory.mktemp("guard") / "run", size=60, wrong=12)) as desk:
        yield desk


@pytest.fixture
def client(desk):
    return client_of(desk)


def stranger(desk, doors=None, *, loopback=True, names=frozenset(), base=ORIGIN):
    app = Guard(make_app(desk), doors or Doors(PORT), loopback=loopback, names=names)
    return TestClient(app, base_url=base, follow_redirects=False)


def test_nothing_is_shown_without_the_token(desk):
    client = stranger(desk)
    for path in (
        "/",
        "/state",
        "/queue",
        "/card/0",
        "/header",
        "/static/review.js",
        "/style.css",
        "/?token=wrong",
        "/nothing",
    ):
        answer = client.get(path)
        assert answer.status_code == 403
        assert "gradsift review prints" in answer.text


def test_a_link_opens_once_and_becomes_a_cookie_that_no_script_reads(desk):
    doors = Doors(PORT)
    client, link = stranger(desk, doors), f"/?token={doors.new_link('ann')}"
    first = client.get(link)
    assert (first.status_code, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"]
    assert f"gradsift_review_{PORT}=" in cookie
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
    assert "ann" in client.get("/").text
    assert client.get(link).status_code == 303  # who has the cookie may come again
    assert stranger(desk, doors).get(link).status_code == 403


def test_a_token_of_a_file_opens_again_and_again_and_names_its_reviewer(desk, tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"Ann Lee {TOKEN}\n\n{TOKEN[::-1]}\n")
    file.chmod(0o600)
    doors = Doors(PORT, read_tokens(file, "bob"))
    for token, name in ((TOKEN, "Ann Lee"), (TOKEN[::-1], "bob"), (TOKEN, "Ann Lee")):
        client = stranger(desk, doors)
        client.get(f"/?token={token}")
        assert client.get("/state").json()["reviewer"] == name


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("short\n", 0o600, "at least 32"),
        ("\n", 0o600, "no token"),
        (TOKEN, 0o644, "chmod 600"),
        (None, 0, "cannot be read"),
    ],
)
def test_a_file_of_tokens_that_does_not_work_is_refused(tmp_path, text, mode, words):
    file = tmp_path / "tokens"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    with pytest.raises(SettingError, match=words):
        read_tokens(file, "ann")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8765",
        "127.0.0.1:80",
        "127.0.0.1",
        "192.168.0.7:8765",
        "localhost.evil.example:8765",
        "",
        "[::1:8765",
        "a:b:c",
    ],
)
def test_a_name_that_is_not_ours_is_refused(client, host):
    assert client.get("/state", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "LOCALHOST:8765"])
def test_names_of_this_machine_are_ours(client, host):
    assert (
        client.get(
            "/state", headers={"host": host, "cookie": "; ".join(f"{k}={v}" for k, v in client.cookies.items())}
        ).status_code
        == 200
    )


def test_beyond_this_machine_addresses_and_its_own_name_are_ours(desk):
    client = stranger(desk, loopback=False, names=frozenset({"box.lab"}))
    for host, status in (("box.lab:8765", 403), ("10.1.2.3:8765", 403), ("evil.example:8765", 421)):
        assert client.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1:9999", "https://127.0.0.1:8765"]
)
def test_only_the_page_itself_may_decide(client, desk, origin):
    headers = {} if origin is None else {"origin": origin}
    client.headers.pop("origin")
    answer = client.post("/decide", json={"positions": [0], "kind": "drop"}, headers=headers)
    assert answer.status_code == 403
    assert desk.book.own("ann", 0) is None


def test_forms_of_other_sites_and_huge_bodies_are_refused(client):
    assert (
        client.post("/decide", content=b'{"positions": [0]}', headers={"content-type": "text/plain"}).status_code == 415
    )
    assert client.post("/undo", content=iter([b"{}"]), headers={"content-type": "application/json"}).status_code == 413
    big = {"content-type": "application/json", "content-length": str(10**9)}
    assert client.post("/undo", content=b"{}", headers=big).status_code == 413
    assert client.get("/card/0", headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_every_answer_forbids_inline_code_frames_and_caches(client):
    for path in ("/", "/card/0", "/static/review.js", "/nothing", "/queue?low=x"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/card/../../etc/passwd",
        "/card/-1",
        "/card/60",
        "/card/1e3",
        "/sample/data.npz",
    ],
)
def test_files_are_served_by_position_alone(client, path):
    assert client.get(path).status_code == 404


def test_other_methods_are_refused(client):
    assert client.put("/decide", json={}).status_code == 405
    assert client.get("/decide").status_code == 405
