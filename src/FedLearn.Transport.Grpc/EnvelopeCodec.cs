using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;
using Google.Protobuf;

namespace FedLearn.Transport.Grpc;

/// <summary>Payloads to wire messages and back. Decoding checks form only; the channel checks kind, round, length and finiteness.</summary>
internal static class EnvelopeCodec
{
    /// <summary>Most bytes by which an envelope is larger than its packed elements: tags, lengths, round, element type, gRPC prefix.</summary>
    public const int MostOverhead = 64;

    /// <summary>The wire message of a payload. It refers to the payload's memory where the machine's byte order allows.</summary>
    public static Wire.Envelope Encode(int round, Payload payload) => payload switch
    {
        Scores scores => new() { Round = round, Scores = Vector(scores) },
        Residuals residuals => new() { Round = round, Residuals = Vector(residuals) },
        Scalars scalars => new() { Round = round, Scalars = new() { Kind = (Wire.ScalarsKind)scalars.Kind, Data = Pack(scalars) } },
        NoisyTargets targets => new() { Round = round, NoisyTargets = Vector(targets) },
        RandomizedLabels labels => new() { Round = round, RandomizedLabels = UnsafeByteOperations.UnsafeWrap(labels.Classes) },
        HashedIds ids => new() { Round = round, HashedIds = UnsafeByteOperations.UnsafeWrap(ids.Digests) },
        RowSelection rows => new() { Round = round, RowSelection = UnsafeByteOperations.UnsafeWrap(rows.Selected) },
        Embeddings vectors => new() { Round = round, Embeddings = Vector(vectors) },
        EmbeddingGradients gradients => new() { Round = round, EmbeddingGradients = Vector(gradients) },
        ModelUpdate update => new() { Round = round, ModelUpdate = Vector(update) },
        ModelParameters parameters => new() { Round = round, ModelParameters = Vector(parameters) },
        SampleKeys keys => new() { Round = round, SampleKeys = new() { Keys = UnsafeByteOperations.UnsafeWrap(keys.Keys), Moments = keys.HasMoments } },
        MaskedVector masked => new() { Round = round, Masked = new() { Values = UnsafeByteOperations.UnsafeWrap(masked.Values), Step = masked.Step } },
        AggregationMessage step => new() { Round = round, Aggregation = new() { Step = (Wire.AggregationStep)step.Step, Data = UnsafeByteOperations.UnsafeWrap(step.Bytes) } },
        EncryptedShares shares => new() { Round = round, EncryptedShares = Sealed(shares) },
        MaskedProducts products => new() { Round = round, MaskedProducts = Sealed(products) },
        MaskedAnswers answers => new() { Round = round, MaskedAnswers = Sealed(answers) },
        EncryptionKey key => new() { Round = round, EncryptionKey = UnsafeByteOperations.UnsafeWrap(key.Bytes) },
        AlignmentMessage step => new() { Round = round, Alignment = new() { Step = (Wire.AlignmentStep)step.Step, Data = UnsafeByteOperations.UnsafeWrap(step.Bytes) } },
        BlindedIds ids => new() { Round = round, BlindedIds = UnsafeByteOperations.UnsafeWrap(ids.Bytes) },
        BlindedTags tags => new() { Round = round, BlindedTags = Sealed(tags) },
        _ => throw new ArgumentOutOfRangeException(nameof(payload), payload.GetType(), "This payload has no wire message."),
    };

    /// <summary>The frame of a message without its prefix.</summary>
    /// <param name="body">The message.</param>
    /// <param name="pool">Memory for vectors of training rounds.</param>
    /// <param name="bytes">Its size, framing included.</param>
    /// <exception cref="RpcException">FL4005: the message has no valid form.</exception>
    public static ChannelFrame Read(ReadOnlySequence<byte> body, PayloadPool pool, long bytes) =>
        RoundVectorCodec.TryRead(body, pool, bytes, out ChannelFrame frame) ? frame : Decode(Framing.Parse(Wire.Envelope.Parser, body), bytes);

