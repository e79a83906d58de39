"""Bug injection: processes run with other code, to see whether a check notices it.

No line of the product knows of it: Python itself runs the code first in every process that it
starts.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MODULE = "sitecustomize.py"  # Python imports it before all else
_PATH = "PYTHONPATH"


@contextmanager
def inject_bug(code: str) -> Iterator[None]:
    """Run a bug in every lab that is *started* within a block.

    A process of another release is started when services are taken there: within the block too.

    Args:
        code: Python that puts the bug in, as `from labkit.shop import goods; goods.… = …`.

    Raises:
        SyntaxError: it is not Python.
    """
    compile(code, _MODULE, "exec")
    before = os.environ.get(_PATH)
    with tempfile.TemporaryDirectory(prefix="bug-injection-") as folder:
        (Path(folder) / _MODULE).write_text(code, encoding="utf-8")
        os.environ[_PATH] = os.pathsep.join(filter(None, [folder, before]))
        try:
            yield
        finally:
            if before is None:
                del os.environ[_PATH]
            else:
                os.environ[_PATH] = before
