"""Methods of nerfstudio with nerfreg's regularizers, and a way to give them to any other method.

nerfstudio finds the methods by itself (``ns-train nerfreg-nerfacto --help``). Importing this package
does not import nerfstudio: :mod:`~nerfreg.integrations.nerfstudio.methods` does so when asked.
"""

__all__: list[str] = []
