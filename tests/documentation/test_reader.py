"""The reader of pages: what it compares, and what it says about a page that does not work."""

import pytest

from tests.documentation.pages import matches, read
from tests.documentation.reader import Machine, Reader

ID, OTHER_ID = "2ce4263f-e389-43b4-a725-d6743e0d8557", "5fde880a-8f45-4a19-9b8a-8c672c96ab1e"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (f"{ID} pending   0% after 0.0 s", f"{OTHER_ID} pending 0% after 12.25 s\n", True),
        ("at 2026-11-21T00:29:15.010Z", "at 2027-01-01T10:00:00Z", True),
        ("http://127.0.0.1:8000", "http://127.0.0.1:23456", True),
        ("retry-after: 4", "retry-after: 12", True),
        ('{"id": 1,\n "done": true}', '{"id":1,"done":true}', True),
        ("first\n…\nlast", "first\nsecond\nthird\nlast", True),
        ("jobs …, all completed", "jobs 12, all completed", True),
        ("completed after 0.5 s", "error after 0.5 s", False),
        ("3 jobs: 3 completed", "3 jobs: 2 completed", False),
        ("version 1.2.3", "version 1.2.4", False),
        ("first", "first\nsecond", False),
        ("second", "first\nsecond", False),
    ],
)
def test_an_output_is_as_shown_but_for_ids_times_and_measured_numbers(shown, printed, same):
    assert matches(shown, printed) == same


@pytest.fixture
def follow(tmp_path):
    """Returns a function that follows a page of this text in a folder of its own."""
    readme, folder = tmp_path / "README.md", tmp_path / "folder"
    folder.mkdir()

    def follow(text):
        readme.write_text(text)
        with Reader(Machine(tmp_path, folder), folder) as reader:
            blocks = read(readme, tmp_path)
            for block in blocks:
                reader.follow(block)
            reader.finish(blocks[-1])

    return follow


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("```bash\necho hello; false\n```", "README.md:3: this fails with exit status 1\n$ echo hello; false\nhello"),
        ("```console\n$ echo hello\ngoodbye\n```", "README.md:3: the page shows\ngoodbye\nand the output is another"),
        ("```python\nraise ValueError(1)\n```", "README.md:3: this fails with exit status"),
        ("```perl\nexit 1\n```", "README.md:3: nobody knows how to follow a block of perl"),
        ("Press Ctrl-C.\n```bash\ntrue\n```", "README.md:4: nothing runs that Ctrl-C could stop"),
    ],
)
def test_a_block_that_does_not_work_is_named_with_its_line_and_output(follow, block, said):
    with pytest.raises(AssertionError) as error:
        follow(f"# A page\n\n{block}\n")
    assert str(error.value).startswith(said)


def test_a_page_is_followed_in_one_folder_in_several_terminals_and_with_the_ids_that_were_printed(follow):
    follow(
        "```python\n# saved.py\nprint('saved')\n```\n"
        "```console\n$ python3 saved.py\nsaved\n$ false\n$ echo $?\n1\n```\n"
        "In one terminal, start it:\n```bash\necho listening on http://; sleep 1000\n```\n"
        "In a second terminal:\n"
        f"```console\n$ python3 -c 'import uuid; print(uuid.uuid4())' | tee id\n{ID}\n"
        f"$ grep -c {ID} \\\n    id\n1\n```\n"
        "Press Ctrl-C. In the first terminal, it is over:\n```bash\ntrue\n```\n"
    )
