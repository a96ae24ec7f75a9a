from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote

import pytest

from mmgic.download import addresses
from mmgic.download.fetch import as_it_came, opt_out, retry_after
from mmgic.images import read_image


def outcomes(rows):
    return [row["reason"] or "kept" for row in rows]


def test_private_addresses_are_refused_whatever_names_them(site, download):
    hosts = ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "0x7f.1", "0.0.0.0")
    urls = [site.url("png/1", host) for host in hosts]
    rows = download(*urls, "http://169.254.169.254/latest/meta-data/", allow_private_addresses=False)
    assert set(outcomes(rows)) == {"download_refused"}
    assert not site.seen
    assert "does not lead to an address of the public internet" in rows[0]["detail"]


@pytest.fixture
def one_public_address(monkeypatch):
    """Takes 127.0.0.1 for the public internet, and nothing else."""
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")


@pytest.mark.usefixtures("one_public_address")
def test_every_redirect_is_checked_again(site, download):
    inside = site.url("png/2", "127.0.0.2")
    rows = download(
        site.url("png/1"),
        site.url("go//png/1"),
        site.url(f"go/{inside}"),
        site.url(f"go/{site.url(f'go/{inside}')}"),
        site.url("go/file:///etc/passwd"),
        site.url("go/ftp://127.0.0.1/x"),
        allow_private_addresses=False,
    )
    assert outcomes(rows) == ["kept", "kept", *["download_refused"] * 4]
    assert site.seen["png/2"] == 0
    assert "127.0.0.2" in rows[2]["detail"]
    assert "file is neither http nor https" in rows[4]["detail"]


