using System.Buffers;
using System.IO.Pipelines;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;
using Google.Protobuf;
using Wire = FedLearn.Transport.Grpc.Wire;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>One message of every kind, as it stands on the wire.</summary>
internal static class WireSeeds
{
    public static IReadOnlyList<byte[]> Envelopes { get; } =
    [
        .. new Payload[]
        {
            new Scores(new double[3]), new Scores(new double[3], ElementType.Float32), new Residuals(new double[] { 1, -1, 0.5 }), new Scores(LatticeVector.Restore(0.25, 24, 3, new byte[9])!),
            new NoisyTargets(LatticeVector.Restore(1, 20, 2, new byte[5])!), new RandomizedLabels(new byte[] { 0, 1, 2 }), new Scalars(ScalarsKind.Agreement, new double[5]), new HashedIds(new byte[64]),
            new RowSelection(new byte[] { 1, 0 }), new Embeddings(new double[4]), new EmbeddingGradients(new double[4]), new ModelUpdate(new double[2]), new ModelParameters(new double[2]),
            new SampleKeys(new byte[32], true), new MaskedVector(new byte[16], 0.5), new AggregationMessage(AggregationStep.Keys, new byte[40]), new EncryptedShares(new byte[30], 3),
            new MaskedProducts(new byte[30], 3), new MaskedAnswers(new byte[30], 3), new EncryptionKey(new byte[20]), new AlignmentMessage(AlignmentStep.Hello, new byte[84]), new BlindedIds(new byte[64]),
            new BlindedTags(new byte[10], 2),
        }.Select((payload, round) => EnvelopeCodec.Encode(round, payload).ToByteArray()),
        new Wire.Envelope { Completed = new() }.ToByteArray(),
        new Wire.Envelope { Aborted = new() { ErrorId = "FL4005" } }.ToByteArray(),
    ];

    public static IReadOnlyList<byte[]> Joins { get; } =
    [
        SessionCodec.Encode(new JoinRequest(SessionDesk.ProtocolVersion, new PartyDescription("telco", PartyRole.Passive), "trial", new byte[32],
            new Dictionary<string, ReadOnlyMemory<byte>> { ["training"] = new byte[32], ["model"] = new byte[32] }, new byte[32])).ToByteArray(),
    ];

    public static IReadOnlyList<byte[]> Replies { get; } = [Reply(new JoinedParty("bank", new byte[32]), new JoinedParty("telco", new byte[32]))];

    private static byte[] Reply(params JoinedParty[] parties) => SessionCodec.Encode(new SessionAgreement("0123abcd", SessionDesk.DigestOf(new byte[32], parties), parties)).ToByteArray();

    /// <summary>What the protocol does with a message: decodes it, and checks what a channel checks.</summary>
    public static void Use(Wire.Envelope envelope, long bytes)
    {
        ChannelFrame message = EnvelopeCodec.Decode(envelope, bytes);
        if (message.Payload is not { } payload)
            return;
        if (payload is Scores)
            MessageChecks.Expect<Scores>("telco", message, message.Round, payload.Length);
        else if (payload is RowSelection)
            MessageChecks.Expect<RowSelection>("telco", message, message.Round, payload.Length);
        _ = payload.PackedBytes;
        byte[] again = EnvelopeCodec.Encode(message.Round, payload).ToByteArray();
        if (EnvelopeCodec.Decode(Wire.Envelope.Parser.ParseFrom(again), again.Length).Payload is not { } second || second.Length != payload.Length)
            throw new InvalidOperationException("A message that was read is not what is written again.");
    }
}

/// <summary>The byte stream of an exchange: frames, one after the other, in segments of any size.</summary>
internal sealed class GrpcFramesTarget() : FuzzTarget("grpc-frames", 10_000)
{
    private const int Most = 1 << 20;

    public override byte[] Make(FuzzRandom random) => FrameMutator.Make(random, WireSeeds.Envelopes);

    protected override IEnumerable<byte[]> MadeSeeds() => WireSeeds.Envelopes.Select(body => (byte[])[0, 0, 0, 0, (byte)body.Length, .. body]);

    protected override void Read(byte[] input, string folder)
    {
        PipeReader reader = PipeReader.Create(Segments(input));
        try
        {
            while (true)
            {
                if (Framing.ReadAsync(reader, Wire.Envelope.Parser, Most, default).AsTask().GetAwaiter().GetResult() is not var (envelope, bytes))
                    return;
                WireSeeds.Use(envelope, bytes);
            }
        }
        catch (EndOfStreamException)
        {
            // The channel says that the peer is gone, FL4007.
            throw new FedLearn.Diagnostics.PeerException(ProtocolErrors.PeerGone, "fuzz", "the stream ended inside a message.", "None.");
        }
    }

    /// <summary>The input in segments whose sizes depend on it alone.</summary>
    private static ReadOnlySequence<byte> Segments(byte[] input)
    {
        int size = input.Length == 0 ? 1 : 1 + input[^1] % 40;
        if (size > 30 || input.Length > 10_000)
            return new ReadOnlySequence<byte>(input);
        var first = new Segment(ReadOnlyMemory<byte>.Empty, 0);
        Segment last = first;
        for (int at = 0; at < input.Length; at += size)
            last = last.Append(input.AsMemory(at, Math.Min(size, input.Length - at)));
        return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
    }

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory, long at) => (Memory, RunningIndex) = (memory, at);

        public Segment Append(ReadOnlyMemory<byte> memory)
        {
            var next = new Segment(memory, RunningIndex + Memory.Length);
            Next = next;
            return next;
        }
    }
}

