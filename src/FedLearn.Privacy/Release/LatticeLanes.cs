using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FedLearn.Privacy;

/// <summary>Packs and unpacks eight elements of a <see cref="LatticeVector"/> at a time, where the processor can: with AVX-512 VBMI, or with AVX2; and adds noise to four. The bits are those of the loops there and in <see cref="GaussianMechanism"/>.</summary>
/// <remarks>Eight elements of b bits are b bytes, so that every eight begin at a byte and have the same places in it: element i begins in byte i b / 8, and from there with 7 bits before it at
/// most lies within eight bytes. Those are moved to and from a lane of its own.</remarks>
internal static unsafe class LatticeLanes
{
    private const int Lanes = 8, Bytes = 64;

    /// <summary>Fewest bits for which packing with VBMI works: elements i and i + 2 then share no byte.</summary>
    private const int FewestBits = 8;

    /// <summary>Most bits for which packing with AVX2 works: four elements with four bits before them then lie within eight bytes. A usual message has 11.</summary>
    private const int MostBitsOfFours = 15;

    /// <summary>1.5 x 2^52. Added to it, a whole number below 2^51 in magnitude is the lowest bits of the sum, in two's complement.</summary>
    private const double Shift = 3L << 51;

    private static bool HasVbmi => Avx512Vbmi.IsSupported && Avx512DQ.IsSupported;

    /// <summary>Packs the first elements.</summary>
    /// <param name="integers">Whole numbers from -2^(bits-1) to 2^(bits-1) - 1.</param>
    /// <param name="bits">Bits of an element.</param>
    /// <param name="packed">Receives them.</param>
    /// <returns>How many were packed, a multiple of 8.</returns>
    public static int Pack(ReadOnlySpan<double> integers, int bits, Span<byte> packed) =>
        HasVbmi && bits >= FewestBits ? PackEights(integers, bits, packed)
        : Avx2.IsSupported && bits <= MostBitsOfFours ? PackFours(integers, bits, packed) : 0;

    /// <summary>Unpacks the first elements.</summary>
    /// <param name="packed">The packed elements.</param>
    /// <param name="bits">Bits of an element.</param>
    /// <param name="step">What 1 stands for.</param>
    /// <param name="values">Receives step times each integer.</param>
    /// <returns>How many were unpacked, a multiple of 8.</returns>
    public static int Unpack(ReadOnlySpan<byte> packed, int bits, double step, Span<double> values) =>
        HasVbmi ? UnpackEights(packed, bits, step, values)
        : Avx2.IsSupported && bits < LatticeVector.MostBits ? UnpackFours(packed, bits, step, values) : 0;

    /// <summary>Puts the first numbers on the noise's lattice, adds their noise, and rounds the sums to a lattice as coarse or coarser, with AVX.</summary>
    /// <param name="exact">Finite numbers.</param>
    /// <param name="step">Step of the noise's lattice.</param>
    /// <param name="largest">Largest number of its steps that a number may be; those beyond become it.</param>
    /// <param name="noise">The noise, in its steps; one for each number at least.</param>
    /// <param name="coarseness">That step over the step of the sums: a power of two, 1 at most.</param>
    /// <param name="limit">Largest sum, in steps of the sums; those beyond become it.</param>
    /// <param name="sums">Receives them; may be <paramref name="exact"/>.</param>
    /// <returns>How many were done, a multiple of 4.</returns>
    /// <remarks>One pass instead of nine. A quotient that is whole already, and a sum where the coarseness is 1, stay as they are when they are rounded.</remarks>
    public static int Sum(ReadOnlySpan<double> exact, double step, double largest, ReadOnlySpan<int> noise, double coarseness, double limit, Span<double> sums)
    {
        if (!Avx.IsSupported)
            return 0;
        int count = exact.Length & ~3;
        Vector256<double> steps = Vector256.Create(step), high = Vector256.Create(largest), scale = Vector256.Create(coarseness), most = Vector256.Create(limit);
        fixed (double* from = exact)
        fixed (int* drawn = noise[..exact.Length])
        fixed (double* to = sums[..exact.Length])
            for (int i = 0; i < count; i += 4)
            {
                Vector256<double> whole = Avx.RoundToNearestInteger(Avx.Divide(Vector256.Load(from + i), steps));
                Vector256<double> sum = Avx.Add(Avx.Min(Avx.Max(whole, -high), high), Avx.ConvertToVector256Double(Vector128.Load(drawn + i)));
                Avx.Min(Avx.Max(Avx.RoundToNearestInteger(Avx.Multiply(sum, scale)), -most), most).Store(to + i);
            }

        return count;
    }

