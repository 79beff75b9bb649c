using System.Buffers;
using System.Collections.Concurrent;
using Microsoft.AspNetCore.Connections;

namespace FedLearn.Transport.Grpc;

/// <summary>Memory of the server's connections in blocks of 32 KiB instead of Kestrel's 4: each block is a call of the system, two with the question whether there is anything, and a message of a
/// round has tens to hundreds of kilobytes.</summary>
internal sealed class LargeBlocks : IMemoryPoolFactory<byte>
{
    public const int Bytes = 32 << 10;

    public MemoryPool<byte> Create(MemoryPoolOptions? options = null) => new Pool();

    private sealed class Pool : MemoryPool<byte>
    {
        // As many as are in use at once on a few busy connections; more go to the garbage collector.
        private const int MostKept = 256;

        private readonly ConcurrentQueue<Block> _free = new();

        public override int MaxBufferSize => Array.MaxLength;

        public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
        {
            if (minBufferSize > Bytes)
                return new Block(null, minBufferSize);
            return _free.TryDequeue(out Block? block) ? block : new Block(this, Bytes);
        }

        protected override void Dispose(bool disposing) => _free.Clear();

        private sealed class Block(Pool? pool, int bytes) : IMemoryOwner<byte>
        {
            private readonly byte[] _bytes = GC.AllocateUninitializedArray<byte>(bytes, pinned: true);

            public Memory<byte> Memory => _bytes;

            public void Dispose()
            {
                if (pool is not null && pool._free.Count < MostKept)
                    pool._free.Enqueue(this);
            }
        }
    }
}