/// <summary>The body of a message of an exchange.</summary>
internal sealed class EnvelopeTarget() : FuzzTarget("envelope", 10_000)
{
    public override byte[] Make(FuzzRandom random) => ProtobufMutator.Mutate(random, Seeds);

    protected override IEnumerable<byte[]> MadeSeeds() => WireSeeds.Envelopes;

    protected override void Read(byte[] input, string folder)
    {
        // What the quick reader of training rounds takes, the protobuf library takes too, and finds the same in it.
        var pool = new PayloadPool();
        bool quick = RoundVectorCodec.TryRead(new ReadOnlySequence<byte>(input), pool, input.Length, out ChannelFrame frame);
        Wire.Envelope envelope;
        try
        {
            envelope = Framing.Parse(Wire.Envelope.Parser, new ReadOnlySequence<byte>(input));
        }
        catch (RpcException) when (quick)
        {
            throw new InvalidOperationException("The quick reader takes what is no message.");
        }

        if (quick && (EnvelopeCodec.Decode(envelope, input.Length) is var slow && (slow.Round != frame.Round || slow.Payload is not RoundVector vector || frame.Payload is not RoundVector same
            || vector.GetType() != same.GetType() || vector.ElementType != same.ElementType || !vector.Values.Span.SequenceEqual(same.Values.Span, EqualityComparer<double>.Default)
            || vector.Lattice?.Step != same.Lattice?.Step || vector.Lattice?.Bits != same.Lattice?.Bits || !(vector.Lattice?.Packed ?? default).Span.SequenceEqual((same.Lattice?.Packed ?? default).Span))))
            throw new InvalidOperationException("The quick reader reads something else.");
        WireSeeds.Use(envelope, input.Length);
    }
}

/// <summary>A request to join, as far as the desk that admits it.</summary>
internal sealed class JoinRequestTarget() : FuzzTarget("join-request", 5_000)
{
    private static readonly SessionTerms Terms = new("trial", new byte[32], new Dictionary<string, ReadOnlyMemory<byte>> { ["training"] = new byte[32] },
        [new PartyDescription("bank", PartyRole.Active), new PartyDescription("telco", PartyRole.Passive)]);

    public override byte[] Make(FuzzRandom random) => ProtobufMutator.Mutate(random, Seeds);

    protected override IEnumerable<byte[]> MadeSeeds() => WireSeeds.Joins;

    protected override void Read(byte[] input, string folder)
    {
        JoinRequest request = SessionCodec.Decode(Framing.Parse(Wire.JoinRequest.Parser, new ReadOnlySequence<byte>(input)));
        Task<SessionAgreement> joining = new SessionDesk(Terms, Timeout.InfiniteTimeSpan).JoinAsync(request);
        if (joining.IsCompleted)
            joining.GetAwaiter().GetResult();
    }
}

/// <summary>The answer to a request to join.</summary>
internal sealed class JoinReplyTarget() : FuzzTarget("join-reply", 4_000)
{
    public override byte[] Make(FuzzRandom random) => ProtobufMutator.Mutate(random, Seeds);

    protected override IEnumerable<byte[]> MadeSeeds() => WireSeeds.Replies;

    protected override void Read(byte[] input, string folder) =>
        SessionDesk.Verify(new JoinRequest(SessionDesk.ProtocolVersion, new PartyDescription("telco", PartyRole.Passive), "trial", new byte[32], new Dictionary<string, ReadOnlyMemory<byte>>(), new byte[32]),
            SessionCodec.Decode(Framing.Parse(Wire.JoinReply.Parser, new ReadOnlySequence<byte>(input)), "host"));
}

/// <summary>Texts of headers: time limits, percent encoding, ids of errors. They are read or left alone; nothing is thrown.</summary>
internal sealed class HeaderTextTarget() : FuzzTarget("header-text", 2_000)
{
    public override byte[] Make(FuzzRandom random) => ByteMutator.Mutate(random, random.Of(Seeds), Seeds);

    protected override IEnumerable<byte[]> MadeSeeds() =>
        new[] { "10S", "99999999H", "1n", "0m", "Stra%C3%9Fe 100%25", "%", "%F", "%ZZ%ff", "FL4005", "telco", "99999999n" }.Select(Encoding.Latin1.GetBytes);

    protected override void Read(byte[] input, string folder)
    {
        string text = Encoding.Latin1.GetString(input);
        if (HeaderText.TryParseTimeout(text, out TimeSpan limit))
            Require(limit >= TimeSpan.Zero && limit <= TimeSpan.FromDays(30) && HeaderText.TryParseTimeout(HeaderText.FormatTimeout(limit), out TimeSpan again) && again >= limit, "A time limit is not what is written again.");
        string decoded = HeaderText.Decode(text);
        Require(!decoded.Contains('\uFFFD', StringComparison.Ordinal) && !text.Contains('%', StringComparison.Ordinal) ? HeaderText.Decode(HeaderText.Encode(decoded)) == decoded : true, "A text is not what is written again.");
        Require(HeaderText.Presentable(decoded) is { Length: <= 1000 } shown && !shown.Any(char.IsControl), "A text that is shown has control characters.");
        _ = HeaderText.IsErrorId(text);
    }
}
