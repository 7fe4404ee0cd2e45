"""The API over HTTP: what runs, sims and their files look like."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from patchbay_runner.results.run import RunDirectory
from tests.unit.results_support import plan, recorder_of, step_failure
from tests.unit.server_support import make_record, make_run, run_path, serving, sim_path


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good run, a bad run, a lab record, and a pushed test directory two levels deep."""
    work = tmp_path_factory.mktemp("work")
    for number, (sims, failure) in enumerate([(("web", "relay"), None), (("bad",), step_failure())]):
        run = make_run(work, *sims, failure=failure, matrix={"nat": "home", "n": number})
        run.rename(work / f"run-{number}")
    (work / "run-0" / "web" / "nodes" / "c").mkdir(parents=True)
    (work / "run-0" / "web" / "nodes" / "c" / "app.jsonl").write_text('{"level": "INFO"}\n{"level": "WARN"}\n')
    make_record(work / "lab-a", label="my lab")
    make_record(work / "web-260313" / "suite" / "nat%2Fü x", status="failed")
    (work / "web-260313" / "run.json").write_text(
        '{"project": "web", "branch": "main", "commit": "abcdef0123", "pr": "12", "pr_url": "javascript:alert(1)",'
        ' "title": "Fix NAT", "created_at": "2026-03-13T12:00:00Z"}'
    )
    return work


@pytest.fixture(scope="module")
def client(work_dir: Path) -> Iterator[httpx.Client]:
    with serving(work_dir) as client:
        yield client


def names(client: httpx.Client, **parameters: str | int | list[str]) -> list[str]:
    reply = client.get("/api/runs", params=parameters)
    assert reply.status_code == 200, reply.text
    return [run["name"] for run in reply.json()["runs"]]


NESTED = "web-260313/suite/nat%2Fü x"


def test_runs_and_lab_records_are_listed_the_newest_first(client: httpx.Client) -> None:
    listed = names(client)
    assert set(listed[:2]) == {"run-0", "run-1"}
    assert set(listed[2:]) == {"lab-a", NESTED}
    runs = {run["name"]: run for run in client.get("/api/runs").json()["runs"]}
    assert runs["run-0"]["status"] == "ok"
    assert runs["run-1"]["status"] == "error"
    assert (runs["lab-a"]["status"], runs["lab-a"]["label"]) == ("ok", "my lab")
    assert runs["run-0"]["sims"] == {
        "total": 2, "ok": 2, "error": 0, "overloaded": 0, "interrupted": 0, "running": 0, "pending": 0,
    }  # fmt: skip
    nested = runs[NESTED]
    assert (nested["status"], nested["invocation"], nested["project"]) == ("error", "web-260313", "web")
    assert (nested["pr"], nested["pr_url"], nested["title"]) == (12, None, "Fix NAT")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"project": "web"}, [NESTED]),
        ({"project": "other"}, []),
        ({"status": "error", "project": "web"}, [NESTED]),
        ({"status": ["ok", "error"], "text": "RUN-"}, ["run-1", "run-0"]),
        ({"commit": "ABCD"}, [NESTED]),
        ({"text": "fix nat"}, [NESTED]),
        ({"invocation": "lab-a"}, ["lab-a"]),
    ],
)
def test_the_list_is_filtered(
    client: httpx.Client, parameters: dict[str, str | list[str]], expected: list[str]
) -> None:
    assert sorted(names(client, **parameters)) == sorted(expected)


