using FedLearn.Privacy;

namespace FedLearn.Testing;

/// <summary>Payloads of the same kind with fewer elements, or with one bit changed.</summary>
internal static class PayloadDamage
{
    public static Payload Of(Payload payload, MessageFault fault) => payload switch
    {
        { Length: 0 } => payload,
        VectorPayload { Lattice: { } lattice } vector => Of(vector, Of(lattice, fault)),
        Scores s => new Scores(Of(s, fault), s.ElementType),
        Residuals r => new Residuals(Of(r, fault), r.ElementType),
        Embeddings e => new Embeddings(Of(e, fault), e.ElementType),
        EmbeddingGradients g => new EmbeddingGradients(Of(g, fault), g.ElementType),
        ModelUpdate u => new ModelUpdate(Of(u, fault), u.ElementType),
        ModelParameters p => new ModelParameters(Of(p, fault), p.ElementType),
        NoisyTargets t => new NoisyTargets(Of(t, fault)),
        Scalars s => new Scalars(s.Kind, Of(s, fault)),
        HashedIds ids => new HashedIds(Of(ids.Digests, ids.Length, fault)),
        RowSelection rows => new RowSelection(Of(rows.Selected, rows.Length, fault)),
        RandomizedLabels labels => new RandomizedLabels(Of(labels.Classes, labels.Length, fault)),
        MaskedVector masked => new MaskedVector(Of(masked.Values, masked.Length, fault), masked.Step),
        SampleKeys keys => new SampleKeys(Of(keys.Keys, keys.Length, fault), keys.HasMoments),
        AggregationMessage message => new AggregationMessage(message.Step, Of(message.Bytes, message.Length, fault)),
        AlignmentMessage message => new AlignmentMessage(message.Step, Of(message.Bytes, message.Length, fault)),
        EncryptionKey key => new EncryptionKey(Of(key.Bytes, key.Length, fault)),
        BlindedIds ids => new BlindedIds(Of(ids.Bytes, ids.Length, fault)),
        BlindedTags tags => new BlindedTags(Of(tags.Bytes, tags.Length, fault), Left(tags.Length, fault)),
        EncryptedShares shares => new EncryptedShares(Of(shares.Bytes, shares.Length, fault), Left(shares.Length, fault)),
        MaskedProducts products => new MaskedProducts(Of(products.Bytes, products.Length, fault), Left(products.Length, fault)),
        MaskedAnswers answers => new MaskedAnswers(Of(answers.Bytes, answers.Length, fault), Left(answers.Length, fault)),
        _ => throw new NotSupportedException($"There is no way here to damage {payload.GetType().Name}."),
    };

    private static VectorPayload Of(VectorPayload vector, LatticeVector lattice) => vector switch
    {
        Scores => new Scores(lattice),
        Residuals => new Residuals(lattice),
        NoisyTargets => new NoisyTargets(lattice),
        Embeddings => new Embeddings(lattice),
        EmbeddingGradients => new EmbeddingGradients(lattice),
        ModelUpdate => new ModelUpdate(lattice),
        _ => throw new NotSupportedException($"There is no way here to damage {vector.GetType().Name} on a lattice."),
    };

    // The bits of a lattice end inside a byte, whose others must stay 0.
    private static LatticeVector Of(LatticeVector lattice, MessageFault fault)
    {
        int length = Left(lattice.Length, fault);
        long bits = (long)length * lattice.Bits;
        byte[] packed = lattice.Packed[..LatticeVector.BytesOf(length, lattice.Bits)].ToArray();
        if (bits % 8 != 0)
            packed[^1] &= (byte)((1 << (int)(bits % 8)) - 1);
        Flip(packed, bits, fault);
        return LatticeVector.Restore(lattice.Step, lattice.Bits, length, packed) ?? throw new InvalidOperationException("A lattice vector with one other bit is one.");
    }

    private static double[] Of(VectorPayload vector, MessageFault fault)
    {
        double[] values = vector.Values[..Left(vector.Length, fault)].ToArray();
        if (fault is not MessageFault.Corrupt { Bit: var bit })
            return values;
        int width = vector.ElementType == ElementType.Float32 ? 32 : 64, element = (int)(bit / width % values.Length), place = (int)(bit % width);
        values[element] = width == 32
            ? BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits((float)values[element]) ^ (1u << place))
            : BitConverter.UInt64BitsToDouble(BitConverter.DoubleToUInt64Bits(values[element]) ^ (1ul << place));
        return values;
    }

    private static byte[] Of(ReadOnlyMemory<byte> bytes, int length, MessageFault fault)
    {
        byte[] left = bytes[..(int)((long)bytes.Length * Left(length, fault) / length)].ToArray();
        Flip(left, left.Length * 8L, fault);
        return left;
    }

    private static int Left(int length, MessageFault fault) => fault is MessageFault.Truncate cut ? Math.Clamp(cut.Length, 0, length) : length;

    private static void Flip(byte[] bytes, long bits, MessageFault fault)
    {
        if (fault is MessageFault.Corrupt { Bit: var bit } && bits > 0)
            bytes[bit % bits / 8] ^= (byte)(1 << (int)(bit % bits % 8));
    }
}
