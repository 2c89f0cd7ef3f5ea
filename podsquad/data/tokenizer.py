"""Find a fast tokenizer of transformers, or train one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from podsquad.errors import DataError, InputMissingError, PodsquadError, SettingsError, TemporaryError
from podsquad.hub_errors import Wording, explain_hub_error, first_line
from podsquad.hub_files import fetch_listed

# RoBERTa's special tokens, in the order of their ids.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
# The kinds of files that transformers makes tokenizers of, and their model's config: all small, beside weights.
_TOKENIZER_FILES = {".json", ".txt", ".model", ".jinja", ".tiktoken", ".vocab", ".bpe", ".codes"}


def load_tokenizer(name_or_folder: str, revision: str | None = None) -> Any:
    """Return the fast tokenizer (a transformers PreTrainedTokenizerFast) of a folder or of a Hub repository.

    A folder may hold what ``save_pretrained`` writes, or RoBERTa's ``vocab.json`` and ``merges.txt`` alone.
    ``revision`` is for the Hub. No code of a repository is run.

    Raises InputMissingError when the folder or the repository is not there, SettingsError when the tokenizer is
    not a fast one, cannot be read, or access to it is refused, TemporaryError when the Hub cannot be reached.
    """
    path = Path(name_or_folder).expanduser()
    if path.is_dir():
        tokenizer = _from_folder(path)
    elif _is_path(name_or_folder) or path.exists():
        raise InputMissingError(
            f"there is no tokenizer folder {name_or_folder}",
            why="features.tokenizer names a folder that does not exist or is a file",
            do="check the path, name a tokenizer of the Hub, or train one with --set features.tokenizer=train",
        )
    else:
        tokenizer = _from_hub(name_or_folder, revision)
    if not tokenizer.is_fast:
        raise SettingsError(
            f"the tokenizer {name_or_folder} ({type(tokenizer).__name__}) is not a fast one",
            why="features need the character offsets that only tokenizers of the tokenizers library give",
            do="choose a model whose repository has a tokenizer.json",
        )
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise SettingsError(
            f"the tokenizer {name_or_folder} knows no token but its {len(tokenizer)} special ones",
            why="its files hold a config and no vocabulary, as those of a model that was saved without its tokenizer",
            do="name a tokenizer with a tokenizer.json in features.tokenizer",
        )
    return tokenizer


def train_tokenizer(texts: Iterator[str], vocab_size: int) -> Any:
    """Train a byte-level BPE on ``texts`` and return it as a RobertaTokenizerFast with RoBERTa's special ids.

    Equal texts in equal order give an equal tokenizer. Every text can be encoded: all 256 bytes are in the
    vocabulary, which may stay smaller than ``vocab_size`` when the texts have fewer pairs to merge. Loading the
    saved folder with AutoTokenizer gives the same ids. Raises DataError when there is no text.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers.models.roberta.tokenization_roberta import RobertaTokenizer

    first = next(texts, None)
    if first is None:
        raise DataError(
            "there is no text to train a tokenizer on",
            why="the training split is empty",
            do="check the data settings, or name a trained tokenizer in features.tokenizer",
        )

    def all_texts() -> Iterator[str]:
        yield first
        yield from texts

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(all_texts(), trainer)
    model = json.loads(backend.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in model["merges"]]
    return RobertaTokenizer(vocab=model["vocab"], merges=merges)


def _from_folder(path: Path) -> Any:
    from transformers.models.auto.tokenization_auto import AutoTokenizer

    names = {entry.name for entry in path.iterdir()}
    try:
        described = {"tokenizer.json", "tokenizer_config.json", "config.json"} & names
        if {"vocab.json", "merges.txt"} <= names and not described:
            return _from_vocab_and_merges(path)
        return AutoTokenizer.from_pretrained(str(path), use_fast=True, trust_remote_code=False)
    except PodsquadError:
        raise
    except Exception as error:
        raise SettingsError(
            f"cannot load a fast tokenizer from the folder {path}: {first_line(error)}",
            why="it lacks a file (it holds " + (", ".join(sorted(names)[:12]) or "nothing") + "), one is damaged, "
            "or this tokenizer has no fast form",
            do="save a fast tokenizer there with save_pretrained, or name another folder in features.tokenizer",
        ) from error


def _from_vocab_and_merges(path: Path) -> Any:
    """Load RoBERTa's two files; GPT-2 and others have files of the same names but other special tokens."""
    from transformers.models.roberta.tokenization_roberta import RobertaTokenizer

    vocab = json.loads((path / "vocab.json").read_text(encoding="utf-8"))
    missing = [token for token in SPECIAL_TOKENS if token not in vocab]
    if missing:
        raise SettingsError(
            f"the tokenizer folder {path} is not RoBERTa's: its vocab.json lacks {', '.join(missing)}",
            why="vocab.json and merges.txt alone do not say which kind of tokenizer they belong to",
            do="add the tokenizer.json and tokenizer_config.json of that model to the folder",
        )
    return RobertaTokenizer.from_pretrained(str(path))


def _from_hub(name: str, revision: str | None) -> Any:
    from transformers.models.auto.tokenization_auto import AutoTokenizer

    try:
        where = name if _hub_is_offline() else _folder_of(name, revision or "main")
        # False, not unset: unset, transformers asks at the terminal whether to run a repository's code.
        return AutoTokenizer.from_pretrained(where, revision=revision or "main", use_fast=True, trust_remote_code=False)
    except Exception as error:
        # "from None": a library's message may repeat request headers, and with them the token.
        raise _explain(error, name, revision or "main") from None


def _folder_of(name: str, revision: str) -> str:
    folder = fetch_listed(name, revision, lambda path: Path(path).suffix in _TOKENIZER_FILES)
    if folder is None:
        raise SettingsError(
            f"the repository {name} has no tokenizer at {revision}",
            why="it holds none of the files that one is made of",
            do="name a repository with a tokenizer.json in features.tokenizer",
        )
    return str(folder)


def _explain(error: Exception, name: str, revision: str) -> PodsquadError:
    """Translate what the Hub or transformers raised; transformers tells some kinds by its words alone."""
    missing = (
        "check features.tokenizer and features.tokenizer_revision; a private repository needs HF_TOKEN, "
        "and HF_HUB_OFFLINE must not be set unless the cache has a copy"
    )
    wording = Wording(
        what=f"cannot load the tokenizer {name} at revision {revision}",
        doing=f"downloading the tokenizer {name}",
        refused="check that features.tokenizer names a model with a fast tokenizer, and HF_TOKEN if it is gated",
        missing=missing,
        offline=missing,
        unreachable="run the same command again later; without a network, name a folder in features.tokenizer",
        other="check that features.tokenizer names a model with a fast tokenizer, and HF_TOKEN if it is gated",
        other_kind=SettingsError,
    )
    explained = explain_hub_error(error, wording)
    # transformers hides the offline switch: the hub library then fails as it does without a network.
    offline = type(explained) is TemporaryError and _hub_is_offline()
    if offline or type(explained) is InputMissingError or "is not a valid model identifier" in str(error):
        return InputMissingError(
            wording.what + ": it is neither a folder here nor to be had from the Hub", why=first_line(error), do=missing
        )
    return explained


def _hub_is_offline() -> bool:
    from huggingface_hub.constants import is_offline_mode

    return bool(is_offline_mode())


def _is_path(name: str) -> bool:
    """Say whether the name can only be a path: a Hub name is ``name`` or ``owner/name``."""
    return name.startswith(("/", ".", "~")) or name.endswith("/") or name.count("/") > 1 or "\\" in name
