#!/usr/bin/env python3
"""The platform's end of a guest's port org.ovf.agent.0: an example of a host, written from docs/protocol.md alone.

  host-client.py SOCKET watch                          print each new report in a line until the guest is ready
  host-client.py SOCKET query                          print the report as it stands
  host-client.py SOCKET send FILE                      send an OVF environment (UTF-8), and wait for its answer
  host-client.py SOCKET reload                         have everything read again, and wait for the answer
  host-client.py SOCKET stop ACTION [--deadline-ms N]  poweroff, reboot or halt; the answer comes before the end

SOCKET is where QEMU listens. --timeout SECONDS (600) is for all of it, from looking for the socket on. --json prints
reports and answers as they came. Python 3.11, and nothing else.

Exit status: 0 ready, or done; 1 an error of this program's own; 2 usage; 3 failed for good, or refused; 4 timeout;
5 the agent speaks another version; 6 another boot came before a stop was answered, maybe by that stop.
"""
import argparse
import contextlib
import json
import select
import socket
import sys
import time
import uuid

VERSION = 1
GUEST_LINE, HOST_LINE = 1 << 20, 16 << 20
QUERY_AGAIN, CONNECT_AGAIN = 5, 1  # seconds


class Done(Exception):
    """It is over: with this exit status, and this to be said."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Lines:
    """Makes lines of bytes. Of one that is too long nothing is kept: a guest is not trusted."""

    def __init__(self):
        self.line, self.is_dropped = bytearray(), False

    def take(self, data):
        *ends, rest = data.split(b"\n")
        for piece in ends:
            self.add(piece)
            line, self.line = bytes(self.line), bytearray()
            if not self.is_dropped:
                yield line
            self.is_dropped = False
        self.add(rest)

    def add(self, piece):
        self.is_dropped |= len(self.line) + len(piece) > GUEST_LINE
        self.line += piece
        if self.is_dropped:
            self.line.clear()


def parse(line):
    """The message in a line. None where it was torn, or is nonsense: it is dropped without a word."""
    try:
        message = json.loads(line.decode())
    except (ValueError, RecursionError):  # also what is no UTF-8, and brackets in brackets without end
        return None
    return message if isinstance(message, dict) else None


def has(message, /, **types):
    """Whether the fields that this host needs are there. Others may come within version 1, and are not looked at."""
    return all(name in message and type(message[name]) in kinds for name, kinds in types.items())


def frame(message):
    """The leading newline ends what the host before may have left. What is no UTF-8 (half a surrogate pair) is replaced."""
    return b"\n" + json.dumps(message, ensure_ascii=False).encode(errors="replace") + b"\n"


def printable(text):
    """What a guest says, unable to command a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def summary(report):
    words = [f"{report['boot'][:8]} {report['session'][:8]} {report['seq']} {report['stage']}"]
    words += [f"{name}={report[name]}" for name in ("id", "generation", "source", "expect") if report.get(name)]
    words += ["stale"] if report.get("stale") is True else []
    unmet = report.get("unmet")
    for gate in unmet if isinstance(unmet, list) else []:
        if isinstance(gate, dict):
            words.append(f"[{gate.get('gate')}: {gate.get('code')}: {gate.get('reason')}]")
    if failure := report["failure"]:
        words.append(f"{failure['code']}: {failure['message']}{'' if failure['final'] else ' (will be tried again)'}")
    return printable(" ".join(words))


class Request:
    def __init__(self, kind, **fields):
        self.message = {"type": kind, "id": "", **fields}
        self.rename()

    def rename(self):
        # No other request to this guest may have had the id, also not one of another host's or of the last start's.
        self.message["id"] = str(uuid.uuid4())
        self.sent = None  # when, in this connection
        self.is_asked = False  # in this connection or an earlier one


