"""What all commands share: flag parsing, and a mistake reported in one sentence instead of a traceback."""

import contextlib
import ctypes
import difflib
import errno
import importlib.metadata
import os
import re
import select
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from asd_jax.base.errors import UserError

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
"""What text programs make of the dashes of a flag."""

_NAMED = re.compile(r"--?(config\.)?(machine_types?|machine_ids?|machines|groups)(=|$)")
_EXPANDED = re.compile(r"^(-[^=]*=|)(~[\w.-]*)(?=/|$)")
"""A home folder, alone or after the name of a flag, where the shell has left it as it is."""

_HELP = ("-h", "-help", "--help", "--helpshort", "--helpfull", "-?")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run(main: Callable[..., int | None], takes_words: bool = False) -> None:
    """Parses the flags and runs `main`; a person's mistake ends in one sentence and exit code 2.

    Words that belong to no flag are a mistake, but where `takes_words`: then `main` is called with their list.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # both are read when TensorFlow is imported, in `main`
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # it would announce itself
    keep_freed_memory()
    app.run(
        lambda argv: _tell(lambda: _flushed(lambda: main(argv[1:]) if takes_words else main())),
        flags_parser=lambda argv: _parse(argv, takes_words),
    )


def keep_freed_memory() -> None:
    """Lets glibc keep what is freed: a training step on the CPU would fault the pages of its large arrays in each time.

    To be called before there are threads. Elsewhere than with glibc nothing happens.
    """
    arena_max, mmap_max, top_pad, trim_threshold = -8, -4, -2, -1  # of mallopt(3)
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(arena_max, 1)
        mallopt(mmap_max, 0)
        mallopt(top_pad, 200 << 20)
        mallopt(trim_threshold, -1)  # unsigned: never


def _parse(argv: list[str], takes_words: bool) -> list[str]:
    if set(_HELP) & set(argv[1:]):
        app.usage(shorthelp="--helpfull" not in argv, writeto_stdout=True)  # absl would exit with 1 after it
        sys.exit(0)

    argv = [_at_the_door(word, before) for before, word in zip(["", *argv], argv, strict=False)]

    def parse() -> list[str]:
        check_words([word for word in argv[1:] if word and word[0] in _DASHES], takes_words)
        rest = parse_flags(argv, flags.FLAGS)
        check_words(rest[1:], takes_words)
        return rest

    rest = _tell(parse)
    logging.set_verbosity(logging.WARNING)  # Orbax logs every small step
    return rest


def _at_the_door(word: str, before: str) -> str:
    """A word of the command line, home folders written out and accents of machines' names as the data have them."""
    if _NAMED.match(word) or _NAMED.fullmatch(before):
        return unicodedata.normalize("NFC", word)
    return _EXPANDED.sub(lambda found: found[1] + os.path.expanduser(found[2]), word)


def check_words(words: Sequence[str], taken: bool) -> None:
    """Raises a UserError for a word that belongs to no flag; where words are taken, only for one that was to be one."""
    for word in words:
        if taken and os.path.exists(word):
            continue
        if "=" in word or (word and word[0] in _DASHES):
            meant = word.lstrip(f"-{_DASHES}")
            raise UserError(f"{word!r} is no flag: flags begin with two plain dashes, --{meant}")
        if not taken:
            raise UserError(
                f"The word {word!r} belongs to no flag: leave it out, or quote a value of several words, as in "
                '--flag="two words"; --help shows the flags.'
            )


def _flushed(main: Callable[[], int | None]) -> int | None:
    code = main()
    sys.stdout.flush()  # a reader that has gone shows now, not while the interpreter ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done; while it ends, the interpreter would die of it
    return code


