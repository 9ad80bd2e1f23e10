"""What dialect files say of whole APIs, as their callers see it."""

import pytest

FILE = """
[job.clip]
required = ["prompt", ["image.url", "image.data"]]
defaults = { owner = "nobody", input = { size = "large", tags = {} } }
body.state = "{status}"
body.model = "{owner}/models"
body.size = "{input.size}"
body.tags = "{input.tags}"
body.logs = "{logs | messages}"
body.text = "{logs | lines}"
submit.request = ["POST /clips", "POST /{owner}/clips"]
submit.body.id = "{job_id}"
poll.request = "GET /clips/{job_id}"
"""
CLIP = {"prompt": "A cat", "image": {"url": "https://example.com/cat.png"}}


@pytest.fixture
def clips(start, tmp_path):
    path = tmp_path / "clips.toml"
    path.write_text(FILE)
    return start(dialects=str(path), max_delay=0)


def made(clips, path="/clips/clips", **fields):
    answer = clips.post(path, json=CLIP | fields)
    assert answer.status_code == 200, answer.text
    return clips.get(f"/clips/clips/{answer.json()['id']}").json()


def test_answers_show_defaults_for_what_a_submission_did_not_have(clips):
    assert made(clips).items() >= {"model": "nobody/models", "size": "large", "tags": {}}.items()
    chosen = made(clips, "/clips/me/clips", size="small", tags={"a": 1})
    assert chosen.items() >= {"model": "me/models", "size": "small", "tags": {"a": 1}}.items()


def test_defaults_are_not_stored_as_input(clips):
    job_id = clips.post("/clips/clips", json=CLIP).json()["id"]
    assert clips.get(f"/sandbox/jobs/{job_id}").json()["input"] == CLIP


def test_one_of_several_fields_is_enough(clips):
    assert made(clips, image={"data": "…"})["state"] == "completed"
    refused = clips.post("/clips/clips", json={"image": {}})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"field": "prompt", "message": "is required"},
        {"field": "image.url", "message": "is required, or image.data"},
    ]


def test_logs_are_a_progress_bar_as_text_or_as_messages(clips):
    clip = made(clips)
    assert [one["message"] for one in clip["logs"]] == clip["text"].split("\n")
    assert len(clip["logs"]) == 10
    assert clip["logs"][2]["message"] == "30%|===       | 3/10"
