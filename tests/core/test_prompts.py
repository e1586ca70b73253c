from pathlib import Path

import pytest

from onaspr_core.errors import UserError
from onaspr_core.prompts import Prompt, read_prompt_file


def read(folder: Path, name: str, text: str) -> list[Prompt]:
    (folder / name).write_text(text, encoding="utf-8")
    return read_prompt_file(folder / name)


def test_a_text_file_has_one_prompt_a_line(tmp_path: Path) -> None:
    prompts = read(tmp_path, "p.txt", "a cat\n\n  a   dog \n")
    assert [(prompt.id, prompt.text) for prompt in prompts] == [("00001", "a cat"), ("00002", "a dog")]


def test_csv_and_jsonl_carry_ids_and_attributes(tmp_path: Path) -> None:
    table = read(tmp_path, "p.csv", '\ufeffid,prompt,colour\nx,"a red, round ball",red\n')
    lines = read(tmp_path, "p.jsonl", '{"id": "x", "prompt": "a red, round ball", "colour": "red"}\n')
    assert table == lines == [Prompt("x", "a red, round ball", {"colour": "red"})]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("p.txt", "", "holds no prompt"),
        ("p.csv", "caption\na cat\n", "row 1: no text under `prompt`"),
        ("p.jsonl", "[1]\n", "line 1: expected an object"),
        ("p.jsonl", "{", "cannot be read"),
        ("p.csv", "id,prompt\na,x\na,y\n", "id 'a' stands in more than one row"),
        ("p.doc", "x", "unknown suffix '.doc'; allowed: .txt, .csv, .jsonl"),
    ],
)
def test_a_bad_file_is_refused_with_the_place_and_the_reason(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    with pytest.raises(UserError, match="p\\."):
        read(tmp_path, name, text)
    with pytest.raises(UserError) as error:
        read_prompt_file(tmp_path / name)
    assert told in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.txt cannot be read"):
        read_prompt_file(tmp_path / "absent.txt")
