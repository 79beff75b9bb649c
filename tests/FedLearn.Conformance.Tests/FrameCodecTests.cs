using System.Buffers.Binary;
using System.IO.Pipes;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;

namespace FedLearn.Conformance.Tests;

/// <summary>A channel of one's own over bytes, as the guide describes it: four bytes of length and a frame, through a named pipe.</summary>
public sealed class FrameCodecTests
{
    public static TheoryData<string> Checks => [.. ChannelConformance.All.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public Task ChannelOverAPipe_EveryCheck_Passes(string check) => ChannelConformance.All[check](async options =>
    {
        string name = $"fedlearn-{Guid.NewGuid():N}";
        var server = new NamedPipeServerStream(name, PipeDirection.InOut, 1, PipeTransmissionMode.Byte, PipeOptions.Asynchronous);
        var client = new NamedPipeClientStream(".", name, PipeDirection.InOut, PipeOptions.Asynchronous);
        await Task.WhenAll(server.WaitForConnectionAsync(), client.ConnectAsync());
        return new ChannelPair(new StreamChannel("bank", "telco", options, server), new StreamChannel("telco", "bank", options, client));
    });

    [Fact]
    public void Read_BytesThatAreNoFrame_AreThePeersFault()
    {
        PeerException malformed = Assert.Throws<PeerException>(() => FrameCodec.Read(new byte[] { 255, 255, 255 }, "telco"));
        Assert.Equal((ProtocolErrors.Malformed, "telco"), (malformed.Id, malformed.Peer));
    }

    [Fact]
    public void Write_Frames_AreReadAsTheyWere()
    {
        Assert.True(FrameCodec.Read(FrameCodec.WriteCompleted(), "telco").IsCompleted);
        Assert.Equal("FL4001", FrameCodec.Read(FrameCodec.WriteAborted("FL4001"), "telco").ErrorId);
        byte[] frame = FrameCodec.Write(3, new Scores(new double[] { 1, -2 }));
        ChannelFrame read = FrameCodec.Read(frame, "telco");
        Array.Clear(frame); // what was read is a copy
        Assert.Equal((3, (long)frame.Length), (read.Round, read.Bytes));
        Assert.Equal([1, -2], Assert.IsType<Scores>(read.Payload).Values.ToArray());
    }

    private sealed class StreamChannel(string local, string remote, ChannelOptions options, Stream stream) : PartyChannel(local, remote, options)
    {
        private const int MostOverhead = 64;

        protected override async ValueTask<long> WriteMessageAsync(int round, Payload payload, CancellationToken cancellationToken)
        {
            CheckSize(round, payload.PackedBytes + MostOverhead, payload);
            byte[] frame = FrameCodec.Write(round, payload);
            await WriteAsync(frame, cancellationToken);
            return frame.Length;
        }

        protected override ValueTask WriteCompletedAsync(CancellationToken cancellationToken) => WriteAsync(FrameCodec.WriteCompleted(), cancellationToken);

        protected override ValueTask WriteAbortedAsync(string errorId, CancellationToken cancellationToken) => WriteAsync(FrameCodec.WriteAborted(errorId), cancellationToken);

        protected override async ValueTask<ChannelFrame> ReadFrameAsync(CancellationToken cancellationToken)
        {
            try
            {
                byte[] length = new byte[sizeof(int)];
                await stream.ReadExactlyAsync(length, cancellationToken);
                int bytes = BinaryPrimitives.ReadInt32LittleEndian(length);
                if (bytes < 0 || bytes > Options.MaxMessageBytes)
                    throw Error(ProtocolErrors.TooLarge, "channel", "the peer sent more than the limit.", "Raise the limit at both sides.");
                byte[] frame = new byte[bytes];
                await stream.ReadExactlyAsync(frame, cancellationToken);
                return FrameCodec.Read(frame, RemoteParty);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                throw Gone(e);
            }
        }

        public override ValueTask DisposeAsync() => stream.DisposeAsync();

        private async ValueTask WriteAsync(byte[] frame, CancellationToken cancellationToken)
        {
            byte[] all = new byte[sizeof(int) + frame.Length];
            BinaryPrimitives.WriteInt32LittleEndian(all, frame.Length);
            frame.CopyTo(all, sizeof(int));
            try
            {
                await stream.WriteAsync(all, cancellationToken);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
            {
                throw Gone(e);
            }
        }
    }
}
