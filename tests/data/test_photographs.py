"""A published set is downloaded once, verified, and never overwritten."""

import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from anasyn.data import photographs
from anasyn.data.photographs import PHOTOGRAPHS, Photographs, fetch, find
from anasyn.errors import InputError

FILES = {"1.jpg": b"one photograph", "2.jpg": b"another one" * 1000}


class Server(ThreadingHTTPServer):
    """Serves `files` on the loopback interface and records the requests."""

    def __init__(self, files):
        self.files, self.asked, self.declared = dict(files), [], {}
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/set"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/set/")
        self.server.asked.append(name)
        if name not in self.server.files:
            return self.send_error(404)
        content = self.server.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.declared.get(name, len(content))))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def made_up(monkeypatch, tmp_path):
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setitem(PHOTOGRAPHS, "made-up", Photographs("made_up", "http://127.0.0.1:9/", digests))
    monkeypatch.setattr(photographs.pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("ANASYN_PHOTOGRAPHS", raising=False)


@pytest.fixture
def server():
    with Server(FILES) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_fetch_then_nothing_more(server, tmp_path, capsys, monkeypatch):
    said = []
    monkeypatch.setattr(photographs.pooch.get_logger().handlers[0], "emit", said.append)
    folder = tmp_path / "a" / "b"
    assert fetch("made-up", folder, base_url=server.url) == folder
    assert content(folder) == FILES
    assert server.asked == ["1.jpg", "2.jpg"]
    fetch("made-up", folder, base_url=server.url)
    assert server.asked == ["1.jpg", "2.jpg"]
    assert (capsys.readouterr(), said) == (("", ""), [])


def test_only_what_is_missing_is_fetched(server, tmp_path):
    (tmp_path / "1.jpg").write_bytes(FILES["1.jpg"])
    fetch("made-up", tmp_path, base_url=server.url + "/")
    assert server.asked == ["2.jpg"]


def test_progress_is_on_standard_error(server, tmp_path, capsys):
    fetch("made-up", tmp_path / "set", base_url=server.url, progress=True)
    assert capsys.readouterr().out == ""
    assert content(tmp_path / "set") == FILES


@pytest.mark.parametrize("fault", ["tampered", "absent", "short"])
def test_a_bad_download_leaves_nothing_behind(server, tmp_path, fault):
    if fault == "tampered":
        server.files["2.jpg"] = b"?" + FILES["2.jpg"][1:]
    elif fault == "absent":
        del server.files["2.jpg"]
    else:
        server.declared["2.jpg"] = len(FILES["2.jpg"]) + 5
    with pytest.raises(InputError) as error:
        fetch("made-up", tmp_path / "set", base_url=server.url)
    message = str(error.value)
    assert message.startswith(f"{server.url}/2.jpg: ")
    assert "\n" not in message
    assert ("differs from the published file" if fault == "tampered" else "cannot be downloaded") in message
    assert ("404" in message.replace(server.url, "")) == (fault == "absent")  # the port may hold these digits
    assert content(tmp_path / "set") == {"1.jpg": FILES["1.jpg"]}


def test_no_network(tmp_path):
    with Server({}) as closed:
        url = closed.url
    with pytest.raises(InputError, match="check the network") as error:
        fetch("made-up", tmp_path / "set", base_url=url)
    assert f"{url}/1.jpg" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", ["file", "folder", "link"])
def test_what_was_there_is_refused_and_kept(server, tmp_path, wrong):
    there = tmp_path / "2.jpg"
    if wrong == "file":
        there.write_bytes(b"mine")
    elif wrong == "folder":
        there.mkdir()
    else:
        there.symlink_to("nowhere")
    with pytest.raises(InputError, match=r"2\.jpg: differs from the published file; move it elsewhere"):
        fetch("made-up", tmp_path, base_url=server.url)
    assert server.asked == []
    assert list(tmp_path.iterdir()) == [there]


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another folder"):
        fetch("made-up", tmp_path / "file" / "set", base_url=server.url)


def test_find(server, tmp_path, monkeypatch):
    with pytest.raises(InputError) as error:
        find("made-up")
    assert "\n" not in str(error.value)
    assert "anasyn data fetch made-up" in str(error.value)
    assert "ANASYN_PHOTOGRAPHS" in str(error.value)

    fetched = fetch("made-up", base_url=server.url)
    assert fetched == tmp_path / "cache" / "anasyn" / "made-up"
    assert find("made-up") == fetched

    monkeypatch.setenv("ANASYN_PHOTOGRAPHS", str(tmp_path))
    assert find("made-up") == fetched
    own = fetch("made-up", tmp_path / "made_up", base_url=server.url)
    assert find("made-up") == own

    (own / "1.jpg").write_bytes(b"another")
    assert find("made-up") == fetched


@pytest.mark.parametrize("function", [fetch, find])
def test_an_unknown_name(function):
    with pytest.raises(InputError, match="egrets: no published set has this name; the sets are lion-tiger, eg"):
        function("egrets")


def test_the_published_sets():
    for name, count in (("lion-tiger", 11), ("egret", 7)):
        assert len(PHOTOGRAPHS[name].digests) == count
        assert all(len(digest) == 64 and int(digest, 16) for digest in PHOTOGRAPHS[name].digests.values())
        assert PHOTOGRAPHS[name].base_url.endswith(f"/{PHOTOGRAPHS[name].folder}/")
