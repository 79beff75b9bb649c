using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using FedLearn.Alignment.Ristretto;
using FedLearn.Tests.Shared;

namespace FedLearn.Alignment.Tests.Ristretto;

/// <summary>The field of the vector engine against big integers, with limbs at the bounds that the overflow analysis in its remarks allows.</summary>
public sealed class VectorFieldTests
{
    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void Products_LimbsAtTheBounds_MatchBigIntegersAndStayInTheBounds(int lanes) => Run(lanes, new Products());

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void Carries_RawLimbsAtTheBounds_KeepTheValueAndReduce(int lanes) => Run(lanes, new Carries());

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void Freeze_EdgesOfTheField_IsTheCanonicalValue(int lanes) => Run(lanes, new Frozen());

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void InvertAndSqrtRatio_RandomAndEdges_MatchBigIntegers(int lanes) => Run(lanes, new Powers());

    [Fact]
    public void Constants_DefiningEquations_Hold()
    {
        BigInteger d = Number(CurveConstants.D), i = Number(CurveConstants.RootOfMinusOne);
        Assert.Equal(Field.Mod(-121665), Field.Mod(d * 121666));
        Assert.Equal(Field.Mod(2 * d), Number(CurveConstants.TwoD));
        Assert.Equal(Field.P - 1, Field.Mod(i * i));
        Assert.True(i.IsEven);
        Assert.Equal(Field.Mod(-d - 1), Field.Mod(BigInteger.Pow(Number(CurveConstants.RootOfADMinusOne), 2)));
        Assert.Equal(1, Field.Mod(BigInteger.Pow(Number(CurveConstants.InverseRootOfMinusOneMinusD), 2) * (-1 - d)));
        Assert.Equal(Field.Mod(1 - (d * d)), Number(CurveConstants.OneMinusDSquared));
        Assert.Equal(Field.Mod((d - 1) * (d - 1)), Number(CurveConstants.DMinusOneSquared));

        // Of the two roots of a d - 1, RFC 9496 takes the odd one; the sign of the other root cancels in every encoding.
        Assert.Equal("25063068953384623474111414158702152701244531502492656460079210482610430750235",
            Number(CurveConstants.RootOfADMinusOne).ToString(CultureInfo.InvariantCulture));
    }

    [Fact]
    public void OfHalf_Scalars_DigitsAreHalfModuloTheOrder()
    {
        var order = BigInteger.Pow(2, 252) + BigInteger.Parse("27742317777372353535851937790883648493", CultureInfo.InvariantCulture);
        var random = new Random(20261127);
        List<BigInteger> scalars = [1, 2, 3, 15, 16, order - 1, order - 2, order / 2, (order / 2) + 1, BigInteger.Pow(2, 252), BigInteger.Pow(2, 252) - 1];
        for (var n = 0; n < TestCounts.Of(2000); n++) scalars.Add(Field.Random(random) % order);
        Span<sbyte> digits = stackalloc sbyte[ScalarDigits.Count];
        var bytes = new byte[32];
        foreach (var scalar in scalars)
        {
            Array.Clear(bytes);
            Assert.True(scalar.TryWriteBytes(bytes, out _, isUnsigned: true));
            ScalarDigits.OfHalf(bytes, digits);
            var sum = BigInteger.Zero;
            for (var n = ScalarDigits.Count - 1; n >= 0; n--)
            {
                Assert.InRange(digits[n], -8, 8);
                sum = (16 * sum) + digits[n];
            }

            Assert.InRange(sum, BigInteger.Zero, order - 1);
            Assert.Equal(scalar, 2 * sum % order);
        }
    }

    private static BigInteger Number(ReadOnlySpan<ulong> words) => new(MemoryMarshal.AsBytes(words), isUnsigned: true);

    private static void Run(int lanes, ICheck check)
    {
        if (lanes == 8)
        {
            if (!Lanes512.IsSupported) Assert.Skip("AVX-512 is needed.");
            check.Run<Lanes512>();
        }
        else
        {
            if (!Lanes256.IsSupported) Assert.Skip("AVX2 and FMA are needed.");
            check.Run<Lanes256>();
        }
    }

