"""The Hugging Face hub: one short question to it before transformers asks many.

Without a network, transformers retries each file for 23 seconds and ends in a
message about its own offline mode.  One request without retries tells within
``TIMEOUT`` seconds whether the hub is there, and which commit is meant.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from mt_lottery.errors import ModelError, assigned

logger = logging.getLogger(__name__)

TIMEOUT = 5.0


@dataclass(frozen=True)
class HubModel:
    """A model of the hub that can be had.

    Attributes:
        name: the hub id.
        commit: all files come from this commit.
        folder: the copy in the local cache, where the hub was not reached. To be read as a
            folder: by its hub id, transformers would ask the hub again for some files.
    """

    name: str
    commit: str
    folder: Path | None = None


def find(name: str, revision: str | None) -> HubModel:
    """Ask the hub, or the local cache where there is no network, for a model.

    Raises:
        ModelError: no such model or revision, no permission, no ``config.json``, or no
            network and no copy in the cache.
    """
    from huggingface_hub import get_hf_file_metadata, get_session, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f" at revision '{revision}'" if revision else ""
    try:
        url = hf_hub_url(name, "config.json", revision=revision)
        # Whatever it answers, it is there. huggingface_hub 0.x retries the next call, not this.
        get_session().head(url, timeout=TIMEOUT)
        commit = get_hf_file_metadata(url, timeout=TIMEOUT).commit_hash
    except HFValidationError as error:
        raise ModelError(
            f"model.name_or_path={name} is neither a local folder nor a hub id "
            f"('owner/name'): {error}"
        ) from error
    except GatedRepoError as error:
        raise ModelError(
            f"model.name_or_path={name} is gated: accept its terms at "
            f"https://huggingface.co/{name}, then log in with 'hf auth login' or set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"model.name_or_path={name}: there is no such folder, and the hub has no such model "
            "that you may read (a private one needs 'hf auth login' or HF_TOKEN)."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"model.revision={revision}: {name} has no such revision.") from error
    except EntryNotFoundError as error:
        raise ModelError(f"The hub's model {name}{at} has no config.json.") from error
    except Exception as error:
        # The classes differ between huggingface_hub's versions (requests, httpx); whatever it
        # is, the hub was of no use, and the cache may hold the model.
        return _cached(name, revision, error)
    if not commit:
        return _cached(name, revision, ConnectionError("the answer names no commit"))
    return HubModel(name, commit)


def cached(name: str, revision: str | None) -> Path | None:
    """The folder of a model in the hub's local cache, ``…/snapshots/COMMIT``; None if not there.

    Args:
        name: the hub's id.
        revision: branch, tag or commit; None for the main branch.
    """
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _cached(name: str, revision: str | None, error: Exception) -> HubModel:
    folder = cached(name, revision)
    if folder is not None:
        logger.warning("The hub cannot be reached: the cached copy of %s is used.", name)
        return HubModel(name, folder.name, folder)
    root: BaseException = error  # "Connection refused", beneath the HTTP library's layers
    while (deeper := root.__cause__ or root.__context__) is not None:
        root = deeper
    reason = " ".join(str(root).split())[:160]
    raise ModelError(
        f"model.name_or_path={name}: there is no such local folder, the hub cannot be reached "
        f"({type(error).__name__}: {reason}), and the model is not in the hub's local "
        "cache. Without a network give a local folder (config.json, *.safetensors, tokenizer): "
        f"{assigned({'model': 'hf', 'model.name_or_path': '/path/to/folder'})}"
    ) from error
