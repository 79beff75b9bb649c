using System.Buffers.Binary;
using System.Numerics;

namespace FedLearn.Privacy;

/// <summary>Integers y_i, each standing for the number step y_i, packed as two's complement of a fixed number of bits.</summary>
/// <remarks>Element i occupies bits i b to (i + 1) b - 1 of the little-endian bit string; unused bits of the last byte are 0. Noised values
/// travel like this: what crosses is an integer, which has no low bits of a floating-point number to betray what was noised.</remarks>
public sealed class LatticeVector
{
    /// <summary>Fewest and most bits of an element. 53 keeps every element exact in a double.</summary>
    public const int FewestBits = 2, MostBits = 53;

    private LatticeVector(double step, int bits, int length, ReadOnlyMemory<byte> packed) => (Step, Bits, Length, Packed) = (step, bits, length, packed);

    /// <summary>What an integer of 1 stands for. Positive, normal, finite.</summary>
    public double Step { get; }

    /// <summary>Bits of an element.</summary>
    public int Bits { get; }

    /// <summary>Number of elements.</summary>
    public int Length { get; }

    /// <summary>The packed integers.</summary>
    public ReadOnlyMemory<byte> Packed { get; }

    /// <summary>Bytes that so many elements take.</summary>
    /// <param name="length">Number of elements.</param>
    /// <param name="bits">Bits of an element.</param>
    public static int BytesOf(int length, int bits) => checked((int)(((long)length * bits + 7) / 8));

