"""The packages as they would be published, and clean environments to install them in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NODE = ROOT / "tests" / "packages" / "node"
TOOLS = Path(sys.executable).parent
BAKE = ("docker", "buildx", "bake", "--file", "deploy/docker-bake.hcl")
BASE = re.search(r"^FROM (\S+)$", (ROOT / "server" / "Dockerfile").read_text(), re.MULTILINE)[1]
IMAGE_PREFIX = "packages-test/"

UNSET = re.compile(r"PYTHON.*|VIRTUAL_ENV|API_\w+|SERVER_URL|COVERAGE_.*")
"""Variables that a user's machine does not have."""


def run(*command, check=True, folder=None, **environment):
    """Runs a program as on a user's machine; returns what it printed, or fails with it."""
    ran = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not UNSET.fullmatch(name)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    assert not check or ran.returncode == 0, f"{command} exited with {ran.returncode}\n{ran.stdout}"
    return ran.stdout


def find_python(version):
    """Returns a Python of this version, on the PATH or of pyenv; None if there is none that works."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for candidate in filter(None, candidates):
        said = run(candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])", check=False)
        if said == f"{version}\n":
            return candidate
    return None


class Distributions:
    """The two packages, built as for a release: the wheel from the source distribution."""

    def __init__(self, folder):
        self.folder = folder
        run(ROOT / "deploy" / "release" / "build.sh", folder)

    def sdist(self, side):
        """The source distribution of a side."""
        [path] = self.folder.glob(f"translation_{side}-*.tar.gz")
        return path

    def wheel(self, side):
        """The wheel of a side."""
        [path] = self.folder.glob(f"translation_{side}-*.whl")
        return path

    @property
    def files(self):
        """All files that would be uploaded."""
        return [path for side in ("server", "client") for path in (self.sdist(side), self.wheel(side))]


class Environment:
    """A new virtual environment."""

    def __init__(self, folder, python):
        self.folder = folder
        run(TOOLS / "uv", "venv", "--quiet", "--python", python, folder)

    def install(self, *requirements):
        """Installs requirements, with what they depend on."""
        run(TOOLS / "uv", "pip", "install", "--quiet", "--python", self.folder / "bin" / "python", *requirements)

    def installed(self):
        """Returns the names of what is installed."""
        return run(TOOLS / "uv", "pip", "freeze", "--python", self.folder / "bin" / "python").split("\n")[:-1]

    def __call__(self, program, *arguments, **options):
        """Runs a program of the environment; a Python program with warnings as errors."""
        return run(self.folder / "bin" / program, *arguments, PYTHONWARNINGS="error", **options)
