"""Searches everything the test suite produced for the test secrets.

Every secret in the tests holds a marker. It may stand in the input files that the tests write (credential files are
secrets by their nature; they end in .secret or .secret.json) and nowhere else: not in logs at trace level, reports,
journals, metrics, API answers, panics. The marker is searched for as text, in base64 at its three alignments, in
hexadecimal and in UTF-16, because sealed and encoded forms count, too.
"""

import base64
import os
import sys

MARKER = b"DoNotLeak"
ALLOWED = (".secret", ".secret.json")


def disguises(marker: bytes):
    yield marker
    yield marker.hex().encode()
    yield marker.hex().upper().encode()
    yield marker.decode().encode("utf-16-le")
    for offset in range(3):
        text = base64.b64encode(b"x" * offset + marker)
        # The first and last characters depend on the neighbours.
        yield text[4 if offset else 0 : len(text) - 4]


def main(directory: str) -> int:
    needles = list(disguises(MARKER))
    files = leaks = inputs = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                data = file.read()
            if name.endswith(ALLOWED):
                inputs += MARKER in data
                continue
            files += 1
            for needle in needles:
                at = data.find(needle)
                if at >= 0:
                    leaks += 1
                    print(f"LEAK: {path} at byte {at} holds a test secret", file=sys.stderr)
                    break
    print(f"searched {files} files for the test secrets, {leaks} leaks")
    if files == 0 or inputs == 0:
        print("the suite produced no output or used no secret: the search proves nothing", file=sys.stderr)
        return 1
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