    /// <summary>The frame of a wire message.</summary>
    /// <exception cref="RpcException">FL4005: the message has no valid form.</exception>
    public static ChannelFrame Decode(Wire.Envelope envelope, long bytes)
    {
        if (envelope.Round < 0)
            throw Malformed("a message with a negative round");
        return envelope.BodyCase switch
        {
            Wire.Envelope.BodyOneofCase.Scores => Message(envelope.Scores.Type == Wire.ElementType.Lattice
                ? new Scores(Lattice(envelope.Scores))
                : new Scores(Unpack(envelope.Scores), Element(envelope.Scores))),
            Wire.Envelope.BodyOneofCase.Residuals => Message(envelope.Residuals.Type == Wire.ElementType.Lattice
                ? new Residuals(Lattice(envelope.Residuals))
                : new Residuals(Unpack(envelope.Residuals), Element(envelope.Residuals))),
            Wire.Envelope.BodyOneofCase.NoisyTargets => Message(new NoisyTargets(Lattice(envelope.NoisyTargets))),
            Wire.Envelope.BodyOneofCase.RandomizedLabels => Message(new RandomizedLabels(envelope.RandomizedLabels.Memory)),
            Wire.Envelope.BodyOneofCase.Scalars => Message(new Scalars(Kind(envelope.Scalars), Doubles(envelope.Scalars.Data))),
            Wire.Envelope.BodyOneofCase.HashedIds => Message(envelope.HashedIds.Length % HashedIds.DigestBytes == 0
                ? new HashedIds(envelope.HashedIds.Memory)
                : throw Malformed("hashed ids that are not 32 bytes each")),
            Wire.Envelope.BodyOneofCase.RowSelection => Message(new RowSelection(envelope.RowSelection.Memory)),
            Wire.Envelope.BodyOneofCase.Embeddings => Message(envelope.Embeddings.Type == Wire.ElementType.Lattice
                ? new Embeddings(Lattice(envelope.Embeddings))
                : new Embeddings(Unpack(envelope.Embeddings), Element(envelope.Embeddings))),
            Wire.Envelope.BodyOneofCase.EmbeddingGradients => Message(envelope.EmbeddingGradients.Type == Wire.ElementType.Lattice
                ? new EmbeddingGradients(Lattice(envelope.EmbeddingGradients))
                : new EmbeddingGradients(Unpack(envelope.EmbeddingGradients), Element(envelope.EmbeddingGradients))),
            Wire.Envelope.BodyOneofCase.ModelUpdate => Message(envelope.ModelUpdate.Type == Wire.ElementType.Lattice
                ? new ModelUpdate(Lattice(envelope.ModelUpdate))
                : new ModelUpdate(Numbers(envelope.ModelUpdate), Element(envelope.ModelUpdate))),
            Wire.Envelope.BodyOneofCase.ModelParameters => Message(new ModelParameters(Numbers(envelope.ModelParameters), Element(envelope.ModelParameters))),
            Wire.Envelope.BodyOneofCase.SampleKeys => Message(envelope.SampleKeys.Keys.Length % (envelope.SampleKeys.Moments ? SampleKeys.MomentBytes : SampleKeys.UserBytes) == 0
                ? new SampleKeys(envelope.SampleKeys.Keys.Memory, envelope.SampleKeys.Moments)
                : throw Malformed("sample keys that are not a whole number of samples")),
            Wire.Envelope.BodyOneofCase.Masked => Message(envelope.Masked.Values.Length % sizeof(ulong) == 0 && double.IsNormal(envelope.Masked.Step) && envelope.Masked.Step > 0
                ? new MaskedVector(envelope.Masked.Values.Memory, envelope.Masked.Step)
                : throw Malformed("masked integers whose parts do not fit together")),
            Wire.Envelope.BodyOneofCase.Aggregation => Message(Enum.IsDefined((AggregationStep)envelope.Aggregation.Step)
                ? new AggregationMessage((AggregationStep)envelope.Aggregation.Step, envelope.Aggregation.Data.Memory)
                : throw Malformed("an aggregation message of an unknown step")),
            Wire.Envelope.BodyOneofCase.EncryptedShares => Message(new EncryptedShares(envelope.EncryptedShares.Data.Memory, Length(envelope.EncryptedShares))),
            Wire.Envelope.BodyOneofCase.MaskedProducts => Message(new MaskedProducts(envelope.MaskedProducts.Data.Memory, Length(envelope.MaskedProducts))),
            Wire.Envelope.BodyOneofCase.MaskedAnswers => Message(new MaskedAnswers(envelope.MaskedAnswers.Data.Memory, Length(envelope.MaskedAnswers))),
            Wire.Envelope.BodyOneofCase.EncryptionKey => Message(new EncryptionKey(envelope.EncryptionKey.Memory)),
            Wire.Envelope.BodyOneofCase.Alignment => Message(Alignment(envelope)),
            Wire.Envelope.BodyOneofCase.BlindedIds => Message(envelope.BlindedIds.Length % BlindedIds.PointBytes == 0
                ? new BlindedIds(envelope.BlindedIds.Memory)
                : throw Malformed("blinded ids that are not 32 bytes each")),
            Wire.Envelope.BodyOneofCase.BlindedTags => Message(new BlindedTags(envelope.BlindedTags.Data.Memory, Length(envelope.BlindedTags))),
            Wire.Envelope.BodyOneofCase.Completed => envelope.Round == 0 ? ChannelFrame.Completed : throw Malformed("an end that is not of round 0"),
            Wire.Envelope.BodyOneofCase.Aborted => HeaderText.IsErrorId(envelope.Aborted.ErrorId)
                ? ChannelFrame.Aborted(envelope.Aborted.ErrorId)
                : throw Malformed("an error id of the wrong form"),
            _ => throw Malformed("a message without a known body"),
        };

        ChannelFrame Message(Payload payload) => ChannelFrame.Message(envelope.Round, payload, bytes);
    }

