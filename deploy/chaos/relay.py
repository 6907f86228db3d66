"""Carries bytes between services and brokers, late or not at all, where the kernel cannot.

It stands where a switch would: what it holds back is neither lost nor reset, it just does not
come. Told on standard input, one JSON object a line: {"from", "to", "delayMs", "hole"}.
"""

import asyncio
import json
import os
import sys

# What one direction of one connection may hold back; then its sender has to wait.
HELD_BYTES_MAX = 4 * 1024 * 1024
CHUNK_BYTES = 64 * 1024


class Route:
    """From one place to one broker."""

    def __init__(self, source, target, listen, connect):
        self.source = source
        self.target = target
        self.listen = tuple(listen)
        self.connect = tuple(connect)
        self.delay = 0.0
        self.passes = asyncio.Event()
        self.passes.set()

    def set(self, delay_ms, hole):
        self.delay = delay_ms / 1000
        if hole:
            self.passes.clear()
        else:
            self.passes.set()

    async def accept(self, reader, writer):
        try:
            await self.passes.wait()
            far_reader, far_writer = await asyncio.open_connection(*self.connect)
        except OSError:
            writer.close()
            return
        pumps = [
            asyncio.create_task(self.pump(reader, far_writer)),
            asyncio.create_task(self.pump(far_reader, writer)),
        ]
        # An end that reaches one side ends both: neither NATS nor HTTP half-closes.
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for side in (writer, far_writer):
            side.close()

    async def pump(self, reader, writer):
        loop = asyncio.get_running_loop()
        queue = asyncio.Queue(HELD_BYTES_MAX // CHUNK_BYTES)

        async def take():
            while True:
                chunk = await reader.read(CHUNK_BYTES)
                await queue.put((loop.time() + self.delay, chunk))
                if not chunk:
                    return

        taking = asyncio.create_task(take())
        try:
            while True:
                due, chunk = await queue.get()
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                await self.passes.wait()
                if not chunk:
                    return
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return
        finally:
            taking.cancel()


async def main():
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    routes = [Route(**route) for route in json.loads(await stdin.readline())]
    for route in routes:
        await asyncio.start_server(route.accept, *route.listen)
    print("ready", flush=True)
    while line := await stdin.readline():
        told = json.loads(line)
        for route in routes:
            if told["from"] in (route.source, "*") and told["to"] in (route.target, "*"):
                route.set(told["delayMs"], told["hole"])
    # Connections end with the process; asyncio would complain of each.
    os._exit(0)


asyncio.run(main())
