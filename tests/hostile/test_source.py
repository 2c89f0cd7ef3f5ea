"""The source itself: nothing is unpickled, unpacked or executed that somebody else may have written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import podsquad

ROOT = Path(podsquad.__file__).parent.parent
ROOMS = ("podsquad", "flows", "tasks", "deployments", "benchmarks", "scripts")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
UNPACKS = {"extract", "extractall", "unpack_archive"}
YAML_LOADERS = {"load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all"}
WANTED = {"trust_remote_code": False, "use_safetensors": True}
# The emulation's poptorch.load is the SDK's: it brings back what poptorch.compileAndExport of the same user saved, and
# says so. podsquad's own runtimes do not call it.
ALLOWED = {("podsquad/runtimes/emulator/packages/poptorch/archive.py", "torch.load without weights_only=True")}


def faults(tree: ast.AST) -> Iterator[str]:
    """Yield what a source does that could execute what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"import of {name}" for name in modules if name.partition(".")[0] in PICKLES)
        if isinstance(node, ast.Call):
            yield from _faults_of_call(node)
        if isinstance(node, ast.keyword) and node.arg in WANTED and not _is(node.value, WANTED[node.arg]):
            yield node.arg


def _faults_of_call(node: ast.Call) -> Iterator[str]:
    called = ast.unparse(node.func)
    holder, _, name = called.rpartition(".")
    given = {each.arg: each.value for each in node.keywords}
    if called in ("eval", "exec", "__import__"):
        yield f"{called}()"
    if called == "torch.load" and not _is(given.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if holder in ("np", "numpy") and name == "load" and not _is(given.get("allow_pickle"), False):
        yield "numpy.load without allow_pickle=False"
    if name in ("from_pretrained", "from_config"):
        yield from (f"{called} without {guard}=" for guard in _guards(holder, name) if guard not in given)
    if name == "read_pickle" or (holder.endswith("yaml") and name in YAML_LOADERS) or name in UNPACKS:
        yield f"{called}()"


def _guards(holder: str, name: str) -> Iterator[str]:
    """Yield what a load must be told: transformers else asks at the terminal whether to run code, or unpickles."""
    kind = holder.rpartition(".")[2]
    if kind.startswith("Auto"):  # the others run no code but their own
        yield "trust_remote_code"
    if name == "from_pretrained" and re.search("Model|For[A-Z]", kind):
        yield "use_safetensors"


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_unpickled_unpacked_or_executed(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    found = {(name, fault) for fault in faults(ast.parse(path.read_text(encoding="utf-8")))}
    assert found == {each for each in ALLOWED if each[0] == name}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.memory",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "torch.load(file, weights_only=trusted)",
        "np.load(file)",
        "numpy.load(file, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "archive.extractall(folder)",
        "shutil.unpack_archive(file)",
        "pandas.read_pickle(file)",
        "eval(text)",
        "exec(text)",
        "AutoModel.from_pretrained(name, trust_remote_code=True, use_safetensors=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=False, use_safetensors=False)",
        "AutoModel.from_pretrained(name, trust_remote_code=False)",
        "AutoModelForQuestionAnswering.from_pretrained(name, use_safetensors=True, **options)",
        "AutoModelForQuestionAnswering.from_config(config)",
        "transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)",
        "AutoConfig.from_pretrained(folder)",
        "RobertaForQuestionAnswering.from_pretrained(folder)",
    ],
)
def test_the_scan_finds_it(line: str) -> None:
    assert list(faults(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "torch.load(f, weights_only=True)",
        "np.load(f, allow_pickle=False)",
        "yaml.safe_load(t)",
        "re.compile(t)",
        "AutoModel.from_pretrained(name, trust_remote_code=False, use_safetensors=True)",
        "AutoConfig.from_pretrained(name, trust_remote_code=False, **options)",
        "AutoModel.from_config(config, trust_remote_code=False)",
        "RobertaTokenizer.from_pretrained(folder)",
    ],
)
def test_the_scan_lets_it_be(line: str) -> None:
    assert not list(faults(ast.parse(line)))
