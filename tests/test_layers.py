"""Arrows between layers point one way. A new arrow needs a reason, and a line in this table."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: What each layer may import, besides itself, the standard library and the listed packages.
ALLOWED: dict[str, set[str]] = {
    # The public names: imported when they are asked for.
    "backup": {"backup.library", "backup.model", "backup.repository", "backup.snapshots"},
    "backup.model": set(),
    "backup.storage": {"backup.model"},
    "backup.objects": {"backup.model", "backup.storage"},
    "backup.index": {"backup.model", "backup.storage", "backup.objects"},
    "backup.snapshots": {"backup.model", "backup.storage", "backup.objects"},
    "backup.source": {"backup.model"},
    "backup.repository": {
        "backup.model",
        "backup.storage",
        "backup.objects",
        "backup.index",
        "backup.snapshots",
    },
    "backup.ops": {
        "backup.model",
        "backup.objects",
        "backup.index",
        "backup.snapshots",
        "backup.source",
        "backup.repository",
    },
    "backup.views": {"backup.model", "backup.objects", "backup.snapshots", "backup.repository"},
    # What other programs call, side by side with the command line.
    "backup.library": {
        "backup.model",
        "backup.objects",
        "backup.snapshots",
        "backup.source",
        "backup.repository",
        "backup.ops",
        "backup.views",
    },
    "backup.cli": {
        "backup",
        "backup.library",
        "backup.model",
        "backup.objects",
        "backup.index",
        "backup.snapshots",
        "backup.source",
        "backup.repository",
        "backup.ops",
        "backup.views",
    },
    "fusefs": {"backup.model"},
}

#: Third-party packages that live in one layer only.
PACKAGES: dict[str, set[str]] = {
    "pyfuse3": {"fusefs"},
    "trio": {"fusefs"},
    "lmdb": {"backup.index"},
    "blake3": {"backup.objects"},
    "zstandard": {"backup.objects"},
    "pyfastcdc": {"backup.objects"},
    "zfec": {"backup.objects"},
    "rich": {"backup.cli"},
    "xattr": {"backup.source"},
}

#: The mount commands start and end the driver; inside their functions: no other command pays for trio.
EXCEPTIONS = {("backup/cli/commands/mount.py", "fusefs"), ("backup/cli/commands/umount.py", "fusefs")}


def layer_of(module: str) -> str:
    parts = module.split(".")
    if parts[0] == "backup" and len(parts) > 1:
        return ".".join(parts[:2])
    return parts[0]


def modules() -> list[Path]:
    return sorted([*ROOT.glob("backup/**/*.py"), *ROOT.glob("fusefs/**/*.py")])


def imports(path: Path) -> list[tuple[str, bool]]:
    """Each imported module, and whether the import stands at the top of the file."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [(f"{node.module}.{alias.name}", id(node) in top) for alias in node.names]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_layer_imports_only_what_lies_below_it(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    own = layer_of(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    for module, at_top in imports(path):
        target = layer_of(module)
        if target.split(".")[0] in {"backup", "fusefs"} and target != own:
            if (name, target.split(".")[0]) in EXCEPTIONS:
                assert not at_top, f"{name} imports {module} at its top"
                continue
            if target == "backup.__version__":
                continue
            assert target in ALLOWED[own], f"{name} imports {module}"
        if target in PACKAGES:
            assert own in PACKAGES[target], f"{name} imports {module}"