    private interface ICheck
    {
        void Run<TV>()
            where TV : unmanaged, ILanes<TV>;
    }

    /// <summary>The field on big integers, and limbs of lanes.</summary>
    private static class Field
    {
        public static readonly BigInteger P = BigInteger.Pow(2, 255) - 19;

        /// <summary>Bound of a limb of a reduced element.</summary>
        public const long R = (1L << 50) + (1L << 11);

        public static BigInteger Mod(BigInteger x) => ((x % P) + P) % P;

        public static BigInteger Random(Random random)
        {
            var bytes = new byte[32];
            random.NextBytes(bytes);
            return new BigInteger(bytes, isUnsigned: true) % P;
        }

        /// <summary>A limb within the bound: at it, near it, small or anywhere.</summary>
        public static long Limb(Random random, long bound) => random.Next(6) switch
        {
            0 => bound,
            1 => -bound,
            2 => random.Next(2) == 0 ? bound - random.Next(3) : random.Next(3) - bound,
            3 => random.Next(-1, 2),
            _ => random.NextInt64(-bound, bound + 1),
        };
    }

    /// <summary>Aligned elements, and their lanes as numbers.</summary>
    private sealed unsafe class Memory<TV> : IDisposable
        where TV : unmanaged, ILanes<TV>
    {
        private readonly LaneCurve<TV>.Element* _elements = (LaneCurve<TV>.Element*)NativeMemory.AlignedAlloc((nuint)(64 * sizeof(LaneCurve<TV>.Element)), 64);

        public LaneCurve<TV>.Element* this[int index] => _elements + index;

        public void SetLimbs(int index, int lane, params ReadOnlySpan<long> limbs)
        {
            for (var k = 0; k < 5; k++) ((double*)this[index])[(k * TV.Count) + lane] = limbs[k];
        }

        public void SetRaw(int index, int lane, params ReadOnlySpan<long> limbs)
        {
            for (var k = 0; k < 5; k++) ((long*)this[index])[(k * TV.Count) + lane] = limbs[k];
        }

        public void Fill(int index, Random random, long bound)
        {
            Span<long> limbs = stackalloc long[5];
            for (var lane = 0; lane < TV.Count; lane++)
            {
                foreach (ref var limb in limbs) limb = Field.Limb(random, bound);
                SetLimbs(index, lane, limbs);
            }
        }

        /// <summary>All limbs of all lanes at the bound, with the signs of the bits of a number.</summary>
        public void FillSigns(int index, int signs, long bound)
        {
            Span<long> limbs = stackalloc long[5];
            for (var k = 0; k < 5; k++) limbs[k] = ((signs >> k) & 1) == 0 ? bound : -bound;
            for (var lane = 0; lane < TV.Count; lane++) SetLimbs(index, lane, limbs);
        }

        public long Limb(int index, int lane, int k)
        {
            var limb = ((double*)this[index])[(k * TV.Count) + lane];
            Assert.Equal(Math.Truncate(limb), limb);
            return (long)limb;
        }

        public long Raw(int index, int lane, int k) => ((long*)this[index])[(k * TV.Count) + lane];

        public BigInteger Exact(int index, int lane)
        {
            var sum = BigInteger.Zero;
            for (var k = 0; k < 5; k++) sum += new BigInteger(Limb(index, lane, k)) << (51 * k);
            return sum;
        }

        public BigInteger Value(int index, int lane) => Field.Mod(Exact(index, lane));

        public BigInteger RawValue(int index, int lane)
        {
            var sum = BigInteger.Zero;
            for (var k = 0; k < 5; k++) sum += new BigInteger(Raw(index, lane, k)) << (51 * k);
            return Field.Mod(sum);
        }

        public void AssertReduced(int index)
        {
            for (var lane = 0; lane < TV.Count; lane++)
            {
                for (var k = 0; k < 5; k++) Assert.InRange(Limb(index, lane, k), -Field.R, Field.R);
            }
        }

        public void Dispose() => NativeMemory.AlignedFree(_elements);
    }

    private sealed unsafe class Products : ICheck
    {
        // What the remarks of the field say of raw limbs, in units of 2^50, with 1/2^10 for R being a little above 2^50.
        private static readonly long[] RawBound = [267, 213, 159, 105, 51];