    private static Wire.Sealed Sealed(SealedPayload payload) => new() { Data = UnsafeByteOperations.UnsafeWrap(payload.Bytes), Length = (uint)payload.Length };

    // The sign of waiting may stand before any message, and every receiver skips it without a look: so it is checked here.
    private static AlignmentMessage Alignment(Wire.Envelope envelope) => !Enum.IsDefined((AlignmentStep)envelope.Alignment.Step) ? throw Malformed("an alignment message of an unknown step")
        : envelope.Alignment.Step == Wire.AlignmentStep.Waiting && (envelope.Round != 0 || envelope.Alignment.Data.Length > 0) ? throw Malformed("a sign that it computes with a round or content")
        : new AlignmentMessage((AlignmentStep)envelope.Alignment.Step, envelope.Alignment.Data.Memory);

    private static int Length(Wire.Sealed message) => message.Length <= int.MaxValue ? (int)message.Length : throw Malformed("a sealed vector of an impossible length");

    private static Wire.Vector Vector(VectorPayload payload) => payload.Lattice is { } lattice
        ? new() { Type = Wire.ElementType.Lattice, Step = lattice.Step, Bits = (uint)lattice.Bits, Length = (uint)lattice.Length, Data = UnsafeByteOperations.UnsafeWrap(lattice.Packed) }
        : new() { Type = (Wire.ElementType)payload.ElementType, Data = Pack(payload) };

    private static LatticeVector Lattice(Wire.Vector vector) =>
        (vector.Type == Wire.ElementType.Lattice && vector.Bits <= LatticeVector.MostBits && vector.Length <= int.MaxValue
            ? LatticeVector.Restore(vector.Step, (int)vector.Bits, (int)vector.Length, vector.Data.Memory) : null)
        ?? throw Malformed("a lattice vector whose parts do not fit together");

    private static ByteString Pack(VectorPayload payload)
    {
        if (payload.ElementType == ElementType.Float32)
        {
            var floats = GC.AllocateUninitializedArray<float>(payload.Length);
            ReadOnlySpan<double> values = payload.Values.Span;
            for (int i = 0; i < floats.Length; i++)
                floats[i] = (float)values[i];
            return UnsafeByteOperations.UnsafeWrap(new ByteView<float>(floats).Memory);
        }

        return UnsafeByteOperations.UnsafeWrap(new ByteView<double>(payload.Values).Memory);
    }

