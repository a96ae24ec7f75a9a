"""Ray's workers as forks of one process that has imported the libraries, which saves each of them seconds of CPU.

Ray starts a worker by `python setup_worker.py ... default_worker.py ...`: two processes one after the other that import
Ray, and then, anew for each actor of each stage, what its work needs. The cluster of the tests runs this file in place
of setup_worker.py. It hands its arguments, environment, folder and streams to a server, which forks; the fork runs the
same default_worker.py. A worker with a runtime environment of its own is started in Ray's way.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVER = "MMGIC_TEST_FORKS"  # names the server's socket in the environment
# not Ray, which reads its environment when it is imported
LIBRARIES = ("pandas", "pyarrow.dataset", "torch", "transformers", "peft")
CONTEXT = "--serialized-runtime-env-context"
RAYS_OWN = (CONTEXT, "--language")  # options of setup_worker.py


@contextmanager
def fork_server(folder: Path) -> Iterator[None]:
    """A server for the workers of the clusters that this process starts meanwhile."""
    path = folder / "forks"
    command = [sys.executable, __file__, "serve", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin
        assert server.stdout
        assert server.stdout.readline(), "the server of the tests' workers did not start"
        os.environ[SERVER] = str(path)
        yield
        del os.environ[SERVER]
        server.stdin.close()


def serve(path: str) -> dict[str, Any]:
    """Forks for each request until standard input ends. Returns in each fork, with what was asked of it."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection of a fork would copy what all of them share
    signal.signal(signal.SIGCHLD, lambda *_: _reap())
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            _, streams, _, _ = socket.recv_fds(connection, 1, 3)
            with connection.makefile("rb") as file:
                request: dict[str, Any] = json.load(file)
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for stream, number in zip(streams, range(3), strict=True):
                    os.dup2(stream, number)
                connection.detach()  # the client waits until this process has ended
                return request
            for number in (connection.detach(), *streams):
                os.close(number)
    sys.exit()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:  # all of them have been waited for
        pass


def run_worker(request: dict[str, Any]) -> None:
    """What `python default_worker.py ...` does, in this process."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = request["arguments"]
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")


def ask(arguments: list[str]) -> None:
    """Asks the server for a worker and waits until it has ended."""
    request = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[SERVER])
        socket.send_fds(connection, [b" "], [0, 1, 2])
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        run_worker(serve(sys.argv[2]))
    else:
        options = [each for each in sys.argv[1:] if each.startswith(RAYS_OWN)]
        if any(each.startswith(CONTEXT) for each in options):  # of the worker's own
            setup = Path(sys.argv[1]).with_name("setup_worker.py")
            os.execv(sys.executable, [sys.executable, str(setup), *sys.argv[1:]])
        ask([each for each in sys.argv[1:] if each not in options])
