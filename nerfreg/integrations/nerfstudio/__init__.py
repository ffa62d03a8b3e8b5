"""Methods of nerfstudio with nerfreg's regularizers, and a way to give them to any other method.

nerfstudio finds the methods by itself (``ns-train nerfreg-nerfacto --help``). Importing this
package does not import nerfstudio; asking :mod:`~nerfreg.integrations.nerfstudio.methods` for a
method does.
"""

__all__: list[str] = []
