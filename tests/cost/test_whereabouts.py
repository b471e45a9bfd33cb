"""Where this machine is: what is believed, what is asked, and that nothing is asked where nobody may."""

from __future__ import annotations

import http.server
import threading
import time
import warnings

import pytest

import hst_cloud as hst
from hst_cloud.cost import whereabouts
from hst_cloud.cost.whereabouts import PATIENCE, known_path, look
from hst_cloud.errors import HSTCloudWarning, QueryError

TOKEN = "t0ken=="


class Metadata:
    """An instance metadata service that gives a region to those who have a token."""

    def __init__(self, region="us-east-1", *, status=200, delay=0.0):
        self.asked = []
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                time.sleep(delay)
                service.asked.append((self.command, self.path))
                token = self.headers.get("X-aws-ec2-metadata-token") == TOKEN
                body, code = (TOKEN, status) if self.command == "PUT" else (region, 200 if token else 401)
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_PUT = answer  # noqa: N815  # as http.server calls them

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # who gave up waiting does not read
        self.address = "127.0.0.1:{1}".format(*self.server.server_address)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def firmware(tmp_path):
    """Return a function that makes what Linux shows of a machine."""

    def made(**lines):
        for name, text in lines.items():
            (tmp_path / name).write_text(text + "\n")
        return tmp_path

    return made


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """Let each test look for itself, as long as a busy machine takes to answer."""
    monkeypatch.setattr(whereabouts, "PATIENCE", 30)
    whereabouts._found.cache_clear()
    whereabouts._warn.cache_clear()
    yield
    whereabouts._found.cache_clear()
    whereabouts._warn.cache_clear()


# --- Looking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [{"sys_vendor": "Amazon EC2"}, {"board_asset_tag": "i-0abc", "sys_vendor": "Xen"}])
def test_an_instance_is_asked_with_a_token(firmware, said):
    """Two requests: the second one carries what the first one gave."""
    with Metadata("eu-west-1") as service:
        seen = look(firmware=firmware(**said), metadata=service.address)
    assert seen == ("eu-west-1", "the instance metadata service says so")
    assert service.asked == [("PUT", "/latest/api/token"), ("GET", "/latest/meta-data/placement/region")]


def test_elsewhere_nothing_is_asked(firmware):
    """Off EC2 the address may be anybody's."""
    with Metadata() as service:
        seen = look(firmware=firmware(sys_vendor="LENOVO"), metadata=service.address)
        assert seen.region == ""
        assert "LENOVO" in seen.how
        unknown = look(firmware=firmware().joinpath("nowhere"), metadata=service.address)
        assert unknown.region is None
        assert "cannot be told" in unknown.how
        forbidden = look(forbidden=True, firmware=firmware(sys_vendor="Amazon EC2"), metadata=service.address)
        assert forbidden.region is None
        assert "AWS_EC2_METADATA_DISABLED" in forbidden.how
    assert service.asked == []


def test_a_service_that_does_not_answer_costs_300_ms(firmware, monkeypatch):
    """Hubs block the address by swallowing what is sent there."""
    monkeypatch.setattr(whereabouts, "PATIENCE", PATIENCE)
    with Metadata(delay=9) as service:
        began = time.monotonic()
        seen = look(firmware=firmware(sys_vendor="Amazon EC2"), metadata=service.address)
        assert time.monotonic() - began < 5
    assert seen.region is None
    assert "within 0.3 s" in seen.how


@pytest.mark.parametrize(
    ("service", "why"),
    [
        ({"status": 403}, "HTTP 403 to PUT /latest/api/token"),
        ({"region": "<html>captive</html>"}, "'<html>captive</html>' is no region"),
        ({"region": ""}, "'' is no region"),
    ],
)
def test_strange_answers_are_no_region(firmware, service, why):
    """What is not a region's name is not believed."""
    with Metadata(**service) as running:
        seen = look(firmware=firmware(sys_vendor="Amazon EC2"), metadata=running.address)
    assert seen.region is None
    assert why in seen.how


