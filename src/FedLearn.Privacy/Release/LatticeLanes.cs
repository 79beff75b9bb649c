using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FedLearn.Privacy;

/// <summary>Packs and unpacks eight elements of a <see cref="LatticeVector"/> at a time, where the processor can (AVX-512 VBMI). The bits are those of the loops there.</summary>
/// <remarks>Eight elements of b bits are b bytes, so that every eight begin at a byte and have the same places in it: element i begins in byte i b / 8, and from there with 7 bits before it at
/// most lies within eight bytes. Those are moved to and from a lane of its own, all at once.</remarks>
internal static unsafe class LatticeLanes
{
    private const int Lanes = 8, Bytes = 64;

    /// <summary>Fewest bits for which packing works: elements i and i + 2 then share no byte.</summary>
    private const int FewestBits = 8;

    /// <summary>Packs the first elements.</summary>
    /// <param name="integers">Whole numbers from -2^(bits-1) to 2^(bits-1) - 1.</param>
    /// <param name="bits">Bits of an element.</param>
    /// <param name="packed">Receives them.</param>
    /// <returns>How many were packed, a multiple of 8.</returns>
    public static int Pack(ReadOnlySpan<double> integers, int bits, Span<byte> packed)
    {
        int count = Whole(integers.Length, bits, packed.Length);
        if (count == 0 || bits < FewestBits)
            return 0;
        byte* even = stackalloc byte[Bytes], odd = stackalloc byte[Bytes], isEven = stackalloc byte[Bytes], isOdd = stackalloc byte[Bytes];
        new Span<byte>(isEven, Bytes).Clear();
        new Span<byte>(isOdd, Bytes).Clear();
        for (int lane = 0; lane < Lanes; lane++)
        {
            int first = lane * bits / 8, bytes = (lane * bits % 8 + bits + 7) / 8;
            byte* from = lane % 2 == 0 ? even : odd, mask = lane % 2 == 0 ? isEven : isOdd;
            for (int i = 0; i < bytes; i++)
                (from[first + i], mask[first + i]) = ((byte)(lane * 8 + i), byte.MaxValue);
        }

        Vector512<byte> fromEven = Vector512.Load(even), fromOdd = Vector512.Load(odd), ofEven = Vector512.Load(isEven), ofOdd = Vector512.Load(isOdd);
        Vector512<ulong> element = Vector512.Create((1UL << bits) - 1), before = Before(bits);
        fixed (double* at = integers)
        fixed (byte* to = packed)
            for (int i = 0; i < count; i += Lanes)
            {
                Vector512<long> lanes = Avx512DQ.ConvertToVector512Int64(Vector512.Load(at + i));
                Vector512<byte> placed = Avx512F.ShiftLeftLogicalVariable(lanes.AsUInt64() & element, before).AsByte();
                // The bytes beyond these eight are 0, and the next eight's to write.
                ((Avx512Vbmi.PermuteVar64x8(placed, fromEven) & ofEven) | (Avx512Vbmi.PermuteVar64x8(placed, fromOdd) & ofOdd)).Store(to + (long)i / Lanes * bits);
            }

        return count;
    }

    /// <summary>Unpacks the first elements.</summary>
    /// <param name="packed">The packed elements.</param>
    /// <param name="bits">Bits of an element.</param>
    /// <param name="step">What 1 stands for.</param>
    /// <param name="values">Receives step times each integer.</param>
    /// <returns>How many were unpacked, a multiple of 8.</returns>
    public static int Unpack(ReadOnlySpan<byte> packed, int bits, double step, Span<double> values)
    {
        int count = Whole(values.Length, bits, packed.Length);
        if (count == 0)
            return 0;
        byte* index = stackalloc byte[Bytes];
        for (int i = 0; i < Bytes; i++)
            index[i] = (byte)(i / 8 * bits / 8 + i % 8);
        Vector512<byte> from = Vector512.Load(index);
        // The sign bit goes to the top of its lane, and comes back with copies of itself above it.
        Vector512<ulong> up = Vector512.Create((ulong)(64 - bits)) - Before(bits);
        fixed (byte* at = packed)
        fixed (double* to = values)
            for (int i = 0; i < count; i += Lanes)
            {
                Vector512<ulong> lanes = Avx512Vbmi.PermuteVar64x8(Vector512.Load(at + (long)i / Lanes * bits), from).AsUInt64();
                Vector512<long> integers = Vector512.ShiftRightArithmetic(Avx512F.ShiftLeftLogicalVariable(lanes, up).AsInt64(), 64 - bits);
                (Avx512DQ.ConvertToVector512Double(integers) * Vector512.Create(step)).Store(to + i);
            }

        return count;
    }

    /// <summary>Elements that can be taken by eights, each of which reads or writes 64 bytes from its first.</summary>
    private static int Whole(int elements, int bits, int bytes) =>
        Avx512Vbmi.IsSupported && Avx512DQ.IsSupported && bytes >= Bytes ? Math.Min(elements / Lanes, (bytes - Bytes) / bits + 1) * Lanes : 0;

    /// <summary>Bits of an element's first byte that are before it, by lane.</summary>
    private static Vector512<ulong> Before(int bits) => Vector512.Create(0UL, 1, 2, 3, 4, 5, 6, 7) * (ulong)bits & Vector512.Create(7UL);
}