def test_the_list_comes_in_pages(client: httpx.Client) -> None:
    whole, paged, cursor = names(client), [], None
    while True:
        reply = client.get("/api/runs", params={"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        assert reply["total"] == 4
        paged += [run["name"] for run in reply["runs"]]
        cursor = reply["next"]
        if cursor is None:
            break
    assert paged == whole
    assert reply["facets"] == {"project": ["web"], "branch": ["main"], "status": ["error", "ok"]}


def test_a_run_tells_of_its_sims_and_of_the_step_that_failed(client: httpx.Client) -> None:
    run = client.get(run_path("run-1")).json()
    assert run["axes"] == {"nat": ["home"], "n": [1]}
    assert run["environment"]["os"] == "linux"
    (sim,) = run["simulations"]
    assert (sim["name"], sim["status"], sim["phase"]) == ("bad", "error", "step")
    assert sim["error"] == "fetcher exited with code 3"
    assert sim["failed_step"]["index"] == 1
    assert sim["failed_step"]["origin"] == "sims/relay.toml:7"


def test_a_lab_record_is_a_run_with_one_sim(client: httpx.Client) -> None:
    run = client.get(run_path(NESTED)).json()
    (sim,) = run["simulations"]
    assert sim["name"] == "nat%2Fü x"
    state = client.get(run_path(NESTED, "sims", "nat%252F%C3%BC%20x", "state"))
    assert state.json()["status"] == "failed"
    led = client.get(run_path(NESTED, "state"), follow_redirects=True)
    assert led.json() == state.json()


def test_runs_that_came_together_are_an_invocation(client: httpx.Client) -> None:
    found = client.get("/api/invocations/web-260313").json()
    assert [run["name"] for run in found["runs"]] == [NESTED]
    for path in ("results", "combined-results"):
        assert client.get(f"/api/invocations/run-0/{path}").json()["runs"][0]["sim"] == "web"
    assert client.get("/api/invocations/nothing").status_code == 404


def test_steps_are_planned_and_say_how_far_they_are(client: httpx.Client) -> None:
    steps = client.get(sim_path(Path("run-1"), "bad")).json()["steps"]
    assert (steps[0]["status"], steps[0]["duration_s"]) == ("ok", 0.5)
    assert steps[1]["status"] == "error"
    assert steps[1]["message"] == "fetcher exited with code 3"
    assert steps[1]["started_us"] > 1_700_000_000_000_000
    assert steps[0]["text"] == "1s"


def test_events_are_given_by_number(client: httpx.Client) -> None:
    path = sim_path(Path("run-0"), "web", "events")
    everything = client.get(path).json()
    assert [event["opid"] for event in everything["items"]] == list(range(6))
    assert (everything["next"], everything["is_end"]) == (5, True)
    for after in range(-1, 7):
        page = client.get(path, params={"after": after, "limit": 2}).json()
        assert [event["opid"] for event in page["items"]] == list(range(6))[after + 1 : after + 3]
        assert page["is_end"] == (after >= 3)
    assert client.get(path, params={"after": 99}).json() == {"items": [], "next": 99, "is_end": True}


def test_a_run_that_has_not_begun_a_sim_has_nothing_of_it_yet(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, [plan("web")]) as directory, serving(tmp_path) as client:
        run = client.get(run_path(directory.path.name)).json()
        assert (run["status"], run["sims"]["pending"]) == ("running", 1)
        sim = client.get(sim_path(directory.path, "web")).json()
        assert (sim["sim"], sim["steps"]) == (None, [])
        assert client.get(sim_path(directory.path, "web", "logs")).json() == {"logs": []}
        assert client.get(sim_path(directory.path, "web", "events")).json()["items"] == []
        assert client.get(sim_path(directory.path, "web", "state")).status_code == 404


def test_a_run_that_was_killed_is_interrupted(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for name in ("manifest.json", "web/sim.json"):
        text = (run / name).read_text().replace('"done"', '"running"').replace('"ok"', '"running"')
        (run / name).write_text(text)
    with serving(tmp_path) as client:
        found = client.get(run_path(run.name)).json()
    assert found["status"] == "interrupted"
    assert found["simulations"][0]["status"] == "interrupted"


def test_a_run_directory_is_served_by_itself(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with serving(run) as client:
        assert names(client) == [run.name]
        assert client.get(sim_path(run, "web")).json()["sim"]["status"] == "ok"


def test_results_of_a_run_are_combined(client: httpx.Client) -> None:
    combined = client.get(run_path("run-0", "results")).json()
    assert [each["sim"] for each in combined["runs"]] == ["web", "relay"]
    assert client.get(sim_path(Path("run-0"), "web", "results")).json()["sim"] == "web"


def test_results_of_a_running_run_are_those_so_far(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, [plan("a"), plan("b")]) as directory, serving(tmp_path) as client:
        directory.sims[0].start()
        with recorder_of(directory.sims[0]) as recorder:
            recorder.finished(None)
        directory.sims[0].end(None)
        combined = client.get(run_path(directory.path.name, "results")).json()
        assert [(each["sim"], each["status"]) for each in combined["runs"]] == [("a", "ok")]


def test_a_document_is_sent_once(client: httpx.Client) -> None:
    path = run_path("run-0")
    etag = client.get(path).headers["etag"]
    again = client.get(path, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/runs/nothing", 404),
        ("/api/runs/run-0/sims/nothing", 404),
        ("/api/runs/run-0/sims/nodes/state", 404),
        ("/api/runs/run-0%2Fweb", 404),
        ("/api/runs/run-0/state", 404),
        ("/api/nothing", 404),
        ("/nothing.js", 404),
        ("/api/runs?limit=0", 400),
        ("/api/runs?limit=x", 400),
        ("/api/runs?limt=3", 400),
        ("/api/runs?limit=3&limit=4", 400),
        ("/api/runs?cursor=x", 400),
        ("/api/runs?commit=abc", 400),
        ("/api/runs/%ff", 400),
        ("/api/runs/a%00b", 400),
        ("/api/stream?sim=web", 400),
        ("/api/stream?run=nothing", 404),
        ("/api/stream?run=run-0&sim=nothing", 404),
        ("/api/stream?run=run-0&sim=web&log=nothing.log", 404),
        ("/api/stream?run=run-0&log=nothing.log", 400),
    ],
)
def test_what_is_not_there_or_not_meant_is_told(client: httpx.Client, path: str, status: int) -> None:
    reply = client.get(path)
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/json")
    assert reply.json()["error"]["message"]


def test_other_methods_are_refused(client: httpx.Client) -> None:
    reply = client.post("/api/runs")
    assert (reply.status_code, reply.json()["error"]["code"]) == (405, "method_not_allowed")
    assert client.head("/api/runs").status_code == 200
