using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FedLearn.Alignment.Ristretto;

/// <summary>
/// One register of 64-bit lanes, read as doubles or as integers modulo 2^64 as the operation says. The arithmetic of the curve is written once over it;
/// the compiler makes a copy for each width, without calls. No operation's time depends on its operands.
/// </summary>
/// <typeparam name="TV">The implementing type.</typeparam>
internal interface ILanes<TV>
    where TV : unmanaged, ILanes<TV>
{
    /// <summary>Number of lanes.</summary>
    static abstract int Count { get; }

    /// <summary>a b + c of doubles, rounded once.</summary>
    static abstract TV MultiplyAdd(TV a, TV b, TV c);

    /// <summary>a + b of doubles.</summary>
    static abstract TV Add(TV a, TV b);

    /// <summary>a - b of doubles.</summary>
    static abstract TV Subtract(TV a, TV b);

    /// <summary>a + b of integers modulo 2^64.</summary>
    static abstract TV AddBits(TV a, TV b);

    /// <summary>a - b of integers modulo 2^64.</summary>
    static abstract TV SubtractBits(TV a, TV b);

    /// <summary>Product of the low 32 bits of each lane.</summary>
    static abstract TV MultiplyLow32(TV a, TV b);

    /// <summary>Shift to the left of integers.</summary>
    static abstract TV ShiftLeft(TV a, [ConstantExpected] int bits);

    /// <summary>Shift to the right of unsigned integers.</summary>
    static abstract TV ShiftRight(TV a, [ConstantExpected] int bits);

    /// <summary>a and b.</summary>
    static abstract TV And(TV a, TV b);

    /// <summary>a or b.</summary>
    static abstract TV Or(TV a, TV b);

    /// <summary>a exclusive-or b.</summary>
    static abstract TV Xor(TV a, TV b);

    /// <summary>All ones in the lanes that are the integer 0, none in the others.</summary>
    static abstract TV IsZero(TV a);

    /// <summary>The same integer in each lane.</summary>
    static abstract TV Bits(ulong value);

    /// <summary>The same double in each lane.</summary>
    static abstract TV Of(double value);
}

/// <summary>Eight lanes: AVX-512F.</summary>
internal readonly struct Lanes512 : ILanes<Lanes512>
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;
    private readonly Vector512<double> _v;

    [MethodImpl(Inline)]
    private Lanes512(Vector512<double> v) => _v = v;

    [MethodImpl(Inline)]
    private Lanes512(Vector512<ulong> v) => _v = v.AsDouble();

    /// <summary>Whether the machine and the runtime have them, and the runtime takes them to be fast there.</summary>
    public static bool IsSupported => Avx512F.IsSupported && Vector512.IsHardwareAccelerated;

    public static int Count => 8;

    private Vector512<ulong> U
    {
        [MethodImpl(Inline)]
        get => _v.AsUInt64();
    }

    [MethodImpl(Inline)]
    public static Lanes512 MultiplyAdd(Lanes512 a, Lanes512 b, Lanes512 c) => new(Avx512F.FusedMultiplyAdd(a._v, b._v, c._v));

    [MethodImpl(Inline)]
    public static Lanes512 Add(Lanes512 a, Lanes512 b) => new(a._v + b._v);

    [MethodImpl(Inline)]
    public static Lanes512 Subtract(Lanes512 a, Lanes512 b) => new(a._v - b._v);

    [MethodImpl(Inline)]
    public static Lanes512 AddBits(Lanes512 a, Lanes512 b) => new(a.U + b.U);

    [MethodImpl(Inline)]
    public static Lanes512 SubtractBits(Lanes512 a, Lanes512 b) => new(a.U - b.U);

    [MethodImpl(Inline)]
    public static Lanes512 MultiplyLow32(Lanes512 a, Lanes512 b) => new(Avx512F.Multiply(a._v.AsUInt32(), b._v.AsUInt32()));

    [MethodImpl(Inline)]
    public static Lanes512 ShiftLeft(Lanes512 a, [ConstantExpected] int bits) => new(a.U << bits);

    [MethodImpl(Inline)]
    public static Lanes512 ShiftRight(Lanes512 a, [ConstantExpected] int bits) => new(a.U >> bits);

    [MethodImpl(Inline)]
    public static Lanes512 And(Lanes512 a, Lanes512 b) => new(a.U & b.U);

    [MethodImpl(Inline)]
    public static Lanes512 Or(Lanes512 a, Lanes512 b) => new(a.U | b.U);

    [MethodImpl(Inline)]
    public static Lanes512 Xor(Lanes512 a, Lanes512 b) => new(a.U ^ b.U);

    [MethodImpl(Inline)]
    public static Lanes512 IsZero(Lanes512 a) => new(Vector512.Equals(a.U, Vector512<ulong>.Zero));

    [MethodImpl(Inline)]
    public static Lanes512 Bits(ulong value) => new(Vector512.Create(value));

    [MethodImpl(Inline)]
    public static Lanes512 Of(double value) => new(Vector512.Create(value));
}

