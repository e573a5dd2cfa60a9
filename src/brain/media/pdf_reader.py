"""Takes the text out of a PDF; a process of its own, which can be killed.

A program (`python -I pdf_reader.py`): a hostile PDF may unpack to any size or keep a parser busy
for ever, and a thread could not be stopped. The PDF comes on its input; on its output goes a line
of JSON for each page, so that what was read before a limit struck is not lost. Exit codes: 0 read
to the end, 2 not readable (with the reason on stderr), 3 stopped at the most pages or characters.
"""

import json
import logging
import resource
import signal
import sys
import warnings
from io import BytesIO
from typing import Any, Final

UNREADABLE: Final = 2
MORE: Final = 3


def limit(seconds: int, memory: int) -> None:
    """Die by the kernel's hand, whatever happens to the parent."""
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def opened(data: bytes) -> Any:
    """The document; one that is encrypted with an empty password is opened with it."""
    from pypdf import PdfReader

    reader = PdfReader(BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise ValueError("it is protected by a password")
    return reader


def main() -> int:
    """Arguments: most pages, most characters, seconds, bytes of memory."""
    pages, characters, seconds, memory = map(int, sys.argv[1:])
    limit(seconds, memory)
    logging.disable()
    warnings.simplefilter("ignore")
    data = sys.stdin.buffer.read()
    try:
        reader = opened(data)
        count = len(reader.pages)
    except Exception as error:
        sys.stderr.write(str(error) or type(error).__name__)
        return UNREADABLE
    write = sys.stdout.write
    write(json.dumps({"pages": count}) + "\n")
    left = characters
    for number in range(min(count, pages)):
        try:
            text = reader.pages[number].extract_text()[:left]
        except Exception:  # one page that cannot be read is no reason to lose the others
            text = ""
        write(json.dumps({"page": number + 1, "text": text}) + "\n")
        sys.stdout.flush()
        left -= len(text)
        if left <= 0:
            return MORE
    return 0 if count <= pages else MORE


if __name__ == "__main__":
    sys.exit(main())
