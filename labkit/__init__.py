"""labkit: a running shop that teaches how data stays right when any step fails."""

import os

_LOOPBACK = "localhost,127.0.0.1,::1"


def _keep_proxies_off_the_loopback() -> None:
    """Exclude the loopback from the proxies that the environment names.

    The lab's own clients ignore these variables. Libraries do not: Docker's, and the exporters of
    OpenTelemetry. Where no proxy is named nothing is set, because on macOS a `no_proxy` alone would
    hide the system's own settings.
    """
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return
    excluded = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if _LOOPBACK not in excluded and excluded.strip() != "*":
        os.environ["no_proxy"] = ",".join(filter(None, [excluded, _LOOPBACK]))


_keep_proxies_off_the_loopback()

__version__ = "0.1.0"