        public void Run<TV>()
            where TV : unmanaged, ILanes<TV>
        {
            using var m = new Memory<TV>();
            var random = new Random(8);

            // Weights 3 and 1, 2 and 1, 1 and 1, with every pattern of signs at the bounds, then at random.
            for (var weight = 1; weight <= 3; weight++)
            {
                for (var signs = 0; signs < 1024; signs++)
                {
                    m.FillSigns(0, signs, weight * Field.R);
                    m.FillSigns(1, signs >> 5, Field.R);
                    Check(m);
                }

                for (var n = 0; n < TestCounts.Of(1000); n++)
                {
                    m.Fill(0, random, weight * Field.R);
                    m.Fill(1, random, Field.R);
                    Check(m);
                }
            }

            for (var lane = 0; lane < TV.Count; lane++)
            {
                // 0, 1, -1, p - 1, p, 2^255 - 1 as limbs, each with each across the lanes.
                long[][] edges =
                [
                    [0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [-1, 0, 0, 0, 0], [-20, 0, 0, 0, 0], [-19, 0, 0, 0, 0], [18, 0, 0, 0, 0],
                    [-(1L << 50), 1 - (1L << 50), 0, 0, 1L << 50], [-0x7FFFF, 1L << 50, -1, 1, -(1L << 50)],
                ];
                for (var n = 0; n < edges.Length; n++)
                {
                    m.Fill(0, random, Field.R);
                    m.Fill(1, random, Field.R);
                    m.SetLimbs(0, lane, edges[n]);
                    m.SetLimbs(1, lane, edges[(n + lane) % edges.Length]);
                    Check(m);
                }
            }
        }

        private static void Check<TV>(Memory<TV> m)
            where TV : unmanaged, ILanes<TV>
        {
            LaneCurve<TV>.Multiply(m[2], m[0], m[1]);
            LaneCurve<TV>.MultiplyRaw(m[3], m[0], m[1]);
            LaneCurve<TV>.Square(m[4], m[1]);
            LaneCurve<TV>.SquareRaw(m[5], m[1]);
            m.AssertReduced(2);
            m.AssertReduced(4);
            for (var lane = 0; lane < TV.Count; lane++)
            {
                BigInteger a = m.Exact(0, lane), b = m.Exact(1, lane), product = Field.Mod(a * b), square = Field.Mod(b * b);
                Assert.Equal(product, m.Value(2, lane));
                Assert.Equal(product, m.RawValue(3, lane));
                Assert.Equal(square, m.Value(4, lane));
                Assert.Equal(square, m.RawValue(5, lane));
                for (var k = 0; k < 5; k++)
                {
                    Assert.InRange(m.Raw(3, lane, k), -RawBound[k] << 50, RawBound[k] << 50);
                    Assert.InRange(m.Raw(5, lane, k), -RawBound[k] << 50, RawBound[k] << 50);
                }
            }

            // In place.
            LaneCurve<TV>.Multiply(m[0], m[0], m[1]);
            LaneCurve<TV>.Square(m[1], m[1]);
            for (var lane = 0; lane < TV.Count; lane++)
            {
                Assert.Equal(m.Value(2, lane), m.Value(0, lane));
                Assert.Equal(m.Value(4, lane), m.Value(1, lane));
            }
        }
    }

    private sealed unsafe class Carries : ICheck
    {
        private static readonly long[] SumsOfFour = [4 * 267L << 50, 4 * 213L << 50, 4 * 159L << 50, 4 * 105L << 50, 4 * 51L << 50];

