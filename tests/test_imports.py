"""Who may import whom, which rooms run on Python 3.8, what a key covers, and what the command loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import podsquad
from podsquad.config.load import load_settings
from podsquad.config.section import STAGE_NAMES, StageName
from podsquad.stages import builders
from podsquad.stages.catalog import STAGES
from podsquad.stages.runtimes import runtime_modules
from podsquad.store.source import CARRIERS, code_digests

ROOT = Path(podsquad.__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("podsquad", "tasks", "flows")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "packages" not in path.parts  # of the emulation: they stand outside podsquad, in the place of the SDK's
}
EMULATION = sorted((ROOT / "podsquad/runtimes/emulator/packages").rglob("*.py"))
OLD_PYTHON = (
    "podsquad.errors",
    "podsquad.hub_errors",
    "podsquad.hub_files",
    "podsquad.hub_log",
    "podsquad.hub_waits",
    "podsquad.data.arrow",
    "podsquad.store.durable",
    "podsquad.runtimes.job",
    "podsquad.runtimes.order",
    "podsquad.runtimes.plan_file",
    "podsquad.runtimes.batch_plan",
    "podsquad.runtimes.checkpoints",
    "podsquad.runtimes.base_errors",
    "podsquad.runtimes.base_model",
    "podsquad.runtimes.emulator",
    *(name for name in MODULES if name.startswith("podsquad.runtimes.ipu.")),
)
PREFECT_AND_ABOVE = ("prefect", "flows", "tasks")
MAY_RUN_THE_FLOW = "podsquad.cli"  # and nothing else of Prefect but what reads the Hub's token: when it is asked to


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield what is imported anywhere below: modules, and names from modules as ``module.name``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports would hide from store/source.py"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def without_functions(tree: ast.Module) -> ast.Module:
    """Return the tree as it runs at import: no bodies of functions, no TYPE_CHECKING blocks."""

    class Remover(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node

    made = Remover().visit(tree)
    assert isinstance(made, ast.Module)
    return made


def tops(names: Iterator[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def matches(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == each or name.startswith(each + ".") for each in allowed)


@pytest.mark.parametrize("module", [name for name in MODULES if matches(name, ("podsquad",))])
def test_the_domain_knows_neither_prefect_nor_what_lies_above(module: str) -> None:
    tree = tree_of(module)
    if module == MAY_RUN_THE_FLOW:
        assert {name for name in imports(tree) if matches(name, PREFECT_AND_ABOVE)} == {
            "flows.local",
            "flows.local.run_here",
            "tasks.hub_token",
            "tasks.hub_token.hub_token",
        }
        tree = without_functions(tree)
    assert tops(imports(tree)).isdisjoint(PREFECT_AND_ABOVE)


@pytest.mark.parametrize("module", [name for name in MODULES if matches(name, ("tasks",))])
def test_tasks_do_not_know_flows(module: str) -> None:
    assert "flows" not in tops(imports(tree_of(module)))


@pytest.mark.parametrize("module", [name for name in MODULES if matches(name, ("podsquad.runtimes",))])
def test_runtimes_run_where_prefect_pydantic_and_datasets_are_absent(module: str) -> None:
    allowed: tuple[str, ...] = (
        "podsquad.runtimes",
        "podsquad.errors",
        "podsquad.hub_errors",
        "podsquad.hub_waits",
        "podsquad.hub_files",
        "podsquad.data.arrow",
        "podsquad.store.durable",
    )
    if module == "podsquad.runtimes.launch":
        allowed = ("podsquad.runtimes.job", "podsquad.errors")
    found = set(imports(tree_of(module)))
    ours = {name for name in found if matches(name, ("podsquad",))}
    # "from podsquad.data import arrow" yields the package too, which holds nothing.
    packages = {name for name in ours if MODULES.get(name, Path()).name == "__init__.py"}
    assert {name for name in ours - packages if not matches(name, allowed)} == set()
    assert tops(iter(found)).isdisjoint(
        {"prefect", "pydantic", "datasets", "typer", "rich", "filelock", "flows", "tasks"}
    )
    if module in ("podsquad.runtimes.launch", "podsquad.runtimes.job"):
        assert tops(iter(found)) <= {"podsquad", *sys.stdlib_module_names}


@pytest.mark.parametrize("module", [name for name in MODULES if matches(name, ("podsquad.runtimes.ipu",))])
def test_the_ipu_program_imports_its_stack_alone(module: str) -> None:
    stack = {"optimum", "transformers", "poptorch", "popdist", "torch", "safetensors", "pyarrow", "numpy"}
    assert tops(imports(tree_of(module))) <= {"podsquad", *stack, *sys.stdlib_module_names}


@pytest.mark.parametrize("path", EMULATION, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_emulation_stands_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    absolute = [node for node in ast.walk(tree) if not (isinstance(node, ast.ImportFrom) and node.level)]
    named = {name for node in absolute if isinstance(node, ast.Import) for name in (each.name for each in node.names)}
    named |= {node.module or "" for node in absolute if isinstance(node, ast.ImportFrom)}
    assert tops(iter(named)) <= {
        "poptorch",
        "popart",
        "torch",
        "numpy",
        "transformers",
        "tqdm",
        *sys.stdlib_module_names,
    }


@pytest.mark.parametrize("module", OLD_PYTHON)
def test_rooms_of_the_poplar_sdk_are_python_3_8(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"), feature_version=(3, 8))
    assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
    # Newer than 3.8 though the grammar takes them: built-in generics, and unions, where they are evaluated.
    for node in ast.walk(without_annotations(tree)):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in ("list", "dict", "tuple", "set", "type"), ast.unparse(node)
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("removeprefix", "removesuffix", "is_relative_to"), ast.unparse(node)
    assert {name for name in imports(tree) if matches(name, ("podsquad",)) and name in MODULES} <= set(OLD_PYTHON)


def without_annotations(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return tree


def holds_something(module: str) -> bool:
    return module in MODULES and MODULES[module].stat().st_size > 0


def closure(roots: set[str]) -> set[str]:
    """Return the modules of podsquad that ``roots`` import, directly or not, and the roots; carriers are left out."""
    found: set[str] = set()
    waiting = {root for root in roots if holds_something(root)}
    while waiting:
        module = waiting.pop()
        if module in found or module in CARRIERS:
            continue
        found.add(module)
        waiting |= {name for name in imports(tree_of(module)) if matches(name, ("podsquad",)) and holds_something(name)}
    return found


@pytest.mark.parametrize("module", [name for name in MODULES if matches(name, ("podsquad",)) and holds_something(name)])
def test_the_source_of_every_module_is_followed_as_python_does(module: str) -> None:
    assert set(code_digests([module], carriers=())) == uncarried_closure(module)


def uncarried_closure(module: str) -> set[str]:
    found, waiting = set(), {module}
    while waiting:
        found.add(each := waiting.pop())
        names = {name for name in imports(tree_of(each)) if matches(name, ("podsquad",)) and holds_something(name)}
        waiting |= names - found
    return found


def builder_of(stage: StageName) -> ast.FunctionDef:
    name = STAGES[stage].build.__name__
    return next(
        node for node in tree_of(builders.__name__).body if isinstance(node, ast.FunctionDef) and node.name == name
    )


def helpers_of(builder: ast.FunctionDef) -> list[ast.FunctionDef]:
    """Return the functions beside a builder that it names."""
    named = {node.id for node in ast.walk(builder) if isinstance(node, ast.Name)}
    beside = [node for node in tree_of(builders.__name__).body if isinstance(node, ast.FunctionDef)]
    return [node for node in beside if node.name in named and node is not builder]


@pytest.mark.parametrize("profile", ["demo", "pod16-emulated"])
@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_a_stage_s_key_covers_every_module_that_its_builder_can_import(stage: StageName, profile: str) -> None:
    settings = load_settings(profile).settings
    builder = builder_of(stage)
    called = (builder, *helpers_of(builder))
    roots = {name for function in called for name in imports(function) if matches(name, ("podsquad",))}
    verbs = {
        str(node.args[1].value)
        for node in ast.walk(builder)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_run"
        if isinstance(node.args[1], ast.Constant)
    }
    verb = STAGES[stage].verb
    assert verbs == ({verb} if verb else set())
    roots |= {f"podsquad.runtimes.{settings.runtime.name}.{each}" for each in verbs}
    assert roots
    assert all(holds_something(root) for root in roots if root.startswith("podsquad.runtimes."))
    modules = STAGES[stage].modules + (runtime_modules(settings, verb) if verb else ())
    assert closure(roots) <= set(code_digests(modules))
    # A change of one runtime leaves the others' keys as they are.
    other = {"torch": "podsquad.runtimes.ipu", "ipu": "podsquad.runtimes.torch"}[settings.runtime.name]
    assert not [name for name in code_digests(modules) if matches(name, (other,))]


def test_help_loads_nothing_heavy() -> None:
    program = """
import json, sys
from podsquad.cli import main
try:
    main(["--help"])
except SystemExit as end:
    print(json.dumps({"code": end.code or 0, "modules": sorted(sys.modules)}))
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    *told, last = child.stdout.splitlines()
    result = json.loads(last)
    assert result["code"] == 0
    assert any("retrain" in line.lower() for line in told)
    heavy = {"torch", "prefect", "transformers", "datasets", "pyarrow", "numpy", "matplotlib", "pydantic", "tokenizers"}
    assert heavy.isdisjoint(name.partition(".")[0] for name in result["modules"])