/// <summary>Four lanes: AVX2 and FMA.</summary>
internal readonly struct Lanes256 : ILanes<Lanes256>
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;
    private readonly Vector256<double> _v;

    [MethodImpl(Inline)]
    private Lanes256(Vector256<double> v) => _v = v;

    [MethodImpl(Inline)]
    private Lanes256(Vector256<ulong> v) => _v = v.AsDouble();

    /// <summary>Whether the machine and the runtime have them.</summary>
    public static bool IsSupported => Avx2.IsSupported && Fma.IsSupported;

    public static int Count => 4;

    private Vector256<ulong> U
    {
        [MethodImpl(Inline)]
        get => _v.AsUInt64();
    }

    [MethodImpl(Inline)]
    public static Lanes256 MultiplyAdd(Lanes256 a, Lanes256 b, Lanes256 c) => new(Fma.MultiplyAdd(a._v, b._v, c._v));

    [MethodImpl(Inline)]
    public static Lanes256 Add(Lanes256 a, Lanes256 b) => new(a._v + b._v);

    [MethodImpl(Inline)]
    public static Lanes256 Subtract(Lanes256 a, Lanes256 b) => new(a._v - b._v);

    [MethodImpl(Inline)]
    public static Lanes256 AddBits(Lanes256 a, Lanes256 b) => new(a.U + b.U);

    [MethodImpl(Inline)]
    public static Lanes256 SubtractBits(Lanes256 a, Lanes256 b) => new(a.U - b.U);

    [MethodImpl(Inline)]
    public static Lanes256 MultiplyLow32(Lanes256 a, Lanes256 b) => new(Avx2.Multiply(a._v.AsUInt32(), b._v.AsUInt32()));

    [MethodImpl(Inline)]
    public static Lanes256 ShiftLeft(Lanes256 a, [ConstantExpected] int bits) => new(a.U << bits);

    [MethodImpl(Inline)]
    public static Lanes256 ShiftRight(Lanes256 a, [ConstantExpected] int bits) => new(a.U >> bits);

    [MethodImpl(Inline)]
    public static Lanes256 And(Lanes256 a, Lanes256 b) => new(a.U & b.U);

    [MethodImpl(Inline)]
    public static Lanes256 Or(Lanes256 a, Lanes256 b) => new(a.U | b.U);

    [MethodImpl(Inline)]
    public static Lanes256 Xor(Lanes256 a, Lanes256 b) => new(a.U ^ b.U);

    [MethodImpl(Inline)]
    public static Lanes256 IsZero(Lanes256 a) => new(Vector256.Equals(a.U, Vector256<ulong>.Zero));

    [MethodImpl(Inline)]
    public static Lanes256 Bits(ulong value) => new(Vector256.Create(value));

    [MethodImpl(Inline)]
    public static Lanes256 Of(double value) => new(Vector256.Create(value));
}
