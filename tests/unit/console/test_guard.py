"""The console by raw HTTP: who is let in, what is refused, and that nothing is done by it."""

import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from labkit.ops import drive as desk
from labkit.results import Result
from tests.support.console import TOKEN, Console

ACTIONS = ("retry", "give-up", "take-back")
ID = "goods.7"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console in which one event is stuck."""
    console = Console(tmp_path_factory.mktemp("console"))
    console.stick(7, "ZeroDivisionError")
    console.await_shown(ID)
    yield console
    console.close()


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The calls that reach the admin service: verb and id. No service answers here."""
    reached: list[tuple[str, str]] = []

    async def drive(_home: Any, verb: str, id: str) -> Result[None]:
        reached.append((verb, id))
        return Result[None].ok(message="done")

    monkeypatch.setattr(desk, "drive", drive)
    return reached


def client(console: Console, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=console.base, headers=headers, trust_env=False)


@pytest.fixture
def stranger(console: Console) -> Iterator[httpx.Client]:
    """Another user of the machine: reaches the port, and has no token."""
    with client(console) as http:
        yield http


@pytest.fixture
def friend(console: Console) -> Iterator[httpx.Client]:
    """A client that was handed the whole address."""
    with client(console) as http:
        assert http.get("/", params={"token": TOKEN}).status_code == 200
        yield http


def form(page: str) -> dict[str, str]:
    """The hidden fields of a form of the page."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)">', page))


def test_the_token_becomes_a_cookie(stranger: httpx.Client) -> None:
    """The whole address sets a strict cookie that no script reads, shows nothing, and leads on."""
    answer = stranger.get("/", params={"token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie + answer.text
    assert ID not in answer.text
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert '<meta http-equiv="refresh" content="0; url=/">' in answer.text
    page = stranger.get("/")
    assert (page.status_code, ID in page.text, TOKEN in page.text) == (200, True, False)


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/?token=",
        f"/?token={TOKEN[:-1]}",
        f"/?token={TOKEN}x",
        f"/?token={TOKEN}&token=x",
        "/?token=%C3%A9",
        "/trace/1001",
        "/no/such/page",
    ],
)
def test_without_the_token_nothing_is_shown(stranger: httpx.Client, address: str) -> None:
    """No token, a wrong one, or half of it: 403, no cookie, and a page that says where it is."""
    answer = stranger.get(address)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert ID not in answer.text
    assert "csrf" not in answer.text
    assert "labkit status" in answer.text


def test_the_token_itself_is_no_cookie(console: Console, stranger: httpx.Client) -> None:
    """Nor is the cookie's value a token: neither can be tried in the other's place."""
    name = f"labkit-console-{console.port}"
    for value in (TOKEN, "", "é"):
        answer = stranger.get("/", headers={b"Cookie": f"{name}={value}".encode()})
        assert answer.status_code == 403
    with client(console) as friend:
        friend.get("/", params={"token": TOKEN})
        value = friend.cookies[name]
    assert stranger.get("/", params={"token": value}).status_code == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "0.0.0.0:{port}",
        "[::1]:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1:{port}.evil.example",
        "",
    ],
)
def test_another_name_is_refused(
    console: Console, friend: httpx.Client, driven: list[Any], host: str
) -> None:
    """DNS rebinding: a page elsewhere that has its name mean this address gets nothing at all."""
    named = {"Host": host.format(port=console.port)}
    address = {"params": {"token": TOKEN}}
    page = friend.get("/", headers=named)
    entering = friend.get("/", headers=named, **address)
    style = friend.get("/console.css", headers=named)
    body = {"csrf": console.guard.csrf}
    acted = friend.post(f"/retry/{ID}", headers=named, data=body)
    assert {answer.status_code for answer in (page, entering, style, acted)} <= {400, 421}
    assert "set-cookie" not in entering.headers
    assert ID not in page.text
    assert driven == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_who_comes_under_another_name_is_told_the_right_one(
    console: Console, friend: httpx.Client, language: str
) -> None:
    """As through a forwarded port of another number: both addresses are named, and no token."""
    headers = {"Host": "localhost:1", "Accept-Language": language}
    page = friend.get("/", headers=headers)
    assert page.status_code == 421
    for name in ("127.0.0.1", "localhost"):
        assert f"http://{name}:{console.port}/" in page.text
    assert f"ssh -L {console.port}:127.0.0.1:{console.port}" in page.text
    assert TOKEN not in page.text


def test_localhost_is_its_name_too(console: Console, friend: httpx.Client) -> None:
    """As a person types it; and two names at once are none."""
    named = {"Host": f"localhost:{console.port}"}
    assert friend.get("/", headers=named).status_code == 200
    with socket.create_connection(("127.0.0.1", console.port), 10) as raw:
        hosts = f"Host: localhost:{console.port}\r\nHost: evil.example\r\n"
        cookie = "; ".join(f"{name}={value}" for name, value in friend.cookies.items())
        raw.sendall(f"GET / HTTP/1.1\r\n{hosts}Cookie: {cookie}\r\n\r\n".encode())
        assert raw.recv(12).split()[1] in (b"400", b"421")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_form_of_the_page_acts(
    console: Console, friend: httpx.Client, driven: list[tuple[str, str]], action: str
) -> None:
    """A button's request is done once, answered 303, and told on the page."""
    fields = form(friend.get("/").text)
    assert fields == {"csrf": console.guard.csrf}
    for origin in ({}, {"Origin": console.base, "Sec-Fetch-Site": "same-origin"}):
        answer = friend.post(f"/{action}/{ID}", data=fields, headers=origin)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert driven == [(action.replace("-", "_"), ID)]
        driven.clear()
    assert "Done: done." in friend.get("/").text