def parse_flags(argv: list[str], values: flags.FlagValues) -> list[str]:
    """Parses the flags, those of a recipe too; returns other arguments. Raises a UserError for what does not fit."""
    try:
        return values(argv)
    except (AttributeError, KeyError) as error:  # ml_collections, for a key that the config does not have
        key = (re.findall("[A-Za-z_0-9]+", str(error)) or [""])[0]
        names = {part: name for name in _keys_of_recipe(argv) for part in (name, name.rpartition(".")[2])}
        near = difflib.get_close_matches(key, names, 1)
        hint = f'Did you mean "{names[near[0]]}"?' if near else "Its keys are listed in the recipe's file."
        raise UserError(f"The config has no key {key!r}. {hint}") from error
    except flags.Error as error:  # a recipe that raised comes with its traceback, of which the last line says why
        raise UserError(str(error).strip().splitlines()[-1].removeprefix("ValueError: ")) from error
    except Exception as error:  # ml_collections raises many for a --config.KEY=VALUE
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"An override of the recipe is not understood ({reason}): expected --config.KEY=VALUE."
        ) from error


def _keys_of_recipe(argv: list[str]) -> list[str]:
    """All keys of the recipe that the command line names, those of its groups as "network.width"."""
    without = [word for word in argv if not re.match("--?config[.]", word)]
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=without)
    values(without, known_only=True)

    def names(group: ml_collections.ConfigDict, above: str) -> Iterator[str]:
        for name, value in group.items():
            is_group = isinstance(value, ml_collections.ConfigDict)
            yield from names(value, f"{above}{name}.") if is_group else [above + name]

    return list(names(config.value, "")) if config.value else []


def _tell(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (UserError, flags.Error) as error:
        sentence = str(error)
    except OSError as error:
        sentence = _sentence(error)
    except (AssertionError, RuntimeError):  # as JAX raises, among others
        if not (sentence := no_devices()):
            raise
    print(f"Error: {sentence}", file=sys.stderr)
    sys.exit(2)


def no_devices() -> str | None:
    """One sentence about why JAX has no device to compute on; None where it has some, or has not been imported."""
    jax = sys.modules.get("jax")
    try:
        if not jax or jax.devices():
            return None
    except (AssertionError, RuntimeError) as error:
        found = " ".join(str(error).split())[:300]
    asked = os.environ.get("JAX_PLATFORMS", "")
    installed = [one.metadata["Name"].lower() for one in importlib.metadata.distributions()]
    for_gpus = any(name.startswith("jax-cuda") and "plugin" in name for name in installed)
    if {"cuda", "gpu"} & set(asked.split(",")):
        found = "its CUDA plugin finds no GPU" if for_gpus else "it is installed for the CPU alone"
    advice = "look at nvidia-smi" if for_gpus else "install it with an accelerator's extra, pip install -e '.[cuda13]'"
    if asked:
        return f"JAX has no device: JAX_PLATFORMS={asked} asks for one, and {found}. Unset it for the CPU, or {advice}."
    return f"JAX has no device ({found}): {advice}."


def _sentence(error: OSError) -> str:
    sentence = " ".join(str(error).split())
    if gone := re.search(r"path\]: (.+?) \[Errno 2\] .*: '\1'", sentence):  # of ml_collections
        return f"There is no recipe {gone[1]}: name a file such as configs/proxy_outlier.py."
    if recipe := re.search(r"Failed loading config file .*?path\]: (.+?) \[Errno", sentence):
        return f"The recipe {recipe[1]} opens a file that is not there: {sentence.rsplit(': ', 1)[-1]}."
    if error.errno in _FULL:
        return f"No space left on the device ({sentence}): free some and run the command again."
    if error.errno == errno.EROFS:
        return f"{sentence}: make it writable, or name another folder."
    if error.errno == errno.EPIPE and _reader_has_gone():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to print
        sys.exit(128 + signal.SIGPIPE)
    return sentence


def _reader_has_gone() -> bool:
    """Whether nobody reads what is printed, as after `| head`."""
    watched = select.poll()
    watched.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in watched.poll(0))
