"""What ruff refuses, and how pages' policies name their scripts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import content_policy

ROOT = Path(__file__).parents[1]


REFUSED = {
    "S102": "exec('1')",
    "S202": "import tarfile\n\ntarfile.open('a').extractall()",
    "S301": "import pickle\n\npickle.loads(b'')",
    "S307": "eval('1')",
    "S506": "import yaml\n\nyaml.load('a')",
    "S602": "import subprocess\n\nsubprocess.run('/bin/ls ' + x, shell=True)",
    "S605": "import os\n\nos.system('/bin/ls')",
}


@pytest.mark.parametrize("name", ["mflib/new.py", "tools/new.py", "tests/test_new.py"])
@pytest.mark.parametrize(
    ("source", "rules"),
    [
        ("\n".join(REFUSED.values()), set(REFUSED)),
        ("import subprocess\n\nsubprocess.run(['/bin/ls'])", set()),
    ],
)
def test_what_runs_others_code_is_refused(name: str, source: str, rules) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", name, "-"]
    command += ["--output-format", "json"]
    done = subprocess.run(
        command, cwd=ROOT, input=source, capture_output=True, text=True, check=False
    )
    found = {finding["code"] for finding in json.loads(done.stdout)}
    assert {code for code in found if code[0] == "S" and code[1].isdigit()} == rules


# -- tools/content_policy.py ----------------------------------------------------------

PAGE = (
    '<head><meta http-equiv="Content-Security-Policy" '
    f"""content="default-src 'self'; {content_policy.LOOSE} img-src 'self'"></head>"""
)


def test_a_script_is_named_by_its_hash() -> None:
    # The example of the specification, Content Security Policy Level 3
    assert content_policy.source("alert('Hello, world.');") == (
        "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
    )


def test_a_page_gets_the_hashes_of_its_own_scripts() -> None:
    one, two = "alert('one')", "\n  const less = 1 < 2 && '&amp;';\r\n"
    first, second = content_policy.tighten(
        [
            f"{PAGE}<script src='a.js'></script><script>{one}</script>",
            f"{PAGE}<script>{two}</script>",
        ]
    )
    assert f"script-src 'self' file: {content_policy.source(one)};" in first
    assert f"script-src 'self' file: {content_policy.source(two)};" in second
    assert content_policy.source(two) == content_policy.source(two.replace("\r", ""))
    assert "unsafe" not in first + second


def test_handlers_count_on_every_page() -> None:
    pages = [f'{PAGE}<a onclick="go(&quot;a&quot;)">', f"{PAGE}<p>", "<p>No policy"]
    tight = content_policy.tighten(pages)
    go = content_policy.source('go("a")')
    rule = f"script-src 'self' file: {go} 'unsafe-hashes';"
    assert [rule in page for page in tight] == [True, True, False]
    assert tight[2] == pages[2]


def test_a_site_without_the_policy_is_told(tmp_path: Path, capsys) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"{PAGE}<script>1</script>")
    assert content_policy.main(tmp_path) == 0
    assert content_policy.source("1") in page.read_text()
    assert content_policy.main(tmp_path) == 1
    assert capsys.readouterr().out.startswith("No page in ")
