"""What the commands set for their process."""

import platform
import subprocess
import sys

import pytest

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
