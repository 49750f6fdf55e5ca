"""What the commands set for their process."""

import platform
import re
import subprocess
import sys

import pytest

from asd_jax import cli
from asd_jax.errors import UserError
from tests.test_commands import RECIPE, ROOT, command

FAULTS_OF_A_SECOND_ARRAY = """
import resource
import numpy as np
from asd_jax import cli
{call}
np.ones(40_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(40_000_000)  # 78,125 pages
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's where there is one")
@pytest.mark.parametrize(("call", "fewest", "most"), [("cli.keep_freed_memory()", 0, 100), ("", 400, 10**6)])
def test_a_large_array_takes_the_pages_of_the_one_before(call, fewest, most):
    code = FAULTS_OF_A_SECOND_ARRAY.format(call=call)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert fewest <= int(done.stdout) <= most


TOOLS = {
    "benchmark": [RECIPE],
    "doctor": [],
    "evaluate": ["--workdir=W"],
    "export": ["--workdir=W", "--out=O"],
    "make_synthetic": ["--out=O"],
    "prepare": ["--dataset=folder", "--raw_dir=R", "--check"],
    "report": ["--workdir=W", "--out=O"],
    "reproduce": ["--paper=1", "--data_dir=D", "--out=O"],
    "score": ["--workdir=W", "--input=R", "--output=O"],
    "select_inlier": ["--workdir=W"],
    "train": [RECIPE, "--workdir=W"],
}


def test_every_command_is_asked():
    assert sorted(TOOLS) == sorted(path.stem for path in (ROOT / "tools").glob("*.py"))


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_a_word_that_belongs_to_no_flag_is_refused(tool):
    done = command(tool, *TOOLS[tool], "config.seed=5")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (
        done.stderr.strip() == "Error: 'config.seed=5' is no flag: flags begin with two plain dashes, --config.seed=5"
    )


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("—config.seed=5", "'—config.seed=5' is no flag: flags begin with two plain dashes, --config.seed=5"),
        ("–check", "'–check' is no flag: flags begin with two plain dashes, --check"),
        ("true", "The word 'true' belongs to no flag"),
        ("", "The word '' belongs to no flag"),
    ],
)
def test_what_is_refused(word, sentence, tmp_path):
    with pytest.raises(UserError, match=re.escape(sentence)):
        cli.check_words([word], taken=False)
    (tmp_path / "speed=3.wav").touch()
    cli.check_words([str(tmp_path / "speed=3.wav"), "gone.wav"], taken=True)  # what is not there is told later
    for wrong in ("machine_id=03", "—follow"):
        with pytest.raises(UserError, match="is no flag"):
            cli.check_words([wrong], taken=True)


def test_help_is_no_failure():
    done = command("score", "--help")
    assert done.returncode == 0 and "--machine_id" in done.stdout and not done.stderr


def test_a_recipe_that_is_not_there_is_one_sentence():
    done = command("train", "--config=configs/proxy_outliers.py", "--workdir=W")
    assert done.returncode == 2
    sentence = "Error: There is no recipe configs/proxy_outliers.py: name a file such as configs/proxy_outlier.py.\n"
    assert done.stderr == sentence
