"""Namespaces and child processes of a lab.

A lab lives in a private network namespace: the thread that made it, and everything it starts, sees `lo` and what
the lab builds, nothing else, so no frame can leave the machine. Children get SIGKILL from the kernel when the thread
that started them ends (prctl(2), PR_SET_PDEATHSIG): a lab that is killed takes its daemons along, and with them
go the namespaces. Therefore start a lab from a thread that outlives it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mininet_scenarios.errors import CommandFailed, Died, Late, Unable

TOOLS = (
    "mnexec",
    "ip",
    "ifconfig",
    "ping",
    "arping",
    "ethtool",
    "tcpdump",
    "traceroute",
    "setpriv",
    "ovsdb-tool",
    "ovsdb-server",
    "ovs-vswitchd",
    "ovs-vsctl",
    "ovs-ofctl",
    "ovs-appctl",
)
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_SELF = "/proc/thread-self/ns/net"


def require_tools() -> None:
    """Say at once what is not installed, rather than somewhere in the middle."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise Unable(f"A lab needs programs that are not installed: {', '.join(missing)}.")


def end_on_sigterm() -> None:
    """Let SIGTERM end this program as ^C does: with its labs taken down."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def beside_python(program: str) -> str:
    """The path of a console script of the environment that runs this."""
    return str(Path(sys.executable).with_name(program))


def _namespace_call(name: str, *arguments: int) -> None:
    # os.unshare and os.setns came with Python 3.12
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise Unable(f"{name}() of a network namespace: {os.strerror(error)}. A lab needs root.")


@contextmanager
def private_network() -> Iterator[None]:
    """Put the calling thread, and what it starts, into a new network namespace that holds nothing but `lo`."""
    with open(_SELF) as home:
        _namespace_call("unshare", _CLONE_NEWNET)
        try:
            run("ip", "link", "set", "lo", "up")
            yield
        finally:
            _namespace_call("setns", home.fileno(), _CLONE_NEWNET)


@contextmanager
def inside(pid: int) -> Iterator[None]:
    """Put the calling thread into the network namespace of a process; sockets opened here stay in it."""
    with open(_SELF) as home, open(f"/proc/{pid}/ns/net") as there:
        _namespace_call("setns", there.fileno(), _CLONE_NEWNET)
        try:
            yield
        finally:
            _namespace_call("setns", home.fileno(), _CLONE_NEWNET)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without proxies, which are of no use where nothing is beyond `lo`."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return kept | dict(extra or {})


def _command(command: tuple[str, ...], within: int | None) -> list[str]:
    return list(command) if within is None else ["mnexec", "-a", str(within), *command]


def run(
    *command: str,
    within: int | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout_s: float = 20.0,
    codes: tuple[int, ...] = (0,),
) -> str:
    """Run a command to its end, in the namespaces of process `within`, and return what it printed.

    Raises CommandFailed when it ends with a code other than `codes`, Late when it does not end in time.
    """
    full = _command(command, within)
    try:
        done = subprocess.run(
            full,
            input=stdin,
            env=environment(env),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise Late(f"The end of `{' '.join(full)}`", timeout_s, str(late.output or "")) from late
    if done.returncode not in codes:
        raise CommandFailed(full, done.returncode, done.stdout)
    return done.stdout


class Daemon:
    """A child process that runs until it is stopped; `log` takes what it prints."""

    def __init__(
        self,
        name: str,
        *command: str,
        within: int | None = None,
        env: Mapping[str, str] | None = None,
        log: Path,
    ) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                _command(("setpriv", "--pdeathsig", "KILL", *command), within),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(env),
                start_new_session=True,  # the terminal's ^C is for the CLI, not for daemons
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def must_run(self) -> None:
        """Raise Died when it has ended."""
        code = self._process.poll()
        if code is not None:
            raise Died(self.name, code, self.tail())

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """Wait for its end and return its exit code; raises Late."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as late:
            raise Late(f"The end of {self.name}", timeout_s, self.tail()) from late

    def kill(self) -> None:
        """End it at once, like a power cut."""
        self._process.kill()
        self._process.wait()

    def stop(self, timeout_s: float = 5.0) -> int:
        """Ask it to end (SIGTERM) and return its exit code; one that does not hear is killed, and Late raised."""
        self._process.terminate()
        try:
            return self.wait(timeout_s)
        except Late:
            self.kill()
            raise


def wait_until(what: str, lacking: Callable[[], str], timeout_s: float, every_s: float = 0.02) -> None:
    """Wait until `lacking()` is "", else raise Late with the last thing it said."""
    deadline = time.monotonic() + timeout_s
    while missing := lacking():
        if time.monotonic() > deadline:
            raise Late(what, timeout_s, missing)
        time.sleep(every_s)