    private static int PackEights(ReadOnlySpan<double> integers, int bits, Span<byte> packed)
    {
        int count = Whole(integers.Length, bits, packed.Length, Bytes);
        if (count == 0)
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
                // This stores zeros beyond the bytes of these eight elements; the next eight overwrite them.
                ((Avx512Vbmi.PermuteVar64x8(placed, fromEven) & ofEven) | (Avx512Vbmi.PermuteVar64x8(placed, fromOdd) & ofOdd)).Store(to + (long)i / Lanes * bits);
            }

        return count;
    }

    private static int PackFours(ReadOnlySpan<double> integers, int bits, Span<byte> packed)
    {
        const int written = 2 * sizeof(ulong);
        int count = Whole(integers.Length, bits, packed.Length, written), first = 4 * bits / 8, before = 4 * bits % 8;
        Vector256<double> shift = Vector256.Create(Shift);
        Vector256<ulong> element = Vector256.Create((1UL << bits) - 1), places = Vector256.Create(0UL, 1, 2, 3) * (ulong)bits;
        fixed (double* at = integers)
        fixed (byte* to = packed)
            for (int i = 0; i < count; i += Lanes)
            {
                ulong low = Fours((Vector256.Load(at + i) + shift).AsUInt64() & element, places), high = Fours((Vector256.Load(at + i + 4) + shift).AsUInt64() & element, places);
                byte* eight = to + (long)i / Lanes * bits;
                // The second four may begin in the middle of a byte, whose other half then holds the last bits of the first four.
                *(ulong*)eight = low;
                *(ulong*)(eight + first) = high << before | low >> (8 * first) & ((1UL << before) - 1);
            }

        return count;
    }

    /// <summary>Four elements one after the other.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Fours(Vector256<ulong> lanes, Vector256<ulong> places)
    {
        Vector256<ulong> placed = Avx2.ShiftLeftLogicalVariable(lanes, places);
        Vector128<ulong> pairs = placed.GetLower() | placed.GetUpper();
        return pairs.ToScalar() | pairs.GetElement(1);
    }

    private static int UnpackEights(ReadOnlySpan<byte> packed, int bits, double step, Span<double> values)
    {
        int count = Whole(values.Length, bits, packed.Length, Bytes);
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

    private static int UnpackFours(ReadOnlySpan<byte> packed, int bits, double step, Span<double> values)
    {
        int count = Whole(values.Length, bits, packed.Length, 7 * bits / 8 + sizeof(ulong));
        int o1 = bits / 8, o2 = 2 * bits / 8, o3 = 3 * bits / 8, o4 = 4 * bits / 8, o5 = 5 * bits / 8, o6 = 6 * bits / 8, o7 = 7 * bits / 8;
        Vector256<ulong> lanes = Vector256.Create(0UL, 1, 2, 3), before = lanes * (ulong)bits & Vector256.Create(7UL), beforeLast = (lanes + Vector256.Create(4UL)) * (ulong)bits & Vector256.Create(7UL);
        Vector256<ulong> element = Vector256.Create((1UL << bits) - 1), sign = Vector256.Create(1UL << (bits - 1));
        // With its sign bit turned over an element is itself and 2^(bits-1), a sum from 0 that one subtraction makes a double.
        Vector256<ulong> up = Vector256.Create(BitConverter.DoubleToUInt64Bits(Shift)) - sign;
        Vector256<double> shift = Vector256.Create(Shift), steps = Vector256.Create(step);
        fixed (byte* start = packed)
        fixed (double* to = values)
            for (int i = 0; i < count; i += Lanes)
            {
                byte* at = start + (long)i / Lanes * bits;
                Vector256<ulong> first = Vector256.Create(*(ulong*)at, *(ulong*)(at + o1), *(ulong*)(at + o2), *(ulong*)(at + o3));
                Vector256<ulong> last = Vector256.Create(*(ulong*)(at + o4), *(ulong*)(at + o5), *(ulong*)(at + o6), *(ulong*)(at + o7));
                first = (Avx2.ShiftRightLogicalVariable(first, before) & element ^ sign) + up;
                last = (Avx2.ShiftRightLogicalVariable(last, beforeLast) & element ^ sign) + up;
                ((first.AsDouble() - shift) * steps).Store(to + i);
                ((last.AsDouble() - shift) * steps).Store(to + i + 4);
            }

        return count;
    }

    /// <summary>Elements that can be taken by eights, each of which touches so many bytes from its first.</summary>
    private static int Whole(int elements, int bits, int bytes, int touched) => bytes < touched ? 0 : Math.Min(elements / Lanes, (bytes - touched) / bits + 1) * Lanes;

    /// <summary>Bits of an element's first byte that are before it, by lane.</summary>
    private static Vector512<ulong> Before(int bits) => Vector512.Create(0UL, 1, 2, 3, 4, 5, 6, 7) * (ulong)bits & Vector512.Create(7UL);
}
