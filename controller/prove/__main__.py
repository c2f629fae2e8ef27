"""A proof in a process of its own: a pickled `Question` comes by standard input, the `Answer`, or what is wrong with
the question, leaves by standard output. It takes the machine's idle time: controllers start it beside them.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback

from controller.errors import WeftError
from controller.prove.proof import prove

NICENESS = 10


def main() -> None:
    """Answer one question."""
    os.nice(NICENESS)
    question = pickle.load(sys.stdin.buffer)
    try:
        answer: object = prove(question)
    except WeftError as error:
        answer = str(error)
    except Exception as error:  # whoever started this has no other way to hear of it
        traceback.print_exc()
        answer = f"{type(error).__name__}: {error}"
    pickle.dump(answer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
