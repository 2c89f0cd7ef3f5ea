"""Text to features: podsquad's tokenize stage against Hugging Face's run_qa.py through datasets.map.

    python -m benchmarks.features SQUAD_FOLDER TOKENIZER_FOLDER

SQUAD_FOLDER holds train.json and dev.json in SQuAD v1.1's layout, TOKENIZER_FOLDER roberta-base's files; 384 tokens,
stride 128. Three measurements, one process each:

one core   Both contenders turn by turn in one process that is pinned to one core, with TOKENIZERS_PARALLELISM=false,
           one thread for OpenMP and Arrow. The borders are the same: both begin with opened tables and a loaded
           tokenizer and end with features in files of Arrow, which podsquad also flushes to the disk. The peer is
           run_qa.py's preprocessing (tests/data/run_qa_peer.py) under datasets.map with run_qa.py's defaults: batched,
           1,000 questions a batch, padded to max_length. Every number is compared first. What podsquad's stage does
           besides, a copy of the tokenizer, is timed and told apart: run_qa.py makes that copy with its model's.
two cores  podsquad with 1 and 2 workers, turn by turn, on two cores.
memory     The largest resident size of a process that makes at least 100,000 features of the same text, every paragraph
           made distinct by a line of its own, from its start to its end.

"real" is the text as it is: each word is new to podsquad once per run, as it keeps nothing between runs (the tokenizers
library does, for both: the tokens of the first 10,000 words that it met). "grown" is that
text some times over, with distinct paragraphs and new words: each time a third of the words of six letters and more
have their letters moved along the alphabet, so that the vocabulary grows with the text, as it does in SQuAD, which is
larger yet. The fixed costs are those of a run on no questions at all: mainly the flushing of three files.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import string
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.timing import RESULTS, Times, compare, surroundings
from podsquad.store.durable import write_json

if TYPE_CHECKING:
    from podsquad.data.features import KeptTokenizer

RESULT = RESULTS / "features.json"
MAX_LENGTH, STRIDE = 384, 128
ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def main() -> None:
    """Run the measurements in processes of their own; print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("squad", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=32, help="repetitions of the text for size (default 32)")
    parser.add_argument("--measure", choices=sorted(MEASUREMENTS), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(MEASUREMENTS[options.measure](options)))
        return
    with tempfile.TemporaryDirectory() as work:
        arguments = [str(options.squad), str(options.tokenizer), f"--rounds={options.rounds}"]
        arguments += [f"--times={options.times}", f"--work={work}"]
        result: dict[str, Any] = {}
        for name in MEASUREMENTS:
            command = [sys.executable, "-m", "benchmarks.features", *arguments, "--measure", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | ONE_THREAD)
            result[name] = json.loads(done.stdout.splitlines()[-1])
            print(name, json.dumps(result[name], indent=2))
    names = ("numpy", "pyarrow", "tokenizers", "transformers", "datasets")
    write_json(RESULT, result | surroundings(names))
    print(f"written to {RESULT}")


