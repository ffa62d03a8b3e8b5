"""Docstrings as the site shows them: public names under the path that users type, in Markdown.

A griffe extension. The package itself is left as it is: its docstrings stay readable in a terminal.
"""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

from griffe import Alias, DataclassesExtension, Extension, GriffeLoader, Module, Object

ROLE = re.compile(r":(\w+):`(~?)([^`]+)`")
FORMULA = re.compile(r"^( *)\.\. math:: ?(.*(?:\n(?:\1 +.*| *$))*)", re.MULTILINE)
TITLE = re.compile(r"^(Numerics|Source):", re.MULTILINE)
RETURNED = re.compile(r"^((?:Returns|Yields):\n +)(?=\S)", re.MULTILINE)


class PublicNames(Extension):
    """Move what a package lists in ``__all__`` into it, then turn docstrings into Markdown.

    ``nerfreg.losses.depth_kl`` is a function to Python and, to whoever only reads files, the module
    that holds it.
    """

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **kwargs: Any) -> None:
        """Rework the package, once all of its files are read."""
        del loader, kwargs
        # Dataclasses find their bases' fields while they are where they were written.
        DataclassesExtension().on_package(pkg=pkg)
        rooms = list(packages(pkg))
        listed = [
            (room, str(name), original(pkg, f"{room.path}.{name}"))
            for room in (*rooms, pkg)
            for name in room.exports or ()
        ]
        for room in rooms:  # a module beside its function: DepthKL, depth_kl
            room.exports = sorted(map(str, room.exports or ()), key=twins)
        homes: dict[str, str] = {}
        for room, name, member in listed:
            if name in homes:  # nerfreg lists again what is at home in a room
                again = Alias(name, member, parent=room)
                again.public = False  # its page is the room's
                room.members[name] = member.aliases[again.path] = again
            else:
                member.aliases[member.path] = Alias(name, member)
                member.parent = room
                room.members[name] = member
                homes[name] = member.path
        for bridge in pkg["integrations"].members.values():
            bridge.public = True  # though the room lists nothing: each is imported by itself
        write_markdown(pkg, homes, set())


def twins(name: str) -> tuple[str, bool]:
    """Order names so that a class comes right before the function of its name."""
    return name.replace("_", "").lower(), name[0].islower()


def packages(pkg: Module) -> Iterator[Module]:
    """Find the rooms, and rooms in rooms, without the house itself."""
    for member in pkg.members.values():
        if not member.is_alias and member.is_module and member.is_init_module:
            yield member
            yield from packages(member)


def original(pkg: Module, path: str) -> Object:
    """Follow imports to where an object is defined."""
    *modules, name = path.split(".")[1:]
    module = pkg
    for part in modules:
        module = module.members[part]
    if name in module.imports:
        return original(pkg, module.imports[name])
    return module.members[name]


def write_markdown(owner: Object, homes: dict[str, str], done: set[int]) -> None:
    """Rewrite the docstrings of an object and of all below it."""
    if owner.is_alias or id(owner) in done:
        return
    done.add(id(owner))
    owner.members.pop("extra_repr", None)  # torch's, in every module
    if owner.docstring is not None:
        owner.docstring.value = markdown(owner.docstring.value, owner, homes)
    for member in owner.members.values():
        write_markdown(member, homes, done)


def markdown(text: str, owner: Object, homes: dict[str, str]) -> str:
    """Turn reStructuredText's roles and formulas, and our own sections, into Markdown."""

    def link(match: re.Match[str]) -> str:
        role, short, name = match.groups()
        if role == "math":
            return f"${name}$"
        title, _, target = " ".join(name.split()).partition(" <")
        name = target.rstrip(">") or title
        shown = title.rpartition(".")[2] if short else title
        path = public_path(name, owner, homes)
        return f"[`{shown}`][{path}]" if path else f"`{shown}`"

    def formula(match: re.Match[str]) -> str:
        indent, body = match.groups()
        first, _, rest = body.partition("\n")
        lines = f"{first}\n{textwrap.dedent(rest)}".strip()
        return textwrap.indent(f"\n$$\n{lines}\n$$\n", indent)

    text = ROLE.sub(link, FORMULA.sub(formula, text))
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    # griffe takes what stands before a colon for a type; an empty one comes before the text's own.
    text = RETURNED.sub(r"\1: ", text)
    return TITLE.sub(r"**\1.**", text)


def public_path(name: str, owner: Object, homes: dict[str, str]) -> str | None:
    """Find what a docstring names: its own class's member, or a public name, with a member or not.

    Names of what is not public are left as they are, without a link.
    """
    if name in owner.members:
        return f"{owner.path}.{name}"
    if owner.parent is not None and owner.parent.is_class and name in owner.parent.members:
        return f"{owner.parent.path}.{name}"
    parts = name.split(".")
    for i, part in enumerate(parts):
        if part in homes:
            return ".".join([homes[part], *parts[i + 1 :]])
    return name if name.startswith("nerfreg.integrations.") else None
