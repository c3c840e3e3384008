"""Wheels built from the tree, and environments outside it that contain nothing else of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(project: Path, folder: Path) -> Path:
    """Build the wheel of a project's folder or sdist with the installed hatchling."""
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(project))
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Environment:
    """A virtual environment that borrows third-party packages, such as torch, from the host's.

    They are on its path by a .pth file, after the packages installed in it. The host's own .pth
    files are not read there, so that its editable install of ttsi is not importable. While pip
    runs, the host's packages are hidden, so that pip can neither count nor change them.
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Environment:
        venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
        made = cls(folder)
        made._borrow()
        return made

    @property
    def scripts(self) -> Path:
        return self._path("scripts")

    def install(self, wheel: Path) -> None:
        with self._alone():
            self._pip("install", "--no-deps", "--no-index", str(wheel))

    def uninstall(self, distribution: str) -> None:
        with self._alone():
            self._pip("uninstall", "--yes", distribution)

    def ttsi(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the installed command in `cwd`."""
        return run(str(self.scripts / "ttsi"), *arguments, cwd=cwd)

    def python(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return run(str(self.scripts / "python"), *arguments, cwd=cwd)

    def _path(self, kind: str) -> Path:
        base = str(self.folder)
        found = sysconfig.get_path(kind, "venv", {"base": base, "platbase": base})
        return Path(found)

    @property
    def _link(self) -> Path:
        return self._path("purelib") / "host.pth"

    def _borrow(self) -> None:
        # Use sys.path: the host itself may borrow packages from another environment.
        host = [each for each in sys.path if Path(each).name in ("site-packages", "dist-packages")]
        self._link.write_text("\n".join(host) + "\n")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._link.unlink()
        try:
            yield
        finally:
            self._borrow()

    def _pip(self, *arguments: str) -> None:
        _pip("--python", str(self.scripts / "python"), *arguments)


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command without our settings, a checkout or a network."""
    ours = {name for name in os.environ if name.startswith(("TTSI_", "PYTHON", "VIRTUAL_ENV"))}
    environ = {name: value for name, value in os.environ.items() if name not in ours}
    for name in ("TTSI_CACHE_DIR", "TTSI_DATA_DIR"):
        if name in os.environ:
            environ[name] = os.environ[name]
    environ |= {"TTSI_OFFLINE": "1", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True)


def _pip(*arguments: str) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run([*pip, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
