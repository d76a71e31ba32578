"""The file of the server's key: two lines of hex, the secret and the public key that belongs to it.

The second makes damage evident, and can be read out for clients that are to be given the server's key.
"""

from __future__ import annotations

from ..errors import StateError
from ..wire.crypto import KEY_SIZE, KeyPair, generate_secret, load_key
from .directory import StateDirectory

FILE = "server.key"
_ADVICE = (
    "put the file back from a backup, or move all of the directory away: the server then begins with a new key and no "
    "sessions"
)


def load_or_make(directory: StateDirectory, needed: bool) -> KeyPair:
    """The key in the directory; a new one where there is none, unless it is `needed` for what else is there.

    Raises StateError.
    """
    data = directory.read(FILE)
    if data is None:
        if needed:
            raise StateError(f"{directory.name(FILE)} is missing, and there are sessions that need it: {_ADVICE}")
        secret = generate_secret()
        key = load_key(secret)
        directory.write(FILE, f"{secret.hex()}\n{key.public.hex()}\n".encode("ascii"))
        return key
    try:
        secret, public = (bytes.fromhex(line) for line in data.decode("ascii").splitlines())
        if len(secret) != KEY_SIZE:
            raise ValueError
        key = load_key(secret)
    except ValueError:  # UnicodeError is one, too
        raise StateError(f"{directory.name(FILE)} is damaged: {_ADVICE}") from None
    if key.public != public:
        raise StateError(f"{directory.name(FILE)} is damaged, its two lines do not belong together: {_ADVICE}")
    return key
