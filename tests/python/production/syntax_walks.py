"""Walk through the tree of a statement as sqlglot does, in less time.

fakesnow walks ninety times through each statement, mostly without a change: the nodes that the last
walk has found are those of the next one, until somebody changes the tree.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from sqlglot import exp


class _Walked(threading.local):
    """Hold what this thread has walked through last, and count what changes trees."""

    def __init__(self) -> None:
        self.changes = [0]
        self.places: list[Place] = []
        self.changes_before = -1


# A node, and where it stands: below which node, under which name, at which place of a list.
Place = tuple[Any, Any, str | None, int | None]
WALKED = _Walked()


def _counted(change: Any) -> Any:
    """Count a method that changes a tree."""

    def changed(*arguments: Any, **options: Any) -> Any:
        WALKED.changes[0] += 1
        return change(*arguments, **options)

    return changed


def _places(root: Any) -> list[Place]:
    """Return the nodes of a tree, each before what is below it."""
    found: list[Place] = []
    stack = [root]
    while stack:
        node = stack.pop()
        found.append((node, node.parent, node.arg_key, node.index))
        stack += reversed(_below(node))
    return found


def _below(node: Any) -> list[Any]:
    below = []
    for value in node.args.values():
        if isinstance(value, exp.Expression):
            below.append(value)
        elif isinstance(value, list):
            below += [one for one in value if isinstance(one, exp.Expression)]
    return below


def _walk_faster(self: Any, change: Any, *arguments: Any, copy: bool = True, **options: Any) -> Any:
    """Do what sqlglot's `transform` does."""
    root = self.copy() if copy else self
    if arguments or options:
        change = partial(_called, change, arguments, options)
    walked, changes = WALKED, WALKED.changes
    if not walked.places or walked.places[0][0] is not root or changes[0] != walked.changes_before:
        walked.places, walked.changes_before = _places(root), changes[0]
    places, before = walked.places, changes[0]
    for number, (node, parent, key, index) in enumerate(places):
        changed = change(node)
        if changed is node and changes[0] == before:
            continue
        if changed is not node and number == 0:
            return changed
        if changed is not node and parent and key:
            parent.set(key, changed, index)
        _walk_on(root, {id(done) for done, *_ in places[: number + 1]}, changed, change)
        return root
    return root


def _called(change: Any, arguments: Any, options: Any, node: Any) -> Any:
    return change(node, *arguments, **options)


def _walk_on(root: Any, done: set[int], new: Any, change: Any) -> None:
    """Walk through what is left of a tree since a node was changed to a new one, or in itself."""
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) not in done:
            if node is new:  # what is new is not looked at
                continue
            parent, key, index = node.parent, node.arg_key, node.index
            changed = change(node)
            if changed is not node:
                if parent and key:
                    parent.set(key, changed, index)
                continue
        stack += reversed(_below(node))


def patch() -> None:
    """Let sqlglot walk so, and count what changes a tree."""
    exp.Expression.transform = _walk_faster  # type: ignore[assignment]
    for name in ("set", "append"):
        setattr(exp.Expression, name, _counted(getattr(exp.Expression, name)))
