"""Bridges to other libraries, one a module; each is imported only when asked for."""

__all__: list[str] = []
