"""The version, in one place, and which versions of what gave a result."""

from __future__ import annotations

from functools import cache

__version__ = "0.2.0.dev0"
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch")


@cache  # looking takes as long as a small fit
def versions() -> dict[str, str]:
    """Return the versions of the library, of Python, of what the library stands on, and the platform."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"skfdrmfl": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # imported from a folder without metadata
            found[name] = "unknown"
    return found | {"platform": platform.platform(terse=True), "machine": platform.machine()}
