"""Taking a guarantee out of the shop: the code is there in what starts within the block, only."""

import os
import subprocess
import sys

import pytest

from labkit.lab.bug_injection import inject_bug

BUG = "from labkit.shop.order import pricing\npricing.shipping_fee = lambda _: -1"
ASK = "from labkit.shop.order.pricing import shipping_fee; print(shipping_fee(1))"


def fee_of_a_new_process() -> int:
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_bug_is_there_for_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process started in the block has it, a later one has not, and the path is restored."""
    for path in ("", "/somewhere"):
        monkeypatch.setenv("PYTHONPATH", path) if path else monkeypatch.delenv("PYTHONPATH", False)
        with inject_bug(BUG):
            assert fee_of_a_new_process() == -1
        assert fee_of_a_new_process() >= 0
        assert os.environ.get("PYTHONPATH", "") == path


def test_what_is_no_python_is_refused() -> None:
    """Told here, where the line stands, and not in the log of a lab that does not come up."""
    with pytest.raises(SyntaxError), inject_bug("def"):
        pass
