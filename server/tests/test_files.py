"""Files of a running server: private, removed, replaced, full."""

import re
import resource
import signal
import stat

import pytest

from tests.processes import MODULE


def modes(folder):
    """Returns the mode of each file and folder in a folder."""
    return {path.name: stat.filemode(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777], ids=oct)
def test_files_with_user_data_are_private_whatever_the_umask(run, tmp_path, umask):
    settings = {"DATABASE_URL": "sqlite:///data/of/jobs/jobs.db", "LOG_FILE": "data.log"}
    no_others = {"PYTHONDONTWRITEBYTECODE": "1"}  # keeps unreadable files out of the sources
    server = run([*MODULE, "--port", "0"], umask=umask, **settings, **no_others)
    assert server.client.post("/start").status_code == 202
    folders, private = dict.fromkeys(["of", "jobs"], "drwx------"), "-rw-------"
    assert modes(tmp_path / "data") == folders | dict.fromkeys(["jobs.db", "jobs.db-wal", "jobs.db-shm"], private)
    assert {stat.filemode((tmp_path / name).stat().st_mode) for name in ("data", "data.log")} == {"drwx------", private}
    (tmp_path / "data.log").rename(tmp_path / "data.log.1")  # as logrotate does
    server.client.submit()
    assert stat.filemode((tmp_path / "data.log").stat().st_mode) == private


def test_open_files_of_an_older_version_are_made_private_and_logged(run, tmp_path):
    settings = {"DATABASE_URL": "sqlite:///jobs.db", "LOG_FILE": "data.log"}
    run([*MODULE, "--port", "0"], **settings).stop()
    tmp_path.chmod(0o755)
    for name in ("jobs.db", "data.log"):
        (tmp_path / name).chmod(0o644)
    server = run([*MODULE, "--port", "0"], **settings)
    assert server.client.post("/start").status_code == 202
    assert {mode for name, mode in modes(tmp_path).items() if name.startswith(("jobs.db", "data"))} == {"-rw-------"}
    assert len(re.findall(r"(jobs\.db|data\.log) was open to other users \(mode 0644\)", server.log())) == 2
    assert stat.filemode(tmp_path.stat().st_mode) == "drwxr-xr-x"  # an existing folder keeps its mode


@pytest.mark.parametrize("put", ["nothing", "another"])
@pytest.mark.parametrize("names", [["-wal"], ["-shm"], ["-wal", "-shm"], [""], ["", "-wal", "-shm"]], ids="+".join)
def test_removed_or_replaced_files_are_noticed_before_a_job_is_accepted(run, tmp_path, names, put):
    settings = {"DATABASE_URL": "sqlite:///data/jobs.db"}
    server = run([*MODULE, "--port", "0"], **settings)
    promised = [server.client.post("/start").json()["job_id"] for _ in range(3)]
    for name in names:
        file = tmp_path / "data" / f"jobs.db{name}"
        taken = file.rename(tmp_path / f"taken{name}")
        if put == "another":
            file.write_bytes(taken.read_bytes())
    answers = [server.client.post("/start") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert server.client.get("/readyz").status_code == 503
    assert re.search(r"jobs\.db: the file, its -wal or its -shm was deleted, replaced or cut", server.log())
    server.stop(signal.SIGKILL)
    if put == "nothing" and "" not in names:  # the server saved what it had open
        again = run([*MODULE, "--port", "0"], **settings)
        assert {job["job_id"] for job in again.client.get("/jobs").json()["jobs"]} == set(promised)
        assert again.client.get("/readyz").status_code == 200


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit the files of another process")
def test_readyz_is_503_when_there_is_no_room_for_a_job(run, tmp_path):
    server = run([*MODULE, "--port", "0"], DATABASE_URL="sqlite:///data/jobs.db", REQUEST_LOG="0")
    assert server.client.post("/start").status_code == 202
    wal, frame = tmp_path / "data" / "jobs.db-wal", 4096 + 24
    answers = {}
    for pages in range(8):
        for method, path in (("GET", "/readyz"), ("POST", "/start")):
            assert server.client.get("/readyz").status_code == 200  # up to the end of the file
            room = wal.stat().st_size + pages * frame
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            answers[path, pages] = server.client.request(method, path).is_success
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    ready, accepted = ([answers[path, pages] for pages in range(8)] for path in ("/readyz", "/start"))
    assert ready == accepted
    assert {*ready} == {False, True}


def test_a_folder_moved_away_and_back_loses_no_job(run, tmp_path):
    server = run([*MODULE, "--port", "0"], DATABASE_URL="sqlite:///data/jobs.db")
    assert server.client.post("/start").status_code == 202
    (tmp_path / "data").rename(tmp_path / "away")
    assert {server.client.post("/start").status_code, server.client.get("/readyz").status_code} == {503}
    (tmp_path / "away").rename(tmp_path / "data")
    assert (server.client.post("/start").status_code, server.client.get("/readyz").status_code) == (202, 200)
    server.stop(signal.SIGKILL)
    again = run([*MODULE, "--port", "0"], DATABASE_URL="sqlite:///data/jobs.db")
    assert len(again.client.get("/jobs").json()["jobs"]) == 2