FOREIGN: dict[str, dict[str, Any]] = {
    "no token in the form": {"data": {}},
    "another token": {"data": {"csrf": "0" * 64}},
    "no ASCII": {"data": {"csrf": "é"}},
    "twice": {"content": "csrf={csrf}&csrf={csrf}"},
    "JSON": {"content": '{"csrf": "{csrf}"}'},
    "in the address": {"params": {"csrf": "{csrf}"}},
    "too much": {"data": {"csrf": "{csrf}", "more": "x" * 5000}},
    "another site": {"data": {"csrf": "{csrf}"}, "headers": {"Origin": "http://evil.example"}},
    "another port": {"data": {"csrf": "{csrf}"}, "headers": {"Origin": "http://127.0.0.1:1"}},
    "no site": {"data": {"csrf": "{csrf}"}, "headers": {"Origin": "null"}},
    "from another site": {"data": {"csrf": "{csrf}"}, "headers": {"Sec-Fetch-Site": "cross-site"}},
    "from another port": {"data": {"csrf": "{csrf}"}, "headers": {"Sec-Fetch-Site": "same-site"}},
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("action", ACTIONS)
def test_what_the_page_did_not_send_is_refused(
    console: Console, friend: httpx.Client, driven: list[Any], action: str, name: str
) -> None:
    """Cross-site request forgery: with the cookie and without the page's own form, nothing."""
    answer = friend.post(f"/{action}/{ID}", **_filled(FOREIGN[name], console.guard.csrf))
    assert answer.status_code in (400, 403)
    assert driven == []


def _filled(value: Any, csrf: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(part, csrf) for key, part in value.items()}
    return value.replace("{csrf}", csrf)


@pytest.mark.parametrize("action", ACTIONS)
def test_no_token_no_action(
    console: Console, stranger: httpx.Client, driven: list[Any], action: str
) -> None:
    """The form's token without a cookie does nothing; nor does the address's token."""
    body = {"csrf": console.guard.csrf}
    for address in (f"/{action}/{ID}", f"/{action}/{ID}?token={TOKEN}"):
        assert stranger.post(address, data=body).status_code == 403
    assert driven == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("action", ACTIONS)
def test_only_post_acts(
    console: Console, friend: httpx.Client, driven: list[Any], action: str, method: str
) -> None:
    """A link, an image or a form that says so cannot press a button."""
    csrf = {"csrf": console.guard.csrf}
    answer = friend.request(method, f"/{action}/{ID}", params=csrf)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert driven == []


def test_every_answer_is_protected(
    console: Console, friend: httpx.Client, driven: list[tuple[str, str]]
) -> None:
    """Nothing inline runs, nothing foreign loads or frames it, nobody keeps it: on every answer."""
    csrf = {"csrf": console.guard.csrf}
    answers = [friend.get(path) for path in ("/", "/console.js", "/console.css", "/trace/1", "/x")]
    answers += [friend.post(f"/retry/{ID}", data=body) for body in (csrf, {})]
    answers += [friend.get("/", params={"token": TOKEN}), friend.get(f"/retry/{ID}")]
    assert driven == [("retry", ID)]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
        assert not re.search(r"<script>|<style>| on\w+=| style=", answer.text)


def test_a_token_is_kept_to_its_owner(tmp_path: Path) -> None:
    """The guard derives what it hands out, so that a page or cookie never tells the token."""
    from labkit.files import write_whole
    from labkit.home import Home

    home = Home(tmp_path / "home").make()
    write_whole(home.console_token_file, TOKEN)
    assert stat.S_IMODE(home.console_token_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("id", ["nonsense", "goods.", "goods.1;x", "platform.1", "goods.９", "a/b"])
def test_what_is_no_id_is_told(console: Console, friend: httpx.Client, id: str) -> None:
    """A button that names nothing does nothing, and the page says why, escaped."""
    answer = friend.post(f"/retry/{id}", data={"csrf": console.guard.csrf})
    assert answer.status_code in (303, 404)
    if answer.status_code == 303:
        assert "an id looks like goods.383" in friend.get("/").text


def test_where_no_service_answers_the_page_says_so(console: Console, friend: httpx.Client) -> None:
    """Pressed for real while goods is away: no error page, but what stood against it."""
    answer = friend.post(f"/give-up/{ID}", data={"csrf": console.guard.csrf}, timeout=20)
    assert answer.status_code == 303
    assert "goods gave no answer to give_up" in friend.get("/").text