def test_a_refused_connection_is_no_region(firmware):
    """Nobody listens there."""
    seen = look(firmware=firmware(sys_vendor="Amazon EC2"), metadata="127.0.0.1:9")
    assert seen.region is None
    assert "refused" in seen.how


# --- where() ---------------------------------------------------------------------------------------------------------


def test_a_setting_is_believed_first(monkeypatch):
    """Whoever makes an image knows; variables of AWS's tools are hints and no proof."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert hst.where().in_region is not True
    assert hst.where().hints["AWS_REGION"] == "us-east-1"
    monkeypatch.setenv("HST_CLOUD_REGION", "us-east-1")
    place = hst.where()
    assert (place.in_region, place.region, place.path) == (True, "us-east-1", "in region")
    assert place.how == "HST_CLOUD_REGION says so"
    assert place.public
    assert place.link == "region"
    assert place.advice == ""
    monkeypatch.setenv("HST_CLOUD_REGION", "none")
    monkeypatch.setenv("HST_CLOUD_LINK", "far")
    place = hst.where()
    assert (place.in_region, place.region, place.path) == (False, "", "internet")
    assert "outside AWS" in str(place)
    assert "something within AWS" in place.gateway


def test_the_wrong_region_is_warned_of_once(monkeypatch):
    """The warning names both regions and points to the line that asked."""
    monkeypatch.setenv("HST_CLOUD_REGION", "us-west-2")
    with pytest.warns(HSTCloudWarning, match=r"in us-west-2, the bucket in us-east-1.*HST_CLOUD_LINK=far") as caught:
        place = hst.where()
    assert caught[0].filename == __file__
    assert place.path == "cross region"
    assert "HST_CLOUD_LINK=far" in place.advice
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hst.where()


def test_another_endpoint_is_told(monkeypatch):
    """Whoever set it long ago sees it."""
    monkeypatch.setenv("HST_CLOUD_REGION", "us-west-2")
    monkeypatch.setenv("HST_CLOUD_ENDPOINT", "http://127.0.0.1:9")
    place = hst.where()
    assert not place.public
    assert "http://127.0.0.1:9/stpubdata (not the public bucket)" in str(place)
    monkeypatch.setenv("HST_CLOUD_STORE", "/data/work")
    assert "/data/work (not the public bucket)" in str(hst.where())


def test_a_gateway_cannot_be_seen(monkeypatch):
    """What is printed says so, what it would cost, and how to look; a setting ends the doubt."""
    monkeypatch.setenv("HST_CLOUD_REGION", "us-east-1")
    text = str(hst.where())
    assert "cannot be seen from here" in text
    assert "USD 0.045 a GB" in text
    assert "describe-route-tables" in text
    for said, known in (("no", False), ("yes", True)):
        monkeypatch.setenv("HST_CLOUD_NAT", said)
        assert hst.where().nat is known
        assert hst.where().gateway == f"{said}: HST_CLOUD_NAT says so"


@pytest.mark.parametrize(
    ("name", "value"), [("HST_CLOUD_REGION", "Virginia"), ("HST_CLOUD_NAT", "perhaps"), ("HST_CLOUD_LINK", "slow")]
)
def test_settings_that_make_no_sense_are_told(monkeypatch, name, value):
    """By name and value."""
    monkeypatch.setenv(name, value)
    with pytest.raises(QueryError, match=rf"(?i){name} is '{value}'"):
        hst.where()


def test_what_was_found_is_remembered(monkeypatch):
    """The path is known to budgets and reports only after somebody asked."""
    assert known_path() is None
    whereabouts._found().append(whereabouts.Seen("us-east-1", "it was seen"))
    assert known_path() == "in region"
    assert hst.where().how == "it was seen"
    monkeypatch.setenv("HST_CLOUD_REGION", "none")
    assert known_path() == "internet"
