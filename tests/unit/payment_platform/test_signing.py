"""RSA2: only the owner of the key can sign, and only exactly what was signed is believed."""

import base64
import shutil
import string
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from labkit.payment_api import keys
from labkit.payment_api.signing import canonical, read_form, sign, signed, verify
from tests.support.platforming import FOREIGN_KEY, PLATFORM_KEY

PUBLIC = PLATFORM_KEY.public_key()
NOTICE = {"out_trade_no": "17", "total_amount": "5000", "subject": "华为P30", "empty": ""}

names = st.text(st.characters(codec="utf-8", exclude_characters="&="), min_size=1, max_size=8)
values = st.text(st.characters(codec="utf-8", exclude_characters="&"), min_size=1, max_size=12)
forms = st.dictionaries(
    names.filter(lambda name: name not in ("sign", "sign_type")), values, min_size=1, max_size=6
)
quickly = settings(max_examples=60, deadline=None)


def test_the_canonical_string_is_the_specified_one() -> None:
    """Sorted, `key=value`, `&` between; without sign, sign_type and empty values; not encoded."""
    params = {"b": "2 ü", "a": "1=1", "Z": "华", "none": "", "sign": "x", "sign_type": "RSA2"}
    assert canonical(params) == "Z=华&a=1=1&b=2 ü"


def test_openssl_agrees(tmp_path: Path) -> None:
    """A signature is what `openssl dgst -sha256` makes of the canonical string in UTF-8."""
    openssl = shutil.which("openssl")
    assert openssl
    keys.write(tmp_path, keys.PLATFORM, PLATFORM_KEY)
    command = [openssl, "dgst", "-sha256", "-sign", str(tmp_path / "platform.pem")]
    made = subprocess.run(command, input=canonical(NOTICE).encode(), capture_output=True).stdout
    assert base64.b64encode(made).decode() == sign(PLATFORM_KEY, NOTICE)


@quickly
@given(forms)
def test_what_was_signed_is_believed(params: dict[str, str]) -> None:
    """Whatever the parameters hold, Unicode too, and in whatever order they come."""
    message = signed(PLATFORM_KEY, params)
    assert verify(PUBLIC, message)
    assert verify(PUBLIC, dict(reversed(message.items())))


@quickly
@given(forms, st.data())
def test_an_altered_value_is_not_believed(params: dict[str, str], data: st.DataObject) -> None:
    """Any other value of any parameter breaks the signature."""
    name, other = data.draw(st.sampled_from(sorted(params))), data.draw(values)
    assume(params[name] != other)
    assert not verify(PUBLIC, {**signed(PLATFORM_KEY, params), name: other})


@quickly
@given(forms, names, values)
def test_an_added_parameter_is_not_believed(params: dict[str, str], name: str, value: str) -> None:
    """Nothing can be added to what was signed."""
    assume(name not in (*params, "sign", "sign_type"))
    assert not verify(PUBLIC, {**signed(PLATFORM_KEY, params), name: value})


@quickly
@given(forms, st.data())
def test_a_dropped_parameter_is_not_believed(params: dict[str, str], data: st.DataObject) -> None:
    """Nothing can be left out of what was signed, nor renamed, nor moved into its neighbour."""
    message, name = signed(PLATFORM_KEY, params), data.draw(st.sampled_from(sorted(params)))
    rest = {key: value for key, value in message.items() if key != name}
    assert not verify(PUBLIC, rest)
    assert not verify(PUBLIC, {**rest, name + "x": params[name]})
    for neighbour in params.keys() - {name}:
        moved = {**rest, neighbour: f"{rest[neighbour]}&{name}={params[name]}"}
        assert not verify(PUBLIC, moved)


@quickly
@given(forms)
def test_a_foreign_key_is_not_believed(params: dict[str, str]) -> None:
    """Only the owner of the key can sign."""
    assert not verify(PUBLIC, signed(FOREIGN_KEY, params))


def test_one_signature_has_one_spelling() -> None:
    """Any other letter in its place is refused, also the last, of which base64 ignores four bits;
    so are blanks and line ends in between."""
    message = signed(PLATFORM_KEY, NOTICE)
    text = message["sign"]
    letters = string.ascii_letters + string.digits + "+/"
    respelled = {text[:at] + letter + text[at + 1 :] for at in (0, 200, 341) for letter in letters}
    for other in (respelled | {text + "\n", text[:9] + " " + text[9:], text[:-1], text + "="}) - {
        text
    }:
        assert not verify(PUBLIC, {**message, "sign": other})


@pytest.mark.parametrize("sign_type", ["", "RSA", "rsa2", "none"])
def test_another_sign_type_is_refused(sign_type: str) -> None:
    """Nobody can talk the reader into another way of signing."""
    assert not verify(PUBLIC, {**signed(PLATFORM_KEY, NOTICE), "sign_type": sign_type})


@pytest.mark.parametrize("sign", ["", "x", "华", "\ud800", "=" * 344, "A" * 344])
def test_no_signature_is_refused(sign: str) -> None:
    """Nothing, no base64 and no signature are all the same: refused, never an error."""
    assert not verify(PUBLIC, {**signed(PLATFORM_KEY, NOTICE), "sign": sign})
    assert not verify(PUBLIC, NOTICE)


def test_what_reads_as_another_parameter_is_not_signed() -> None:
    """{"a": "1&b=2"} would have the text of {"a": "1", "b": "2"}: it is neither signed nor read."""
    assert verify(PUBLIC, signed(PLATFORM_KEY, {"a": "1", "b": "2", "c": "A&B"}))
    for params in ({"a": "1&b=2"}, {"a&b": "1"}, {"a=b": "1"}, {"": "1"}):
        with pytest.raises(ValueError, match="reads as another"):
            sign(PLATFORM_KEY, params)
    merged = {**signed(PLATFORM_KEY, {"a": "1", "b": "2"}), "a": "1&b=2"}
    del merged["b"]
    assert not verify(PUBLIC, merged)


@quickly
@given(st.dictionaries(names, st.text(st.characters(codec="utf-8")), min_size=1, max_size=6))
def test_a_form_is_read_as_it_was_written(params: dict[str, str]) -> None:
    """Percent-encoding carries every parameter, empty ones too."""
    assert read_form(urlencode(params).encode()) == params


@pytest.mark.parametrize(
    "body",
    [
        b"a=1&a=1",
        b"a=1&a=2",
        b"a=1&%61=2",
        b"a",
        b"a=%ff",
        b"\xff=1",
        b"&",
        b"a=1&&b=2",
        b"&".join(b"a%d=1" % at for at in range(65)),
    ],
)
def test_a_form_that_is_not_plain_is_refused(body: bytes) -> None:
    """A repeated parameter, also in another spelling, no UTF-8, no pairs, or too many."""
    with pytest.raises(ValueError, match=r"repeated|bad query field|decode|fields exceeded"):
        read_form(body)


def test_keys_are_made_once_and_are_their_owners_alone(tmp_path: Path) -> None:
    """Private and public halves belong together, stay the same, and nobody else can read them."""
    folder = tmp_path / "keys"
    keys.make(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    keys.make(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    for name in keys.OWNERS:
        assert (folder / f"{name}.pem").stat().st_mode & 0o777 == 0o600
        assert verify(keys.public(folder, name), signed(keys.private(folder, name), NOTICE))
    assert before["platform.pem"] != before["merchant.pem"]