class Host:
    def __init__(self, options, request):
        self.options, self.request = options, request
        self.end = time.monotonic() + options.timeout
        self.query = Request("query")
        self.report = None  # the newest

    def left(self):
        left = self.end - time.monotonic()
        if left <= 0:
            raise Done(4, "timeout")
        return left

    def run(self):
        while True:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as port:
                port.settimeout(self.left())
                try:
                    port.connect(self.options.socket)
                except (FileNotFoundError, ConnectionRefusedError, BlockingIOError, TimeoutError):
                    pass  # QEMU is not there yet, or others wait for their turn already
                else:
                    port.setblocking(False)
                    self.talk(port)
            time.sleep(min(CONNECT_AGAIN, self.left()))

    def talk(self, port):
        """Reads and writes until the connection ends. Neither half a line nor half a frame of the last one is left."""
        lines, self.out, self.ack, self.is_heard = Lines(), b"", None, False
        self.query = self.query or Request("query")  # the guest cannot always see that a host has come
        for request in filter(None, (self.query, self.request)):
            request.sent = None
        while True:
            self.out = self.out or memoryview(self.next_frame())
            # It reads whatever it has to write: else both sides might wait for each other.
            readable, writable, _ = select.select([port], [port] if self.out else [], [], min(self.left(), 1))
            try:
                if writable:
                    self.out = self.out[port.send(self.out):]
                data = port.recv(1 << 16) if readable else None
            except ConnectionError:
                return
            if data == b"":
                return
            try:
                for line in lines.take(data or b""):
                    self.hear(parse(line) or {})
            except Done:
                self.leave(port)
                raise

    def next_frame(self):
        """What is to be written next; made when there is room, so that a guest that only speaks costs no memory."""
        now = time.monotonic()
        if self.ack:
            ack, self.ack = self.ack, None
            return frame(ack)
        if self.query and (self.query.sent is None or now - self.query.sent >= QUERY_AGAIN):
            self.query.sent = now
            return frame(self.query.message)
        # Only when a report has told which agent this is: what another boot was asked is not asked of this one.
        if self.request and self.is_heard and self.request.sent is None:
            if self.request.message["type"] not in self.report["accepts"]:
                raise Done(3, "this agent does not take such a request")
            self.request.sent, self.request.is_asked = now, True
            if self.request.message["type"] == "stop":
                self.request.message["boot"] = self.report["boot"]  # it may lie in the port until the next boot
            return memoryview(frame(self.request.message))
        return b""

    def leave(self, port):
        """Writes what is begun, and the last ack. It may be lost as QEMU closes; the next host is told again then."""
        self.query = self.request = None
        port.settimeout(1)
        with contextlib.suppress(OSError):
            port.sendall(self.out)
            port.sendall(self.next_frame())

    def hear(self, message):
        if message.get("type") == "report":
            self.hear_report(message)
        elif message.get("type") == "answer" and has(message, to=[str], ok=[bool]):
            self.hear_answer(message)

    def hear_report(self, report):
        if not has(report, protocol=[dict], stage=[str], ready=[bool], failure=[dict, type(None)]):
            return
        if not has(report["protocol"], min=[int], max=[int]):
            return
        if not report["protocol"]["min"] <= VERSION <= report["protocol"]["max"]:
            self.out, self.ack = b"", None  # nothing that this host could say would be understood
            raise Done(5, f"the agent does not speak version {VERSION}")
        failure = report["failure"]
        if not has(report, boot=[str], session=[str], seq=[int], accepts=[list]) or (
            failure and not has(failure, code=[str], message=[str], final=[bool])
        ):
            return
        self.ack = {"type": "ack", **{name: report[name] for name in ("boot", "session", "seq")}}
        before, self.report, self.is_heard = self.report, report, True
        is_new = not before or any(before[name] != report[name] for name in ("boot", "session", "seq"))
        if is_new and self.options.command != "query":
            self.show(report, summary(report))
        if before and (before["boot"], before["session"]) != (report["boot"], report["session"]):
            self.forget(is_another_boot=before["boot"] != report["boot"])
        if self.options.command == "watch":
            if report["ready"]:
                raise Done(0, "ready")
            if report["stage"] == "failed" and failure and failure["final"]:
                raise Done(3, "failed")

    def forget(self, is_another_boot):
        """What the last agent did not answer was done, or is lost: it is asked again, by another id, but for a stop."""
        if is_another_boot and self.options.command == "stop" and self.request.is_asked:
            raise Done(6, "the guest has booted anew before it answered")
        for request in filter(None, (self.query, self.request)):
            request.rename()

    def hear_answer(self, answer):
        if self.query and answer["to"] == self.query.message["id"]:
            self.query = None
            if self.options.command == "query" and self.report:
                self.show(self.report, summary(self.report))
                raise Done(0, "")
        elif self.request and answer["to"] == self.request.message["id"]:
            error = answer.get("error") if has(answer, error=[dict]) else {}
            self.show(answer, "")
            why = printable(f"refused: {error.get('code')}: {error.get('message')}")
            raise Done(0, "done") if answer["ok"] else Done(3, why)

    def show(self, message, text):
        if text or self.options.json:
            print(json.dumps(message) if self.options.json else text, flush=True)


def main():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--timeout", type=float, default=600)
    common.add_argument("--json", action="store_true")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("socket")
    commands = parser.add_subparsers(dest="command", required=True)
    add = {name: commands.add_parser(name, parents=[common]) for name in ("watch", "query", "send", "reload", "stop")}
    add["send"].add_argument("file")
    add["stop"].add_argument("action", choices=["poweroff", "reboot", "halt"])
    add["stop"].add_argument("--deadline-ms", type=int)
    options = parser.parse_args()
    request = None
    if options.command == "send":
        try:
            with open(options.file, encoding="utf-8", newline="") as file:
                request = Request("environment", document=file.read())
            if len(frame(request.message)) - 2 > HOST_LINE:
                raise ValueError("its line would be longer than 16 MiB")
        except (OSError, ValueError) as error:
            parser.error(f"cannot send {options.file}: {error}")
    elif options.command == "stop":
        request = Request("stop", action=options.action)
        if options.deadline_ms is not None:
            request.message["deadline_ms"] = options.deadline_ms
    elif options.command == "reload":
        request = Request("reload")
    try:
        Host(options, request).run()
    except Done as done:
        if str(done):
            print(f"host-client: {done}", file=sys.stderr)
        return done.status


if __name__ == "__main__":
    sys.exit(main())
