using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace FedLearn.Privacy;

/// <summary>Memory of scores and residuals at their receiver, used again for messages of the same kind and shape. Thread-safe.</summary>
/// <remarks>A payload that was taken belongs to whoever took it until it is given back; after that its numbers may change at any time. One that is never given back is
/// the garbage collector's, and its numbers never change: whoever keeps a payload, as a recorder does, just does not give it back.</remarks>
public sealed class PayloadPool
{
    // Batches have at most two sizes; twice that is there while a message is on the way.
    private const int Most = 4;

    private readonly Lock _lock = new();
    private readonly RoundVector?[] _free = new RoundVector?[Most];
    private int _next;

    /// <summary>The same message in memory of this pool.</summary>
    /// <param name="payload">The message.</param>
    /// <returns>A payload that nobody else writes, and that is not transient.</returns>
    public RoundVector Copy(RoundVector payload)
    {
        ArgumentNullException.ThrowIfNull(payload);
        LatticeVector? lattice = payload.Lattice;
        RoundVector copy = Take(payload is Scores, payload.ElementType, lattice?.Step ?? 0, lattice?.Bits ?? 0, payload.Length);
        payload.Values.Span.CopyTo(copy.Pooled!.Values);
        lattice?.Packed.Span.CopyTo(copy.Pooled.Packed);
        return copy;
    }

    /// <summary>A message as it came over a wire, in memory of this pool.</summary>
    /// <typeparam name="T">Scores or residuals.</typeparam>
    /// <param name="elementType">How its numbers are packed.</param>
    /// <param name="step">Of a lattice: what 1 stands for.</param>
    /// <param name="bits">Of a lattice: bits of an element.</param>
    /// <param name="length">Of a lattice: number of elements; of others it follows from the bytes.</param>
    /// <param name="packed">The packed elements, little-endian. They are copied.</param>
    /// <returns>Null when the parts do not fit together.</returns>
    public T? Read<T>(ElementType elementType, double step, int bits, int length, ReadOnlySequence<byte> packed) where T : RoundVector
    {
        int width = elementType switch { ElementType.Float64 => sizeof(double), ElementType.Float32 => sizeof(float), _ => 0 };
        if (elementType == ElementType.Lattice ? !LatticeVector.FitsForm(step, bits, length, packed.Length) : width == 0 || packed.Length % width != 0 || packed.Length / width > Array.MaxLength)
            return null;
        if (width > 0)
            (step, bits, length) = (0, 0, (int)(packed.Length / width));
        RoundVector payload = Take(typeof(T) == typeof(Scores), elementType, step, bits, length);
        PooledMemory memory = payload.Pooled!;
        switch (elementType)
        {
            case ElementType.Float64 when BitConverter.IsLittleEndian:
                packed.CopyTo(MemoryMarshal.AsBytes(memory.Values.AsSpan()));
                break;
            case ElementType.Lattice:
                packed.CopyTo(memory.Packed);
                if (length > 0 && !LatticeVector.FitsEnd(bits, length, memory.Packed[^1]))
                {
                    Return(payload);
                    return null;
                }

                payload.Lattice!.Unpack(memory.Values);
                break;
            default:
                Decode(packed, width, memory.Values);
                break;
        }

        return (T)payload;
    }

    /// <summary>Gives a payload back, which its holder then neither reads nor passes on. One that is not of this pool, or that was given back before, is left alone.</summary>
    /// <param name="payload">The payload.</param>
    public void Return(Payload payload)
    {
        if (payload is not RoundVector { Pooled: { } memory } vector || memory.Owner != this)
            return;
        lock (_lock)
        {
            if (!memory.IsTaken)
                return;
            memory.IsTaken = false;
            // Without a free place it takes that of the payload returned longest ago, so that shapes which are not used any more disappear.
            int at = Array.IndexOf(_free, null);
            if (at < 0)
                (at, _next) = (_next, (_next + 1) % Most);
            _free[at] = vector;
        }
    }

    private RoundVector Take(bool scores, ElementType elementType, double step, int bits, int length)
    {
        lock (_lock)
            for (int i = 0; i < _free.Length; i++)
                if (_free[i] is { } free && free is Scores == scores && free.ElementType == elementType && free.Length == length
                    && (free.Lattice is not { } lattice || (lattice.Step == step && lattice.Bits == bits)))
                {
                    _free[i] = null;
                    free.Pooled!.IsTaken = true;
                    return free;
                }

        double[] values = GC.AllocateUninitializedArray<double>(length);
        byte[] packed = elementType == ElementType.Lattice ? new byte[LatticeVector.BytesOf(length, bits)] : [];
        var memory = new PooledMemory(this, values, packed);
        if (elementType != ElementType.Lattice)
            return scores ? new Scores(values, elementType) { Pooled = memory } : new Residuals(values, elementType) { Pooled = memory };
        LatticeVector integers = LatticeVector.Restore(step, bits, length, packed)!;
        return scores ? new Scores(integers, values) { Pooled = memory } : new Residuals(integers, values) { Pooled = memory };
    }

    private static void Decode(ReadOnlySequence<byte> packed, int width, Span<double> values)
    {
        var reader = new SequenceReader<byte>(packed);
        Span<byte> bytes = stackalloc byte[sizeof(double)];
        foreach (ref double value in values)
        {
            reader.TryCopyTo(bytes[..width]);
            reader.Advance(width);
            value = width == sizeof(float) ? BinaryPrimitives.ReadSingleLittleEndian(bytes) : BinaryPrimitives.ReadDoubleLittleEndian(bytes);
        }
    }
}

/// <summary>The memory of a payload of a pool.</summary>
internal sealed class PooledMemory(PayloadPool owner, double[] values, byte[] packed)
{
    public PayloadPool Owner { get; } = owner;

    public double[] Values { get; } = values;

    public byte[] Packed { get; } = packed;

    /// <summary>Whether somebody holds the payload. Under the owner's lock.</summary>
    public bool IsTaken { get; set; } = true;
}
