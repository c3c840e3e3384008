"""Use of the Hugging Face libraries: snapshots, offline use, their output, missing packages."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ttsi import CorruptAsset, MissingAsset, StorageError, TtsiError
from ttsi.assets import offline
from ttsi_plugins.engines._messages import first_line

_WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "merges.txt", "vocab.txt"]
# Other formats of the same weights: sub-folders (onnx, original) and Mistral's own layout.
_UNWANTED = ["*/*", "consolidated*.safetensors"]


def download_command(name: str, revision: str) -> str:
    """Return a shell command that downloads a model. Both arguments, a spec's, are quoted."""
    words = ["hf", "download", name, *([] if revision == "main" else ["--revision", revision])]
    return shlex.join(words)


def snapshot(name: str, revision: str) -> Path:
    """Return the folder of a Hub model at `revision` in the Hub's cache; fetch it where allowed.

    With TTSI_OFFLINE no connection is opened. Raises MissingAsset (not cached and not to be had),
    StorageError (the Hub's cache cannot be written).
    """
    with needs_packages():
        import huggingface_hub
        from huggingface_hub import errors
    where = f"{name} at revision {revision}"
    try:
        with _bars_on_terminals_only():
            folder = huggingface_hub.snapshot_download(
                name,
                revision=revision,
                allow_patterns=_WANTED,
                ignore_patterns=_UNWANTED,
                local_files_only=offline(),
            )
    except errors.GatedRepoError as error:
        what, cure = "The model asks for consent or a login.", "hf auth login"
        raise MissingAsset(what, where=f"{_endpoint()}/{name}", cure=cure) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        missing = "revision" if isinstance(error, errors.RevisionNotFoundError) else "model"
        cure = 'Correct "model" in the spec, or `hf auth login` if the model is private.'
        raise MissingAsset(f"The Hub has no such {missing}.", where=where, cure=cure) from error
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, ConnectionError) as error:
        raise _unreached(name, revision) from error
    except OSError as error:
        raise StorageError(
            f"The Hub's cache cannot be written: {error.strerror or error}.",
            where=str(error.filename or huggingface_hub.constants.HF_HUB_CACHE),
            cure="Free some space, or set HF_HOME to a folder on another disk.",
        ) from error
    return Path(folder)


def _unreached(name: str, revision: str) -> MissingAsset:
    """Return the error for a model that is not in the cache and that the Hub does not deliver."""
    where, cure = f"{name} at revision {revision}", download_command(name, revision)
    if offline():
        what = "The model is not in the Hub's local cache, and TTSI_OFFLINE forbids fetching it."
        return MissingAsset(what, where=where, cure=f"With a network: {cure}")
    what = f"The model is not in the Hub's local cache, and {_endpoint()} did not answer."
    other = "Set HF_ENDPOINT to a mirror's address, or HTTPS_PROXY to your proxy's"
    return MissingAsset(what, where=where, cure=f"{other}; with a network: {cure}")


def _endpoint() -> str:
    """Return the address of the Hub, or of the mirror that HF_ENDPOINT names."""
    import huggingface_hub

    return str(huggingface_hub.constants.ENDPOINT)


@contextmanager
def needs_packages() -> Iterator[None]:
    """Raise MissingAsset, saying how to install it, for a package that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingAsset(
            f"Running a model here needs the package {error.name!r}, which is not installed.",
            where=sys.prefix,
            cure="pip install 'ttsi[transformers]'",
        ) from error


@contextmanager
def library_errors(what: str, where: Path, cure: str) -> Iterator[None]:
    """Raise whatever transformers raises over the files in `where` as an error of ttsi.

    For files of unknown origin its parsers raise anything from KeyError to bare Exception. So an
    ImportError (an optional package is not installed) becomes MissingAsset, all else CorruptAsset.
    """
    try:
        yield
    except TtsiError:
        raise
    except ImportError as error:
        raise MissingAsset(
            f"{what}: {first_line(error)}",
            where=str(where),
            cure="Install what it names.",
        ) from error
    except Exception as error:
        raise CorruptAsset(f"{what}: {first_line(error)}", where=str(where), cure=cure) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Switch off transformers' progress bars and warnings in the block."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    import huggingface_hub.utils

    utils: Any = huggingface_hub.utils
    if sys.stderr.isatty() or utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()
