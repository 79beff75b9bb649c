using System.Buffers;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Conformance.Tests;

/// <summary>The quick way of training messages against the protobuf library: the same bytes, and the same message.</summary>
public sealed class RoundVectorCodecTests
{
    public static TheoryData<int, int> Cases { get; } = new(
        from length in (int[])[0, 1, 7, 256, 257, 5000]
        from round in (int[])[0, 1, 127, 128, 100_000, int.MaxValue]
        select (length, round));

    [Theory]
    [MemberData(nameof(Cases))]
    public void Write_AnyVector_IsWhatTheLibraryWritesAndIsReadBack(int length, int round)
    {
        double[] numbers = [.. Enumerable.Range(0, length).Select(i => (double)(float)Math.Sin(i))];
        foreach (RoundVector payload in (RoundVector[])[new Scores(numbers), new Residuals(numbers), new Scores(numbers, ElementType.Float32), new Residuals(numbers, ElementType.Float32),
            new Scores(LatticeVector.Of(numbers, 1e-6, 1)), new Residuals(LatticeVector.Of(numbers, 1e-9, 1))])
        {
            var output = new ArrayBufferWriter<byte>();
            long bytes = RoundVectorCodec.Write(output, round, payload);
            Assert.Equal(output.WrittenCount, bytes);
            Assert.Equal(Framing.Frame(EnvelopeCodec.Encode(round, payload)), output.WrittenSpan.ToArray());

            var pool = new PayloadPool();
            ReadOnlyMemory<byte> body = output.WrittenMemory[Framing.PrefixBytes..];
            foreach (int piece in (int[])[int.MaxValue, 1, 3])
            {
                Assert.True(RoundVectorCodec.TryRead(Pieces(body, piece), pool, bytes, out ChannelFrame frame));
                Assert.Equal((round, bytes), (frame.Round, frame.Bytes));
                var back = Assert.IsType<RoundVector>(frame.Payload, exactMatch: false);
                Assert.Equal(payload.GetType(), back.GetType());
                Assert.Equal(payload.ElementType, back.ElementType);
                Assert.Equal(payload.Values.ToArray(), back.Values.ToArray());
                Assert.Equal(payload.Lattice?.Packed.ToArray(), back.Lattice?.Packed.ToArray());
                pool.Return(back);
            }
        }
    }

    [Fact]
    public void TryRead_FieldsInAnotherOrderOrTwice_IsLeftToTheLibrary()
    {
        byte[] data = [1, 2, 3, 4];
        byte[] inOrder = [0x12, 8, 0x08, 1, 0x12, 4, .. data], exchanged = [0x12, 8, 0x12, 4, .. data, 0x08, 1], twice = [0x12, 10, 0x08, 1, 0x08, 1, 0x12, 4, .. data];
        Assert.True(RoundVectorCodec.TryRead(new ReadOnlySequence<byte>(inOrder), new PayloadPool(), 0, out _));
        foreach (byte[] body in (byte[][])[exchanged, twice])
        {
            Assert.False(RoundVectorCodec.TryRead(new ReadOnlySequence<byte>(body), new PayloadPool(), 0, out _));
            ChannelFrame frame = EnvelopeCodec.Read(new ReadOnlySequence<byte>(body), new PayloadPool(), 0);
            Assert.Equal(1, Assert.IsType<Scores>(frame.Payload).Length);
        }
    }

    private static ReadOnlySequence<byte> Pieces(ReadOnlyMemory<byte> bytes, int size)
    {
        if (bytes.Length <= size)
            return new ReadOnlySequence<byte>(bytes);
        var first = new Piece(bytes[..size], 0);
        Piece last = first;
        for (int at = size; at < bytes.Length; at += size)
            last = last.Then(bytes.Slice(at, Math.Min(size, bytes.Length - at)));
        return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
    }

    private sealed class Piece : ReadOnlySequenceSegment<byte>
    {
        public Piece(ReadOnlyMemory<byte> memory, long at) => (Memory, RunningIndex) = (memory, at);

        public Piece Then(ReadOnlyMemory<byte> memory)
        {
            var next = new Piece(memory, RunningIndex + Memory.Length);
            Next = next;
            return next;
        }
    }
}
