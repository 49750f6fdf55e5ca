"""What the commands set for their process."""

import io
import platform
import re
import subprocess
import sys
import unicodedata

import jax
import pytest

from asd_jax.base import cli
from asd_jax.base.errors import UserError
from asd_jax.doctor import machine
from asd_jax.doctor.finding import WRONG
from asd_jax.recipes.keys import read_recipe
from tests.test_commands import RECIPE, ROOT, command

FAULTS_OF_A_SECOND_ARRAY = """
import resource
import numpy as np
from asd_jax.base import cli
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
    assert sorted([*TOOLS, "installed"]) == sorted(path.stem for path in (ROOT / "tools").glob("*.py"))


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_a_python_without_the_package_is_told_what_to_do(tool):
    run = [sys.executable, "-S", f"tools/{tool}.py", "--help"]  # as a Python that has nothing installed
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False, env={})
    assert done.returncode == 2 and done.stderr.startswith(
        f"Error: asd_jax is not installed for {sys.executable}, Python"
    )
    assert done.stderr.endswith(": run 'bash tools/setup.sh' once, and then 'source .venv/bin/activate'.\n")


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


def test_a_home_folder_is_written_out_where_the_shell_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    makes = ["--machine_types=belt", "--machine_ids=00", "--train_clips=1", "--test_clips=1", "--seconds=1"]
    assert f"to {tmp_path}/a b" in command("make_synthetic", "--out=~/a b", *makes).stdout
    assert [path.name for path in tmp_path.iterdir()] == ["a b"] and not (ROOT / "~").exists()
    for word, before in (("~/c", "--out"), ("~/x.wav", "more.wav")):
        assert cli._at_the_door(word, before) == f"{tmp_path}/{word[2:]}"
    for flag in ("--config", "--config.data_dir", "-workdir"):
        assert cli._at_the_door(f"{flag}=~/d", "") == f"{flag}={tmp_path}/d"
    assert cli._at_the_door("--labels=a~/b", "") == "--labels=a~/b" and cli._at_the_door("~", "--out") == str(tmp_path)


def test_accents_of_machines_names_are_composed_and_those_of_paths_stay():
    name = unicodedata.normalize("NFD", "Lüfter")
    composed = unicodedata.normalize("NFC", name)
    for flag in (
        "--config.machine_type",
        "--config.machine_id",
        "--machine_types",
        "--machines",
        "--groups",
        "-machine_id",
    ):
        assert cli._at_the_door(f"{flag}={name}", "") == f"{flag}={composed}"
        assert cli._at_the_door(name, flag) == composed
    for word, before in ((f"--input={name}", ""), (name, "--input"), (name, ""), (name, "--machine_id=x")):
        assert cli._at_the_door(word, before) == word
    recipe = read_recipe({"method": "autoencoder", "machine_type": name, "data_dir": name})
    assert (recipe.machine_type, recipe.data_dir) == (composed, name)


def test_paths_of_a_recipe_are_written_out_and_may_be_none(monkeypatch):
    monkeypatch.setenv("HOME", "/her")
    paths = {"data_dir": "~/d", "init_from": "a~/b", "compilation_cache": "None"}
    recipe = read_recipe({"method": "multitask", "machine_type": "fan"} | paths)
    assert (recipe.data_dir, recipe.init_from, recipe.compilation_cache) == ("/her/d", "a~/b", "")


@pytest.mark.parametrize(
    ("asked", "error"), [("cuda", AssertionError()), ("gpu", RuntimeError("no gpu")), ("x", RuntimeError("no x"))]
)
def test_a_device_that_is_not_there_is_one_sentence(monkeypatch, asked, error):
    def devices():
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", asked)
    monkeypatch.setattr(jax, "devices", devices)
    said = cli.no_devices()
    found = "no x" if asked == "x" else "it is installed for the CPU alone"
    assert said.startswith(
        f"JAX has no device: JAX_PLATFORMS={asked} asks for one, and {found}. Unset it for the CPU, or "
    )
    [finding] = machine.devices()
    assert (finding.level, finding.found, finding.advice) == (WRONG, said, "")
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", io.StringIO())
        try:
            cli._tell(devices)
        finally:
            assert sys.stderr.getvalue() == f"Error: {said}\n"


def test_a_command_whose_device_is_not_there_ends_in_one_sentence(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    done = command("benchmark", RECIPE, "--mode=step")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: JAX has no device: JAX_PLATFORMS=cuda asks for one, and ")
