using System.Buffers;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Conformance.Tests;

/// <summary>The limit of a message, and the memory that it is read into.</summary>
public sealed class FramingTests
{
    [Fact]
    public void ReadPrefix_MessageAtTheLimit_IsReadAndOneByteMoreIsNot()
    {
        static int Read(int size, int limit)
        {
            byte[] prefix = new byte[Framing.PrefixBytes];
            Framing.WritePrefix(prefix, size);
            return Framing.ReadPrefix(new ReadOnlySequence<byte>(prefix), limit);
        }

        Assert.Equal(1019, Read(1019, 1024));
        Assert.Equal(ProtocolErrors.TooLarge, Assert.Throws<RpcException>(() => Read(1020, 1024)).Status.ErrorId);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(LargeBlocks.Bytes)]
    [InlineData(LargeBlocks.Bytes + 1)]
    [InlineData(10 * LargeBlocks.Bytes)]
    public void LargeBlocks_OfAnySize_AreNoSmaller(int asked)
    {
        using MemoryPool<byte> pool = new LargeBlocks().Create();
        for (int turn = 0; turn < 3; turn++)
            using (IMemoryOwner<byte> block = pool.Rent(asked))
                Assert.InRange(block.Memory.Length, Math.Max(1, asked), Array.MaxLength);
    }
}