@pytest.mark.usefixtures("one_public_address")
def test_a_name_that_changes_its_address_is_refused_when_it_does(site, download, monkeypatch):
    answers = ["127.0.0.1", "127.0.0.2"]
    look_up = socket.getaddrinfo

    def rebinding(host, *arguments, **options):
        return look_up(answers.pop(0) if host == "rebinding.test" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = site.url("png/1", "rebinding.test")
    first, second = (download(url, allow_private_addresses=False)[0] for _ in range(2))
    assert (first["reason"], second["reason"]) == ("", "download_refused")
    assert not answers


def test_only_http_urls_are_asked_for(download):
    rows = download("ftp://example.org/a.jpg", "file:///etc/passwd", "http://", "http://[nonsense/", "data:image/png,x")
    assert outcomes(rows) == ["download_refused"] * 2 + ["download_failed"] * 2 + ["download_refused"]


@pytest.mark.parametrize(
    "tail",
    [
        "?X-Amz-Credential=AKIA%2F20260101%2Fus-east-1&X-Amz-Signature=a%2Bb%3D&X-Amz-Date=20260101T000000Z",
        "?sig=a+b%20c%7Ed&se=2026-01-01T00%3A00%3A00Z",
        "?url=https%3A%2F%2Fexample.org%2Fa%2520b.jpg%3Fw%3D1%26h%3D2",
        "?src=https://example.org/a.jpg?w=1&h=2",
        "/https://example.org/a//b.jpg",
        "/a%2Fb/../%2e%2e/c;v=1/d,e(f)[g]'h'!$*@:=|^`{}%zz",
        "?a&b=&=c&&d=%",
    ],
)
def test_urls_go_out_as_they_came(site, download, tail):
    rows = download(site.url(f"postscript{tail}"), site.url(f"go/{quote(site.url(f'postscript{tail}'), safe='')}"))
    assert outcomes(rows) == ["image_undecodable"] * 2
    assert [target for target in site.targets if target.startswith("/postscript")] == [f"/postscript{tail}"] * 2


def test_only_what_no_request_can_carry_is_encoded(site, download):
    rows = download(site.url("postscript/caf\u00e9 1%20.jpg?q=\u00fc"), site.url("go/%2Fpostscript%2Fcaf%C3%A9"))
    assert outcomes(rows) == ["image_undecodable"] * 2
    # a header's bytes beyond ASCII are sent as these bytes
    assert {"/postscript/caf%C3%A9%201%20.jpg?q=%C3%BC", "/postscript/caf%E9"} <= set(site.targets)
    assert str(as_it_came("HTTPS://B\u00fccher.example:8443/a?b#c")) == "https://xn--bcher-kva.example:8443/a?b"


def test_too_many_redirects(site, download):
    [row] = download(site.url("loop/0"))
    assert (row["reason"], row["detail"]) == ("download_failed", "more than 5 redirects")
    assert site.seen.total() == 6


def test_size_limit_holds_whatever_the_server_says(site, download):
    rows = download(site.url("announced/5000000"), site.url("endless/"), site.url("zipped/"))
    assert outcomes(rows) == ["image_too_large", "image_too_large", "download_failed"]
    assert "compressed" in rows[2]["detail"]


def test_what_is_no_image_and_what_is_a_bomb(site, download):
    rows = download(*map(site.url, ("text/", "broken/300", "broken/0", "bomb/", "postscript/", "status/404")))
    assert outcomes(rows) == [
        "download_failed",
        "image_undecodable",
        "image_undecodable",
        "image_too_large",
        "image_undecodable",
        "download_failed",
    ]
    assert rows[0]["detail"] == "text/html; charset=utf-8 instead of an image"
    assert rows[5]["detail"] == "HTTP 404"
    assert site.seen["status/404"] == 1


def test_busy_servers_are_asked_again_and_gone_ones_given_up(site, download):
    rows = download(site.url("busy/"), site.url("status/500/a"), site.url("cut/1"), retries=2)
    assert outcomes(rows) == ["kept", "download_failed", "download_failed"]
    assert [site.seen[path] for path in ("busy/", "status/500/a", "cut/1")] == [3, 3, 3]
    assert rows[1]["detail"] == "HTTP 500"
    [row] = download(site.url("busy/0"), retries=1)
    assert row["detail"] == "HTTP 503"


def test_no_answer_is_told_apart_from_a_bad_one(site, download, closed_port):
    urls = (f"http://127.0.0.1:{closed_port}/", "http://there-is-no-such-host.test/", "http://x.invalid/")
    rows = download(*urls, site.url("status/410"), retries=0)
    assert outcomes(rows) == ["host_unreachable", "host_unreachable", "download_failed", "download_failed"]
    assert rows[2]["detail"] == "there is no host x.invalid"


def test_retry_after_is_kept_and_a_long_wait_given_up(site, download):
    [row] = download(site.url("busy/1"))
    assert row["keep"]
    first, second, third = site.times
    assert second - first > 0.95
    assert third - second > 0.95
    [row] = download(site.url("busy/3600"))
    assert row["detail"] == "HTTP 503, asks to wait 3600 s"
    assert site.seen["busy/3600"] == 1


def test_slow_servers_time_out_and_silent_ones_are_left_alone(site, download):
    urls = [site.url(f"wait/9/{i}") for i in range(12)]
    limits = {"timeout_s": 0.5, "retries": 0, "per_host": 1, "max_failure_rate": 1}
    rows = download(*urls, site.url("png/1", "localhost"), **limits)
    assert outcomes(rows) == ["host_unreachable"] * 12 + ["kept"]
    assert rows[0]["detail"] == "no whole answer in 0.5 s"
    assert site.seen.total() == 5 + 1
    assert rows[11]["detail"] == "127.0.0.1 left 5 requests in a row unanswered"


def test_no_more_requests_at_once_than_allowed(site, download):
    rows = download(*(site.url(f"wait/0.05/{i}") for i in range(12)), per_host=3)
    assert outcomes(rows) == ["kept"] * 12
    assert site.most <= 3
    site.most = 0
    urls = [site.url(f"wait/0.05/{i}", host) for host in ("127.0.0.1", "localhost") for i in range(20, 30)]
    assert outcomes(download(*urls, per_host=8, concurrency=2)) == ["kept"] * 20
    assert site.most <= 2


def test_the_agent_says_who_it_is_and_opt_outs_are_honoured(site, download):
    tags = ("noai", "NoImageAI, nofollow", "mmgic: noindex", "otherbot: noai", "max-snippet: 5", "all")
    rows = download(*(site.url(f"robots/{tag}") for tag in tags), user_agent="mmgic-test/1")
    assert outcomes(rows) == ["download_refused"] * 3 + ["kept"] * 3
    assert rows[1]["detail"] == "the site says X-Robots-Tag: noimageai"
    assert site.agents == {"mmgic-test/1"}


def test_opt_out_headers():
    assert opt_out(["googlebot: noai", "nofollow, noindex"]) == "noindex"
    assert opt_out(["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"]) == "noai"
    assert opt_out(["*: noimageindex"]) == "noimageindex"
    assert opt_out(["googlebot: noai", "nofollow", ""]) == ""
    assert opt_out([]) == ""


def test_retry_after_values():
    assert retry_after("7") == 7
    assert 50 < retry_after(format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)) < 61
    assert retry_after(format_datetime(datetime.now(UTC) - timedelta(days=1))) == 0
    assert retry_after("soon") is None
    assert retry_after("") is None


def test_images_are_the_bytes_that_were_sent(site, download):
    rows = download(site.url("png/5"), site.url("jpeg/6"))
    assert [read_image(row["image_path"]).size for row in rows] == [(24, 16)] * 2
    assert [(row["width"], row["height"]) for row in rows] == [(24, 16)] * 2