def one_core(options: argparse.Namespace) -> dict[str, Any]:
    """Compare with the peer on the real text, and on a text that has grown out of it."""
    import pyarrow

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    return {
        "real": _against_run_qa(options, times=1, rounds=options.rounds),
        "grown": _against_run_qa(options, times=options.times // 4, rounds=max(options.rounds // 2, 1)),
    }


def two_cores(options: argparse.Namespace) -> dict[str, Any]:
    """Compare 1 and 2 workers."""
    dataset = _dataset(options, options.times)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    contenders = {f"{number}_worker{'s' * (number > 1)}": _ours(options, dataset, number)[0] for number in (1, 2)}
    counts = [run() for run in contenders.values()]
    times = compare(contenders, options.rounds)
    return _figures(times, *contenders, counts[0]) | {"cores": len(os.sched_getaffinity(0))}


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Return the largest resident size, in MiB, of a process that makes 100,000 features or more."""
    dataset = _dataset(options, options.times)  # made by two_cores, before this process began
    run, _ = _ours(options, dataset, workers=2)
    before = resident_mib("VmRSS")
    num_features = run()
    return {
        "num_features": num_features,
        "workers": 2,
        "peak_resident_mib": round(resident_mib("VmHWM"), 1),
        "resident_before_mib": round(before, 1),
    }


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "one_core": one_core,
    "two_cores": two_cores,
    "memory": memory,
}


def _against_run_qa(options: argparse.Namespace, times: int, rounds: int) -> dict[str, Any]:
    import datasets

    from podsquad.data.arrow import SPLITS, Features
    from podsquad.data.dataset import read_questions
    from podsquad.data.tokenizer import load_tokenizer
    from tests.data.run_qa_peer import prepare

    dataset = _dataset(options, times)
    tokenizer = load_tokenizer(str(options.tokenizer))
    tables = {}
    for split in SPLITS:
        questions = read_questions(dataset, split)
        answers = [
            {"text": list(texts), "answer_start": list(starts)}
            for texts, starts in zip(questions.answers, questions.answer_starts, strict=True)
        ]
        columns = {"question": questions.questions, "context": questions.contexts, "answers": answers}
        # Written and read again: run_qa.py too maps over a memory-mapped data set.
        folder = options.work / f"hugging-face-{times}-{split}"
        if not folder.exists():
            datasets.Dataset.from_dict(columns).save_to_disk(str(folder))
        tables[split] = datasets.load_from_disk(str(folder))

    def examples_to_features(examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        prepared = prepare(tokenizer, examples, MAX_LENGTH, STRIDE, pad_to_max_length=True)
        return {name: prepared[name] for name in ("input_ids", "attention_mask", "start_positions", "end_positions")}

    def run_qa() -> int:
        made = 0
        for split, table in tables.items():
            target = str(options.work / f"mapped-{split}.arrow")
            features = table.map(
                examples_to_features,
                batched=True,
                remove_columns=table.column_names,
                load_from_cache_file=False,
                cache_file_name=target,
            )
            made += len(features)
        return made

    ours, keep = _ours(options, dataset, workers=1)
    num_features = ours()
    if run_qa() != num_features:
        raise SystemExit("the number of features differs")
    for split, table in tables.items():
        features, theirs = Features(_output(options), split), prepare(tokenizer, table[:], MAX_LENGTH, STRIDE)
        wanted = [
            mapping[first : first + length]
            for mapping, first, length in zip(
                theirs["offsets"], features.context_start.tolist(), features.context_length.tolist(), strict=True
            )
        ]
        mine = zip(features.char_starts.flat.tolist(), features.char_ends.flat.tolist(), strict=True)
        same = (
            features.question_index.tolist() == theirs["sample"]
            and features.input_ids.flat.tolist() == [index for ids in theirs["input_ids"] for index in ids]
            and list(mine) == [pair for pairs in wanted for pair in pairs]
            and features.start_position.tolist() == theirs["start_positions"]
            and features.end_position.tolist() == theirs["end_positions"]
        )
        if not same:
            raise SystemExit(f"the {split} features differ")
    fixed, _ = _ours(options, _dataset(options, 0), workers=1)
    fixed()
    times = compare({"run_qa_map": run_qa, "podsquad": ours, "tokenizer_copy": keep}, rounds)
    nothing = compare({"podsquad": fixed}, rounds).medians()["podsquad"]
    theirs, mine, copy = times.medians().values()
    return _figures(times, "run_qa_map", "podsquad", num_features) | {
        "podsquad_on_no_questions_seconds": nothing,
        "times_faster_per_further_feature": theirs / (mine - nothing),
        "times_faster_with_tokenizer_copy": theirs / (mine + copy),
    }


def _ours(options: argparse.Namespace, dataset: Path, workers: int) -> tuple[Callable[[], int], Callable[[], object]]:
    """Return what makes the features and tells their number, and what makes the copy of the tokenizer beside them."""
    from podsquad.config.data_settings import FeatureSettings
    from podsquad.data.arrow import SPLITS, read_layout
    from podsquad.data.features import keep_tokenizer, write_features
    from podsquad.data.questions import QuestionTable
    from podsquad.data.tokenizer import load_tokenizer

    settings = FeatureSettings(
        tokenizer=str(options.tokenizer),
        max_length=MAX_LENGTH,
        stride=STRIDE,
        workers=workers,
        label_closing_token=True,  # as run_qa.py
    )
    output = _output(options)
    output.mkdir(exist_ok=True)

    def keep() -> KeptTokenizer:
        return keep_tokenizer(tokenizer, output, MAX_LENGTH, log=lambda line: None)

    def run() -> int:
        write_features(settings, kept, tables, output, progress=lambda done, total: None, log=lambda line: None)
        return sum(int(split["num_features"]) for split in read_layout(output)["splits"].values())

    tables = {split: QuestionTable(dataset, split) for split in SPLITS}
    tokenizer = load_tokenizer(settings.tokenizer)
    kept = keep()
    return run, keep


def _output(options: argparse.Namespace) -> Path:
    return Path(options.work) / "features"


def _dataset(options: argparse.Namespace, times: int) -> Path:
    """Make a dataset of the text ``times`` over; all paragraphs but the first time's begin with a line of their own."""
    from podsquad.data.dataset import write_split
    from podsquad.data.squad import Answer, Record, parse_squad

    folder = Path(options.work) / f"dataset-{times}"
    if folder.exists():
        return folder
    folder.mkdir()
    for split, name in (("train", "train.json"), ("validation", "dev.json")):
        records = parse_squad((options.squad / name).read_bytes(), name)
        more = []
        for time_ in range(times):
            line = f"{time_}.\n" if time_ else ""
            for one in records:
                context = line + _with_new_words(one.context, time_)
                answers = tuple(
                    Answer(context[start : start + len(answer.text)], start)
                    for answer in one.answers
                    for start in [answer.start + len(line)]
                )
                question = _with_new_words(one.question, time_)
                more.append(Record(f"{time_}-{one.id}", one.title, context, question, answers, one.where))
        write_split(folder / f"{split}.arrow", more)
    return folder


def _with_new_words(text: str, time_: int) -> str:
    """Return the text with a third of its longer words, another third each time, as words that were never seen."""
    if time_ == 0:
        return text
    moved = str.maketrans(
        {
            first: chr(ord(start) + (ord(first) - ord(start) + time_) % 26)
            for start, letters in (("a", string.ascii_lowercase), ("A", string.ascii_uppercase))
            for first in letters
        }
    )

    def change(match: re.Match[str]) -> str:
        word = match[0]
        return word.translate(moved) if zlib.crc32(word.encode()) % 3 == time_ % 3 else word

    return re.sub("[A-Za-z]{6,}", change, text)


def resident_mib(name: str) -> float:
    """Return one of this process's sizes in MiB. VmHWM, the peak, is Linux's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


def _figures(times: Times, peer: str, ours: str, num_features: int) -> dict[str, Any]:
    return times.as_json() | {
        "num_features": num_features,
        "features_per_second": {name: round(num_features / times.medians()[name]) for name in (peer, ours)},
        "times_faster": times.times_faster(peer, ours),
        "times_less_processor_time": times.times_less_processor_time(peer, ours),
    }


if __name__ == "__main__":
    main()
