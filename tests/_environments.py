"""Virtual environments that see all packages installed here, made without pip or a network."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path

_SCRIPT = """\
#!{python}
import sys

from {module} import main

sys.exit(main())
"""
_SCRIPTS = {"ttsi": "ttsi.cli.main", "pip": "pip._internal.cli.main"}


def make_environment(folder: Path) -> dict[str, str]:
    """Return environment variables for the `python`, `pip` and `ttsi` of a new environment.

    A plain `pip install FOLDER` works in it offline, because the build backend is installed here.
    """
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    here = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    lines = [f"import site; site.addsitedir({path!r})" for path in here]
    (packages / "here.pth").write_text("\n".join(lines) + "\n")
    for name, module in _SCRIPTS.items():
        script = folder / "bin" / name
        script.write_text(_SCRIPT.format(python=python, module=module))
        script.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TTSI_", "PIP_", "PYTHON"))}
    return kept | {
        "PATH": os.pathsep.join(
            [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "VIRTUAL_ENV": str(folder),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip interprets this one inversely: 0 disables isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "TTSI_OFFLINE": "1",
    }


def call(
    *command: str | Path, env: Mapping[str, str], cwd: Path, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command, and fail with its output if its exit code is not `code`."""
    done = subprocess.run(
        [str(word) for word in command], env=env, cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == code, f"{command}\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done
