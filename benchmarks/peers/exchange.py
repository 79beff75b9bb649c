"""Round trips of one bidirectional gRPC stream in Python (grpcio): the blocking API, or that of asyncio. Bytes go through as they are, without protobuf.

  exchange.py server STYLE                                 prints "listening ADDRESS", answers each message with one as long, ends with its input
  exchange.py client STYLE ADDRESS WARMUP SIZE:ROUNDS...   prints for each size a line "SIZE p50 p99" in microseconds
"""
import asyncio
import queue
import sys
import time
from concurrent import futures

import grpc
import grpc.aio

METHOD = "/peers.v1.Exchange/Exchange"
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


class Handler(grpc.GenericRpcHandler):
    def __init__(self, behavior):
        self._handler = grpc.stream_stream_rpc_method_handler(behavior)

    def service(self, details):
        return self._handler if details.method == METHOD else None


def echo(requests, context):
    yield from requests


def serve_blocking():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2), options=OPTIONS)
    server.add_generic_rpc_handlers((Handler(echo),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening 127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop(0)


async def serve_async():
    async def echo_async(requests, context):
        while (message := await context.read()) is not grpc.aio.EOF:
            await context.write(message)

    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((Handler(echo_async),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening 127.0.0.1:{port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(0)


def sizes_of(arguments):
    return [tuple(int(part) for part in text.split(":")) for text in arguments]


def report(size, times):
    times.sort()
    print(f"{size} {times[len(times) // 2] * 1e6:.3f} {times[len(times) * 99 // 100] * 1e6:.3f}", flush=True)


def call_blocking(address, warmup, sizes):
    outgoing = queue.SimpleQueue()
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        answers = channel.stream_stream(METHOD)(iter(outgoing.get, None))
        for size, rounds in sizes:
            message, times = b"x" * size, []
            for turn in range(-min(warmup, rounds), rounds):
                start = time.perf_counter()
                outgoing.put(message)
                answer = next(answers)
                if turn >= 0:
                    times.append(time.perf_counter() - start)
                assert len(answer) == size
            report(size, times)
        outgoing.put(None)


async def call_async(address, warmup, sizes):
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        call = channel.stream_stream(METHOD)()
        for size, rounds in sizes:
            message, times = b"x" * size, []
            for turn in range(-min(warmup, rounds), rounds):
                start = time.perf_counter()
                await call.write(message)
                answer = await call.read()
                if turn >= 0:
                    times.append(time.perf_counter() - start)
                assert len(answer) == size
            report(size, times)
        await call.done_writing()


if __name__ == "__main__":
    side, style = sys.argv[1:3]
    if side == "server":
        serve_blocking() if style == "blocking" else asyncio.run(serve_async())
    else:
        arguments = sys.argv[3], int(sys.argv[4]), sizes_of(sys.argv[5:])
        call_blocking(*arguments) if style == "blocking" else asyncio.run(call_async(*arguments))
