"""What the documentation shows is run: README's Python and TOML, and examples in docstrings."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import pytest

import asyncrep
from asyncrep.cli.options import PlaceOptions
from asyncrep.cli.places import find_pair
from tests.support import engines
from tests.support.cli import wait_until
from tests.support.scenario import item, items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.engines import Engine

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
DOCS = {path: path.read_text(encoding="utf-8") for path in (Path(__file__).parents[2] / "docs").glob("*.md")}
PRIMARY, REPLICA = "us-east-1", "eu-west-1"
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


def blocks(language: str) -> list[str]:
    """The README's blocks of code in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def moto(moto_url: str) -> Iterator[Engine]:
    """Tables `orders` as the README has them: forty equal items, and one of each kind of drift."""
    engine = engines.moto(moto_url)
    same = items(40)
    for region, rows in ((PRIMARY, [item("m"), item("d", v=1)]), (REPLICA, [item("d", v=2), item("x")])):
        engine.call(
            "CreateTable",
            {
                "TableName": "orders",
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
            region,
        )
        engine.put("orders", [*same, *rows], region)
    yield engine
    for region in (PRIMARY, REPLICA):
        for table in engine.call("ListTables", {}, region)["TableNames"]:
            if table.startswith(("orders", "DynamoDBCrossRegionReplication", "asyncrep-guard")):
                engine.call("DeleteTable", {"TableName": table}, region)


def run(program: str, url: str) -> str:
    """Run a program in a process of its own against an endpoint; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | {"AWS_ENDPOINT_URL": url},
        capture_output=True, text=True, timeout=40, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_readme_has_four_python_examples_and_one_of_toml() -> None:
    assert [len(blocks(language)) for language in ("python", "toml")] == [4, 1]


def test_the_example_in_python_finds_and_repairs(moto: Engine) -> None:
    lines = run(blocks("python")[0], moto.url).splitlines()
    assert {line.split()[0] for line in lines[:3]} == {"missing", "different", "extraneous"}
    assert lines[3:] == ["40 records are equal", "3 of 3 repaired; 0 remain"]
    by_id = {
        region: {each["id"]["S"]: each for each in moto.items("orders", region)}
        for region in (PRIMARY, REPLICA)
    }
    assert by_id[PRIMARY] == by_id[REPLICA]


def test_the_example_of_a_worker_follows_until_it_is_told_to_stop(moto: Engine, tmp_path: Path) -> None:
    moto.call("UpdateTable", {"TableName": "orders", "StreamSpecification": STREAM}, PRIMARY)
    moto.put("orders", [item("new", secret="s")], PRIMARY)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", blocks("python")[1]],
        env=os.environ | {"AWS_ENDPOINT_URL": moto.url},
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as worker:  # fmt: skip
        wait_until(lambda: item("new") in moto.items("orders", REPLICA))
        worker.terminate()
        stdout, stderr = worker.communicate(timeout=20)
    assert (worker.returncode, stderr) == (0, "")
    assert stdout == "1 records read, 1 items written\n"


def test_the_example_of_a_backup_restores_what_is_missing(moto: Engine) -> None:
    with urlopen(Request(f"{moto.url}/my-bucket", method="PUT"), timeout=10):
        lines = run(blocks("python")[2], moto.url).splitlines()
    assert lines == ["42 items dumped", "1 items restored, 2 differ"]


def test_the_example_of_a_split_table_reads_what_it_wrote(moto: Engine) -> None:
    lines = run(blocks("python")[3], moto.url).splitlines()
    assert lines[0] == "12"
    assert len(lines) == 1 + 43


def test_the_example_of_a_configuration_is_one(tmp_path: Path) -> None:
    (tmp_path / "asyncrep.toml").write_text(blocks("toml")[0], encoding="utf-8")
    ours, theirs = find_pair(None, None, PlaceOptions(), environment={}, folder=tmp_path)
    assert (str(ours.ref), str(theirs.ref)) == ("us-east-1/orders", "eu-west-1/orders")
    assert (ours.profile, theirs.profile) == (None, "eu-account")


def test_the_keys_that_the_configuration_s_comment_names_are_known(tmp_path: Path) -> None:
    [also] = re.findall(r"# also: (.*)", blocks("toml")[0])
    settings = [f'{name} = "http://127.0.0.1:1"' for name in also.split(", ")]
    tables = ['primary = "us-east-1/orders"', 'replica = "eu-west-1/orders"']
    (tmp_path / "asyncrep.toml").write_text("\n".join([*tables, *settings]), encoding="utf-8")
    assert find_pair(None, None, PlaceOptions(), environment={}, folder=tmp_path)


def test_the_links_of_the_readme_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^):]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in anchors
        else:
            assert (Path(__file__).parents[2] / target).exists(), target


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_the_links_of_a_page_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^):#]+)\)", DOCS[path]):
        assert (path.parent / target).exists(), target


def test_the_readme_has_nothing_left_to_fill_in() -> None:
    assert not re.search(r"^[A-Z]{6,}$", README, re.MULTILINE)


def _modules() -> list[str]:
    return [each.name for each in pkgutil.walk_packages(asyncrep.__path__, "asyncrep.")]


EXAMPLES = [
    test
    for name in ("asyncrep", *_modules())
    for test in doctest.DocTestFinder(recurse=True).find(importlib.import_module(name))
    if test.examples
]


def is_async(test: doctest.DocTest) -> bool:
    return any("async " in example.source or "await " in example.source for example in test.examples)


@pytest.mark.parametrize(
    "test", [test for test in EXAMPLES if not is_async(test)], ids=lambda test: test.name
)
def test_examples_of_docstrings_are_true(test: doctest.DocTest) -> None:
    report: list[str] = []
    doctest.DocTestRunner().run(test, out=report.append)
    assert report == []


@pytest.mark.parametrize("test", [test for test in EXAMPLES if is_async(test)], ids=lambda test: test.name)
def test_examples_that_need_a_loop_are_python_and_use_what_there_is(test: doctest.DocTest) -> None:
    program = "".join(example.source for example in test.examples)
    tree = compile(program, test.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    assigned = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert called - assigned - set(dir(builtins)) <= set(asyncrep.__all__)


def test_there_are_examples_in_docstrings() -> None:
    assert {test.name for test in EXAMPLES} >= {"asyncrep", "asyncrep.sandbox.server.EmbeddedAws"}
