"""Passwords as salted hashes: argon2id with the library's parameters (RFC 9106)."""

from __future__ import annotations

import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from lib.errors import BadInput

SHORTEST, LONGEST = 10, 1024

_HASHER = PasswordHasher()


def hashed(password: str) -> str:
    """Salt, parameters and hash of a password, as one line.

    Raises:
        BadInput: too short to resist guessing, or absurdly long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadInput(f"a password has {SHORTEST} to {LONGEST} characters: choose another one")
    return _HASHER.hash(_octets(password))


def hash_of_nobody() -> str:
    """A hash no password has: to spend as much time on unknown names as on known ones."""
    return _HASHER.hash(secrets.token_urlsafe())


def is_right(password: str, stored: str) -> bool:
    """Whether a password has that hash; takes some 50 ms either way, and 64 MB.

    Raises:
        BadInput: what is stored is no hash.
    """
    try:
        return _HASHER.verify(stored, _octets(password[: LONGEST + 1]))
    except VerifyMismatchError:
        return False
    except (VerificationError, InvalidHashError) as error:
        raise BadInput("a password hash in the users file is damaged: set it anew") from error


def _octets(password: str) -> bytes:
    """One spelling for what keyboards spell in two ways (ä, a and ¨); any text has one."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
