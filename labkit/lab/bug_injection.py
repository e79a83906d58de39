"""Taking a guarantee out of the shop, to see that somebody notices.

No line of the product knows of it: Python itself reads the code first, in every process that it
starts.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FIRST = "sitecustomize.py"  # Python imports it before all else
_PATH = "PYTHONPATH"


@contextmanager
def inject_bug(code: str) -> Iterator[None]:
    """Have every lab that is *started* within a block run with other code in it.

    Args:
        code: Python that puts it in, as `from labkit.shop import goods; goods.… = …`.

    Raises:
        SyntaxError: it is not Python.
    """
    compile(code, _FIRST, "exec")
    before = os.environ.get(_PATH)
    with tempfile.TemporaryDirectory(prefix="sabotage-") as folder:
        (Path(folder) / _FIRST).write_text(code, encoding="utf-8")
        os.environ[_PATH] = os.pathsep.join(filter(None, [folder, before]))
        try:
            yield
        finally:
            if before is None:
                del os.environ[_PATH]
            else:
                os.environ[_PATH] = before
