"""Owner, group, rights and attributes: a file that is replaced keeps them, a new one has what one that is made in its
directory would have, and nobody gets more rights by either.

Where the process may not give a file what the old one had, the new one's rights are what is left: those that its new
group, or the people whom an access control list (ACL) had named, are sure to have had before.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import Final

_ACL: Final = "system.posix_acl_access"
_DEFAULT_ACL: Final = "system.posix_acl_default"
# What a write takes from a file, and what the system sees to itself.
_NOT_COPIED: Final = frozenset({_ACL, _DEFAULT_ACL, "security.capability", "security.ima", "security.evm"})
# "We may not", "there is no such thing here" and "it has none".
_REFUSED: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL, errno.ENODATA, errno.ENOSYS, errno.EROFS}
)

_ENTRY: Final = struct.Struct("<HHI")  # tag, rights, id; a version of 4 bytes goes before them
_VERSION_BYTES: Final = 4
_OWNER: Final = 0x01
_USER: Final = 0x02
_OWNING_GROUP: Final = 0x04
_GROUP: Final = 0x08
_MASK: Final = 0x10
_OTHERS: Final = 0x20
_ALL: Final = 0o7
_READ_AND_WRITE: Final = 0o6


def copy_attributes(source: int, target: int) -> None:
    """Give the file `target`, a new one of ours, what `source` has besides its contents, as far as we may. Both are
    descriptors. Raises OSError where there is no room for it."""
    status = os.fstat(source)
    has_owner, has_group = _give(target, status.st_uid, status.st_gid)
    _set(target, _ACL, None)  # one that was inherited where the file was made
    os.fchmod(target, mode_for(status.st_mode, has_owner=has_owner, has_group=has_group))
    for name in _names(source):
        value = None if name in _NOT_COPIED else _get(source, name)
        if value is not None:
            _set(target, name, value)
    acl = _get(source, _ACL)
    if acl is not None and not (has_group and _set(target, _ACL, acl)):
        # With an ACL the group's bits are the mask of all it names, not what the group may.
        os.fchmod(target, mode_for(mode_within(status.st_mode, acl), has_owner=has_owner, has_group=has_group))


def bequeaths(directory: int, mode: int) -> bool:
    """Whether a file that is made in `directory`, which has `mode`, gets more than its maker's group and the umask's
    rights. Raises OSError."""
    return bool(mode & stat.S_ISGID) or _default_acl(directory) is not None


def inherit(target: int, directory: int) -> None:
    """Give the file `target`, which was made elsewhere with the mode the umask leaves, what it would have in
    `directory`; both are descriptors. Raises OSError."""
    status = os.fstat(directory)
    mode = os.fstat(target).st_mode
    has_group = True
    if status.st_mode & stat.S_ISGID:
        _, has_group = _give(target, -1, status.st_gid)
    acl = _default_acl(directory)
    if acl is not None:
        if has_group and _set(target, _ACL, _for_new_file(acl)):
            return
        mode = mode_within(0o666, acl)
    os.fchmod(target, mode_for(mode, has_owner=True, has_group=has_group))


def mode_for(mode: int, *, has_owner: bool, has_group: bool) -> int:
    """The mode of a file that has `mode`, for one of the same owner and group or of others."""
    bits = stat.S_IMODE(mode)
    if not has_group:
        # Its new group's people were `others` so far, or had their rights by another group.
        bits = bits & ~stat.S_IRWXG | bits & (bits & stat.S_IRWXO) << 3
    if not (has_owner and has_group and os.geteuid() == 0):
        bits &= ~(stat.S_ISUID | stat.S_ISGID)  # which a write takes from a file, but for root
    return bits


def mode_within(mode: int, acl: bytes) -> int:
    """The most that a file without `acl` may grant, so that nobody has more rights than with it."""
    rights: dict[int, int] = {}
    for tag, granted, _ in _ENTRY.iter_unpack(acl[_VERSION_BYTES:]):
        rights[tag] = rights.get(tag, _ALL) & granted
    mask = rights.get(_MASK, _ALL)
    user = rights.get(_USER, _ALL)
    group = rights.get(_OWNING_GROUP, 0) & mask & user
    others = rights.get(_OTHERS, 0)
    if _USER in rights or _GROUP in rights:
        others &= user & rights.get(_GROUP, _ALL) & mask
    return stat.S_IMODE(mode) & ~(stat.S_IRWXG | stat.S_IRWXO) | group << 3 | others


def _for_new_file(acl: bytes) -> bytes:
    """A directory's default ACL, as a file gets it: nobody may execute it. Who is named is bound by the mask."""
    entries = list(_ENTRY.iter_unpack(acl[_VERSION_BYTES:]))
    bound = {_OWNER, _OTHERS, _MASK if any(tag == _MASK for tag, _, _ in entries) else _OWNING_GROUP}
    return acl[:_VERSION_BYTES] + b"".join(
        _ENTRY.pack(tag, granted & _READ_AND_WRITE if tag in bound else granted, who) for tag, granted, who in entries
    )


def _give(target: int, owner: int, group: int) -> tuple[bool, bool]:
    """Whether the file now has this owner (-1: whoever has it), and this group."""
    now = os.fstat(target)
    is_owners = owner in (-1, now.st_uid)
    if (is_owners, now.st_gid) == (True, group):
        return True, True
    if not is_owners and _chown(target, owner, group):
        return True, True
    # Of a group that we are in, perhaps.
    return is_owners, now.st_gid == group or _chown(target, -1, group)


def _chown(target: int, owner: int, group: int) -> bool:
    try:
        os.fchown(target, owner, group)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return False
    return True


def _names(source: int) -> list[str]:
    try:
        return os.listxattr(source)
    except AttributeError:
        return []  # not Linux
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return []


def _get(source: int | str, name: str) -> bytes | None:
    try:
        return os.getxattr(source, name)
    except AttributeError:
        return None  # not Linux
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return None


def _default_acl(directory: int) -> bytes | None:
    # By way of its name, for a descriptor that is only for passing through (O_PATH) cannot be asked.
    try:
        return _get(f"/proc/self/fd/{directory}", _DEFAULT_ACL)
    except FileNotFoundError:
        return None  # no /proc


def _set(target: int, name: str, value: bytes | None) -> bool:
    """False where we may not, or where there is no such thing. None removes it."""
    try:
        if value is None:
            os.removexattr(target, name)
        else:
            os.setxattr(target, name, value)
    except AttributeError:
        return False  # not Linux
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return False
    return True


def make_plain(directory: int) -> None:
    """Have `directory`, a descriptor to read it, bequeath nothing to what is made in it, as far as we may."""
    try:
        if os.fstat(directory).st_mode & stat.S_ISGID:
            os.fchmod(directory, stat.S_IRWXU)
        _set(directory, _DEFAULT_ACL, None)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
