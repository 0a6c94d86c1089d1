# The least that waits for guests as `bench-guests host` does, by Python's asyncio: each report is read and acknowledged, and
# the next order is started when all of the last one are ready. It checks nothing, shows nothing and writes nothing down.
#
#   usage: peer.py SOCKET COUNT together|chain
import asyncio
import json
import resource
import sys


async def guest(socket, number, ready):
    reader, writer = await asyncio.open_unix_connection(socket, limit=1 << 20)
    writer.write(b'%d\n\n{"type":"query","id":"1"}\n' % number)
    while line := await reader.readline():
        if not line.strip():
            continue
        report = json.loads(line)
        ack = {"type": "ack", "boot": report["boot"], "session": report["session"], "seq": report["seq"]}
        writer.write(b"\n" + json.dumps(ack, separators=(",", ":")).encode() + b"\n")
        if report["ready"]:
            ready.set()


async def main(socket, count, shape):
    _, control = await asyncio.open_unix_connection(socket)
    control.write(b"control\n")
    orders = [[it] for it in range(1, count + 1)] if shape == "chain" else [range(1, count), [count]]
    tasks = []
    for order in orders:
        events = []
        for number in order:
            control.write(b"%d\n" % number)
            events.append(asyncio.Event())
            tasks.append(asyncio.create_task(guest(socket, number, events[-1])))
        for event in events:
            await event.wait()


_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