    private static ElementType Element(Wire.Vector vector) => vector.Type == Wire.ElementType.Float32 ? ElementType.Float32 : ElementType.Float64;

    private static ScalarsKind Kind(Wire.Scalars scalars) =>
        Enum.IsDefined((ScalarsKind)scalars.Kind) ? (ScalarsKind)scalars.Kind : throw Malformed("scalars of an unknown kind");

    /// <summary>A whole model is not copied once more: a server may hold those of many devices.</summary>
    private static ReadOnlyMemory<double> Numbers(Wire.Vector vector) => BitConverter.IsLittleEndian && vector.Type == Wire.ElementType.Float64 && vector.Data.Length % sizeof(double) == 0
        ? new NumberView(vector.Data.Memory).Memory : Unpack(vector);

    private static double[] Unpack(Wire.Vector vector) => vector.Type switch
    {
        Wire.ElementType.Float64 => Doubles(vector.Data),
        Wire.ElementType.Float32 => Singles(vector.Data),
        _ => throw Malformed("a vector of an unknown element type"),
    };

    private static double[] Doubles(ByteString data)
    {
        if (data.Length % sizeof(double) != 0)
            throw Malformed("a float64 vector whose bytes are not a multiple of 8");
        var values = GC.AllocateUninitializedArray<double>(data.Length / sizeof(double));
        data.Span.CopyTo(MemoryMarshal.AsBytes(values.AsSpan()));
        if (!BitConverter.IsLittleEndian)
            BinaryPrimitives.ReverseEndianness(MemoryMarshal.Cast<double, long>(values.AsSpan()), MemoryMarshal.Cast<double, long>(values.AsSpan()));
        return values;
    }

    private static double[] Singles(ByteString data)
    {
        if (data.Length % sizeof(float) != 0)
            throw Malformed("a float32 vector whose bytes are not a multiple of 4");
        ReadOnlySpan<byte> bytes = data.Span;
        var values = GC.AllocateUninitializedArray<double>(bytes.Length / sizeof(float));
        for (int i = 0; i < values.Length; i++)
            values[i] = BinaryPrimitives.ReadSingleLittleEndian(bytes[(i * sizeof(float))..]);
        return values;
    }

    private static RpcException Malformed(string what) => new(StatusCode.InvalidArgument, $"sent {what}.", ProtocolErrors.Malformed);

    /// <summary>Numbers seen as their little-endian bytes, without a copy on little-endian machines.</summary>
    private sealed class ByteView<T> : MemoryManager<byte> where T : unmanaged
    {
        private readonly ReadOnlyMemory<T> _values;

        public ByteView(ReadOnlyMemory<T> values)
        {
            if (BitConverter.IsLittleEndian)
            {
                _values = values;
                return;
            }

            T[] swapped = values.ToArray();
            foreach (ref T value in swapped.AsSpan())
                MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(ref value, 1)).Reverse();
            _values = swapped;
        }

        public override Span<byte> GetSpan() => MemoryMarshal.AsBytes(MemoryMarshal.AsMemory(_values).Span);

        public override MemoryHandle Pin(int elementIndex = 0) => throw new NotSupportedException("These bytes are copied, never pinned.");

        public override void Unpin() { }

        protected override void Dispose(bool disposing) { }
    }

    /// <summary>Little-endian bytes seen as the numbers that they are.</summary>
    private sealed class NumberView(ReadOnlyMemory<byte> bytes) : MemoryManager<double>
    {
        public override Span<double> GetSpan() => MemoryMarshal.Cast<byte, double>(MemoryMarshal.AsMemory(bytes).Span);

        public override MemoryHandle Pin(int elementIndex = 0) => throw new NotSupportedException("These numbers are read, never pinned.");

        public override void Unpin() { }

        protected override void Dispose(bool disposing) { }
    }
}
