"""By which names policy may call whoever runs this process."""

from __future__ import annotations

import os
import sys

from gpupanel.policy.claims import Asker

if sys.platform == "win32":

    def this_user() -> Asker:
        """Nobody: on Windows, Group Policy itself says for whom a policy is."""
        return Asker()

    def user_of(uid: int) -> Asker:
        """As ``this_user``."""
        del uid
        return Asker()

else:
    import grp
    import pwd

    def this_user() -> Asker:
        """The effective user: number and name, and those of every group.

        Groups that the process has left are counted: a scope can only tighten, and leaving a
        group must not be a way out of it.
        """
        return _asker(os.geteuid(), {os.getegid(), *os.getgroups()})

    def user_of(uid: int) -> Asker:
        """Another user, with the groups that this machine knows him in."""
        return _asker(uid, set())

    def _asker(uid: int, groups: set[int]) -> Asker:
        try:
            entry = pwd.getpwuid(uid)
            groups |= {entry.pw_gid, *os.getgrouplist(entry.pw_name, entry.pw_gid)}
        except KeyError:
            return Asker(frozenset({str(uid)}), _named(groups), is_named=False)
        return Asker(frozenset({str(uid), entry.pw_name}), _named(groups))

    def _named(numbers: set[int]) -> frozenset[str]:
        """Each group by its number, and by its name where it has one."""
        names = {str(number) for number in numbers}
        for number in numbers:
            try:
                names.add(grp.getgrgid(number).gr_name)
            except KeyError:
                continue
        return frozenset(names)