        public void Run<TV>()
            where TV : unmanaged, ILanes<TV>
        {
            using var m = new Memory<TV>();
            var random = new Random(9);
            Span<long> limbs = stackalloc long[5];
            for (var n = 0; n < 32 + TestCounts.Of(1000); n++)
            {
                for (var lane = 0; lane < TV.Count; lane++)
                {
                    for (var k = 0; k < 5; k++) limbs[k] = n < 32 ? (((n >> k) & 1) == 0 ? SumsOfFour[k] : -SumsOfFour[k]) : Field.Limb(random, SumsOfFour[k]);
                    m.SetRaw(0, lane, limbs);
                    for (var k = 0; k < 5; k++) limbs[k] = n < 32 ? (((n >> k) & 1) == 0 ? SumsOfFour[k] / 2 : -SumsOfFour[k] / 2) : Field.Limb(random, SumsOfFour[k] / 2);
                    m.SetRaw(1, lane, limbs);
                    for (var k = 0; k < 5; k++) limbs[k] = n < 32 ? -limbs[k] : Field.Limb(random, SumsOfFour[k] / 2);
                    m.SetRaw(2, lane, limbs);
                }

                LaneCurve<TV>.Carry(m[3], m[0]);
                LaneCurve<TV>.CarrySum(m[4], m[1], m[2]);
                LaneCurve<TV>.CarryDifference(m[5], m[1], m[2]);
                m.Fill(6, random, (1L << 52) + (1L << 13));
                if (n < 32) m.FillSigns(6, n, (1L << 52) + (1L << 13));
                LaneCurve<TV>.Reduce(m[7], m[6]);
                m.Fill(8, random, 2 * Field.R);
                m.Fill(9, random, 2 * Field.R);
                LaneCurve<TV>.AddReduced(m[10], m[8], m[9]);
                LaneCurve<TV>.SubtractReduced(m[11], m[8], m[9]);
                foreach (var reduced in (ReadOnlySpan<int>)[3, 4, 5, 7, 10, 11]) m.AssertReduced(reduced);
                for (var lane = 0; lane < TV.Count; lane++)
                {
                    Assert.Equal(m.RawValue(0, lane), m.Value(3, lane));
                    Assert.Equal(Field.Mod(m.RawValue(1, lane) + m.RawValue(2, lane)), m.Value(4, lane));
                    Assert.Equal(Field.Mod(m.RawValue(1, lane) - m.RawValue(2, lane)), m.Value(5, lane));
                    Assert.Equal(m.Value(6, lane), m.Value(7, lane));
                    Assert.Equal(Field.Mod(m.Exact(8, lane) + m.Exact(9, lane)), m.Value(10, lane));
                    Assert.Equal(Field.Mod(m.Exact(8, lane) - m.Exact(9, lane)), m.Value(11, lane));
                }
            }
        }
    }

    private sealed unsafe class Frozen : ICheck
    {
        public void Run<TV>()
            where TV : unmanaged, ILanes<TV>
        {
            const long top = (1L << 51) - 1;
            using var m = new Memory<TV>();
            var random = new Random(10);

            // 0, 1, -1, p - 1, p, p + 1, 2^255 - 1, -p, 2 p, 3 p, -3 p and the limbs at their bounds.
            long[][] edges =
            [
                [0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [-1, 0, 0, 0, 0], [top - 19, top, top, top, top], [top - 18, top, top, top, top],
                [top - 17, top, top, top, top], [top, top, top, top, top], [18 - top, -top, -top, -top, -top],
                [2 * (top - 18), 2 * top, 2 * top, 2 * top, 2 * top], [3 * (top - 18), 3 * top, 3 * top, 3 * top, 3 * top],
                [3 * (18 - top), -3 * top, -3 * top, -3 * top, -3 * top], [3 * Field.R, 3 * Field.R, 3 * Field.R, 3 * Field.R, 3 * Field.R],
                [-3 * Field.R, -3 * Field.R, -3 * Field.R, -3 * Field.R, -3 * Field.R], [-19, 0, 0, 0, 0], [-18, 0, 0, 0, 0], [-20, 0, 0, 0, 0], [2, -4, 0, 0, 0],
                [-76, 0, 0, 0, 0], [(1L << 53) - 129, (1L << 53) - 129, 0, 0, (1L << 53) - 129],
                [129 - (1L << 53), 129 - (1L << 53), 0, 0, 129 - (1L << 53)],
            ];
            var bytes = new byte[32 * TV.Count];
            for (var n = 0; n < TestCounts.Of(2000); n++)
            {
                m.Fill(0, random, 3 * Field.R);
                m.SetLimbs(0, n % TV.Count, edges[n % edges.Length]);
                m.SetLimbs(0, (n + 1) % TV.Count, edges[n / TV.Count % edges.Length]);
                LaneCurve<TV>.Freeze(m[1], m[0]);
                LaneCurve<TV>.StoreBytes(m[0], bytes);
                TV zero = LaneCurve<TV>.IsZero(m[0]), negative = LaneCurve<TV>.IsNegative(m[0]);
                LaneCurve<TV>.LoadBytes(m[2], bytes, 32, default);
                m.AssertReduced(2);
                for (var lane = 0; lane < TV.Count; lane++)
                {
                    var value = m.Value(0, lane);
                    var frozen = BigInteger.Zero;
                    for (var k = 0; k < 5; k++)
                    {
                        Assert.InRange(m.Raw(1, lane, k), 0, top);
                        frozen += new BigInteger(m.Raw(1, lane, k)) << (51 * k);
                    }

                    Assert.Equal(value, frozen);
                    Assert.Equal(value, new BigInteger(bytes.AsSpan(32 * lane, 32), isUnsigned: true));
                    Assert.Equal(value, m.Value(2, lane));
                    Assert.Equal(value.IsZero ? ulong.MaxValue : 0, ((ulong*)&zero)[lane]);
                    Assert.Equal(value.IsEven ? 0 : ulong.MaxValue, ((ulong*)&negative)[lane]);
                }
            }

            // Bytes of 2^255 - 19 and above, with the highest bit set: that bit is dropped, the rest is read modulo p.
            Array.Fill(bytes, (byte)0xFF);
            LaneCurve<TV>.LoadBytes(m[2], bytes, 32, default);
            for (var lane = 0; lane < TV.Count; lane++) Assert.Equal(18, m.Value(2, lane));
        }
    }