    /// <summary>Fewest bits that hold every integer from -<paramref name="limit"/> to <paramref name="limit"/>.</summary>
    /// <param name="limit">At least 1 and below 2^52.</param>
    public static int BitsFor(long limit)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(limit, 1L << (MostBits - 1));
        return 65 - BitOperations.LeadingZeroCount((ulong)limit);
    }

    /// <summary>Packs integers held in doubles.</summary>
    /// <param name="integers">Whole numbers from -2^(bits-1) to 2^(bits-1) - 1.</param>
    /// <param name="step">What 1 stands for.</param>
    /// <param name="bits">Bits of an element.</param>
    internal static LatticeVector Pack(ReadOnlySpan<double> integers, double step, int bits)
    {
        byte[] packed = GC.AllocateUninitializedArray<byte>(BytesOf(integers.Length, bits));
        Pack(integers, bits, packed);
        return new(step, bits, integers.Length, packed);
    }

    /// <summary>Packs integers held in doubles into memory that is there.</summary>
    /// <param name="integers">As above.</param>
    /// <param name="bits">Bits of an element.</param>
    /// <param name="packed">Receives them; <see cref="BytesOf"/> says how long it is.</param>
    internal static void Pack(ReadOnlySpan<double> integers, int bits, Span<byte> packed)
    {
        int whole = LatticeLanes.Pack(integers, bits, packed);
        // Eights end where a byte ends.
        integers = integers[whole..];
        packed = packed[BytesOf(whole, bits)..];
        ulong mask = (1UL << bits) - 1, pending = 0;
        int filled = 0, at = 0;
        foreach (double integer in integers)
        {
            // In range, so that the processor's own conversion will do.
            ulong element = unchecked((ulong)double.ConvertToIntegerNative<long>(integer)) & mask;
            pending |= element << filled;
            filled += bits;
            if (filled < 64)
                continue;
            BinaryPrimitives.WriteUInt64LittleEndian(packed[at..], pending);
            at += sizeof(ulong);
            filled -= 64;
            pending = element >> (bits - filled);
        }

        for (; filled > 0; filled -= 8, pending >>= 8)
            packed[at++] = unchecked((byte)pending);
    }

    /// <summary>A vector as it came over a wire.</summary>
    /// <param name="step">See <see cref="Step"/>.</param>
    /// <param name="bits">See <see cref="Bits"/>.</param>
    /// <param name="length">See <see cref="Length"/>.</param>
    /// <param name="packed">See <see cref="Packed"/>.</param>
    /// <returns>Null when the parts do not fit together.</returns>
    public static LatticeVector? Restore(double step, int bits, int length, ReadOnlyMemory<byte> packed)
    {
        return FitsForm(step, bits, length, packed.Length) && (packed.IsEmpty || FitsEnd(bits, length, packed.Span[^1])) ? new(step, bits, length, packed) : null;
    }

    /// <summary>Whether a step, bits of an element, a length and a number of bytes belong together.</summary>
    internal static bool FitsForm(double step, int bits, int length, long packedBytes) => double.IsNormal(step) && step > 0 && bits is >= FewestBits and <= MostBits && length >= 0
        && packedBytes == ((long)length * bits + 7) / 8 && double.IsFinite(step * (1L << (bits - 1)));

    /// <summary>Whether the unused bits of the last byte are 0.</summary>
    internal static bool FitsEnd(int bits, int length, byte last) => last >> (int)(((long)length * bits + 7) % 8 + 1) == 0;

    /// <summary>Puts exact numbers on a lattice: each becomes the nearest multiple of the step. Nothing is hidden by that.</summary>
    /// <param name="values">The numbers, each from -<paramref name="bound"/> to <paramref name="bound"/>.</param>
    /// <param name="step">What 1 stands for. Positive, normal, finite; 2^-20 where the job says nothing else.</param>
    /// <param name="bound">Public bound on every number, a whole number of steps or rounded up to one; below 2^52 steps.</param>
    /// <returns>The integers, in as many bits as the bound needs.</returns>
    /// <exception cref="FedLearn.Diagnostics.ConfigurationException">FL2300: the step or the bound is out of range.</exception>
    /// <exception cref="FedLearn.Diagnostics.InternalFailureException">FL6300: a number is NaN or infinite. FL6144: a number is beyond the bound.</exception>
    public static LatticeVector Of(ReadOnlySpan<double> values, double step, double bound)
    {
        double limit = Math.Ceiling(bound / step);
        if (!(double.IsNormal(step) && step > 0) || !double.IsFinite(bound) || !(limit is >= 1 and < 1L << (MostBits - 1)))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "lattice", "its step is not above 0, or its bound not from 1 to 2^52 steps.",
                "Declare a bound above 0 that is not 2^52 times the step or more.");
        double[] integers = GC.AllocateUninitializedArray<double>(values.Length);
        for (int i = 0; i < integers.Length; i++)
        {
            if (!double.IsFinite(values[i]))
                throw PrivacyErrors.Internal(PrivacyErrors.NotFinite, "lattice", "a value to be released is NaN or infinite.",
                    "The training has diverged or met a fault: use a smaller step size; if it persists, report it.");
            integers[i] = Math.Round(values[i] / step);
            if (Math.Abs(integers[i]) > limit)
                throw PrivacyErrors.Internal(PrivacyErrors.BeyondBound, "lattice", "a value is beyond the bound declared for it.",
                    "Clip values to the bound before they are put on a lattice, or declare a larger bound.");
        }

        return Pack(integers, step, BitsFor((long)limit));
    }

    /// <summary>The numbers: step times each integer.</summary>
    public double[] Values()
    {
        double[] values = GC.AllocateUninitializedArray<double>(Length);
        Unpack(values);
        return values;
    }

    /// <summary>Writes the numbers into memory that is there, as long as <see cref="Length"/>.</summary>
    internal void Unpack(Span<double> values)
    {
        ReadOnlySpan<byte> packed = Packed.Span;
        int done = LatticeLanes.Unpack(packed, Bits, Step, values);
        // Eights end where a byte ends.
        packed = packed[BytesOf(done, Bits)..];
        values = values[done..];
        // Elements with 8 bytes from their first byte on need no look at the end.
        int whole = packed.Length < sizeof(ulong) ? 0 : (int)Math.Min(values.Length, (8L * (packed.Length - sizeof(ulong)) + 7) / Bits + 1), unused = 64 - Bits;
        long at = 0;
        for (int i = 0; i < whole; i++, at += Bits)
            values[i] = Step * unchecked((long)(BinaryPrimitives.ReadUInt64LittleEndian(packed[(int)(at >> 3)..]) >> (int)(at & 7) << unused) >> unused);
        for (int i = whole; i < values.Length; i++)
            values[i] = Step * At(packed, i);
    }

    /// <summary>The integers.</summary>
    public long[] Integers()
    {
        long[] integers = GC.AllocateUninitializedArray<long>(Length);
        ReadOnlySpan<byte> packed = Packed.Span;
        for (int i = 0; i < integers.Length; i++)
            integers[i] = At(packed, i);
        return integers;
    }

    private long At(ReadOnlySpan<byte> packed, int index)
    {
        // With at most 53 bits an element lies within 8 bytes of its first byte.
        long at = (long)index * Bits;
        int first = (int)(at >> 3);
        ulong word = first + sizeof(ulong) <= packed.Length ? BinaryPrimitives.ReadUInt64LittleEndian(packed[first..]) : Tail(packed[first..]);
        return unchecked((long)(word >> (int)(at & 7) << (64 - Bits)) >> (64 - Bits));
    }

    private static ulong Tail(ReadOnlySpan<byte> bytes)
    {
        ulong word = 0;
        for (int i = 0; i < bytes.Length; i++)
            word |= (ulong)bytes[i] << (8 * i);
        return word;
    }
}
