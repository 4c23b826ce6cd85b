"""The bare loop that issuance from a token is held against.

`python -m bench.hsm_side MODULE LABEL KEY SESSIONS SECONDS` signs the digest of nothing by PKCS#1 v1.5, in one thread
for each session, and does nothing else. The PIN is on standard input. Prints signatures a second, as JSON.
"""

import json
import os
import sys
import threading
import time

from pkcs11 import Attribute, Mechanism, ObjectClass

from hsm.token import module

_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420") + bytes(32)


def main(path: str, label: str, key: str, sessions: int, seconds: float) -> None:
    """See the module."""
    token = module.find(module.Module(path), label, "")
    login = token.open(user_pin=sys.stdin.readline().strip())
    opened = [token.open() for _ in range(sessions)]
    made = [0] * sessions
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
        found = [e for e in opened[number].get_objects(wanted) if e.label.startswith(key)]
        while time.monotonic() < end:
            found[0].sign(_DIGEST_INFO, mechanism=Mechanism.RSA_PKCS)
            made[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(sessions)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    login.close()
    print(json.dumps({"rate": sum(made) / seconds}), flush=True)
    os._exit(0)  # modules have crashed in what they do at the end of a process


if __name__ == "__main__":
    _, path_, label_, key_, sessions_, seconds_ = sys.argv
    main(path_, label_, key_, int(sessions_), float(seconds_))
