"""Features of real text for the benchmarks that train: SQuAD-layout files and roberta-base's tokenizer, if at hand."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared/data"
SQUAD, TOKENIZER = SHARED / "squad", SHARED / "roberta-base-tokenizer"
MAX_LENGTH, STRIDE = 384, 128


def add_text_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--text SQUAD TOKENIZER``, the two folders."""
    parser.add_argument("--text", type=Path, nargs=2, metavar=("SQUAD", "TOKENIZER"), default=(SQUAD, TOKENIZER))


def need_text(text: Sequence[Path]) -> None:
    """End the program with what is missing, unless both folders are there."""
    if not is_there(*text):
        raise SystemExit(f"this needs real text: train.json and dev.json in {text[0]}, and a tokenizer in {text[1]}")


def is_there(squad: Path = SQUAD, tokenizer: Path = TOKENIZER) -> bool:
    """Tell whether both folders are there: train.json and dev.json in SQuAD v1.1's layout, and a tokenizer."""
    return (squad / "train.json").is_file() and (squad / "dev.json").is_file() and tokenizer.is_dir()


def make_real_features(folder: Path, squad: Path = SQUAD, tokenizer: Path = TOKENIZER) -> Path:
    """Make the features of that text in the new folder, as the tokenize stage does, and return it."""
    from podsquad.config.data_settings import FeatureSettings
    from podsquad.data.dataset import write_split
    from podsquad.data.features import build_features
    from podsquad.data.squad import parse_squad

    dataset = folder.with_name(folder.name + "-dataset")
    dataset.mkdir(parents=True)
    for split, name in (("train", "train.json"), ("validation", "dev.json")):
        write_split(dataset / f"{split}.arrow", parse_squad((squad / name).read_bytes(), name))
    folder.mkdir()
    settings = FeatureSettings(tokenizer=str(tokenizer), max_length=MAX_LENGTH, stride=STRIDE)
    build_features(settings, dataset, folder, log=lambda line: None)
    return folder