    private sealed unsafe class Powers : ICheck
    {
        public void Run<TV>()
            where TV : unmanaged, ILanes<TV>
        {
            using var m = new Memory<TV>();
            var random = new Random(11);
            var root = new BigInteger(MemoryMarshal.AsBytes(CurveConstants.RootOfMinusOne), isUnsigned: true);
            LaneCurve<TV>.LoadBytes(m[40], default, 32, CurveConstants.RootOfMinusOne);
            var square = stackalloc TV[2];
            int squares = 0, others = 0;
            for (var n = 0; n < TestCounts.Of(60); n++)
            {
                for (var k = 0; k < 4; k++) m.Fill(k, random, Field.R);

                // u = 0, v = 0, both, and u = v.
                m.SetLimbs(0, n % TV.Count, 0, 0, 0, 0, 0);
                m.SetLimbs(2, (n + (n % 3)) % TV.Count, 0, 0, 0, 0, 0);
                m.SetLimbs(1, 0, 1, 0, 0, 0, 0);
                m.SetLimbs(3, 0, n % 2, 0, 0, 0, 0);
                var count = 1 + (n % 2);
                LaneCurve<TV>.Invert(m[4], m[0], count, m[20]);
                LaneCurve<TV>.SqrtRatio(m[6], square, m[0], m[2], count, m[40], m[20]);
                for (var k = 0; k < count; k++)
                {
                    m.AssertReduced(4 + k);
                    m.AssertReduced(6 + k);
                    for (var lane = 0; lane < TV.Count; lane++)
                    {
                        BigInteger u = m.Value(k, lane), v = m.Value(2 + k, lane), r = m.Value(6 + k, lane);
                        Assert.Equal(BigInteger.ModPow(u, Field.P - 2, Field.P), m.Value(4 + k, lane));

                        // Euler's criterion says what is a square; the root is the even one of u/v or of i u/v.
                        var ratio = Field.Mod(u * BigInteger.ModPow(v, Field.P - 2, Field.P));
                        var isSquare = BigInteger.ModPow(ratio, (Field.P - 1) / 2, Field.P).IsOne;
                        Assert.True(r.IsEven);
                        Assert.Equal(isSquare || !ratio.IsZero ? Field.Mod(isSquare ? ratio : root * ratio) : 0, Field.Mod(r * r));
                        Assert.Equal(isSquare || u.IsZero ? ulong.MaxValue : 0, ((ulong*)(square + k))[lane]);
                        if (isSquare) squares++;
                        else others++;
                    }
                }
            }

            Assert.True(squares > 100 && others > 100);
        }
    }
}
