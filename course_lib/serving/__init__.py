"""A model as a service: the package it travels in, the HTTP interface, and a server that a notebook starts and stops.

The names below are imported when they are first used, so that a worker process loads no more than it needs.
"""

from importlib import import_module

_HOMES = {
    "Options": "options",
    "Package": "package",
    "PackageError": "package",
    "Server": "server",
    "ServerError": "server",
    "create_app": "app",
    "load_package": "package",
    "read_feedback": "feedback",
    "write_package": "writing",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
