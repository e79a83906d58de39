"""Working on the example releases: `python -m course.releases unpack FOLDER`, then `pack FOLDER`.

`unpack` makes the tree of each release, as FOLDER/1.1; whoever has changed one runs `pack`, which
writes the differences anew. When this tree changes below them, `unpack` says which do not fit.
"""

import difflib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from labkit.stack.releases.release import own
from labkit.stack.releases.unpack import apply, copy_release, differences

_ROOT = Path(__file__).parents[2]


def unpack(folder: Path) -> None:
    """Make the tree of every release below a folder."""
    earlier = folder / str(own().number)
    copy_release(_ROOT, earlier)
    for number, file in differences().items():
        later = folder / str(number)
        shutil.copytree(earlier, later)
        apply(file, later)
        earlier = later


def pack(folder: Path) -> None:
    """Write the differences of every release below a folder anew."""
    earlier = folder / str(own().number)
    for number, file in differences().items():
        later = folder / str(number)
        file.write_text("".join(_differences(earlier, later)), "utf-8")
        earlier = later


def _differences(earlier: Path, later: Path) -> Iterator[str]:
    names = {
        str(file.relative_to(tree)) for tree in (earlier, later) for file in tree.rglob("*.py")
    }
    for name in sorted(names):
        before, after = _lines(earlier / name), _lines(later / name)
        if before != after:
            yield f"diff --git a/{name} b/{name}\n"
            if not before:
                yield "new file mode 100644\n"
            first = f"a/{name}" if before else "/dev/null"
            yield from difflib.unified_diff(before, after, first, f"b/{name}")


def _lines(file: Path) -> list[str]:
    return file.read_text("utf-8").splitlines(keepends=True) if file.is_file() else []


if __name__ == "__main__":
    {"unpack": unpack, "pack": pack}[sys.argv[1]](Path(sys.argv[2]))
