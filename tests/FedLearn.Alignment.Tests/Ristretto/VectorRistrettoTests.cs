using System.Globalization;
using System.Numerics;
using FedLearn.Alignment.Ristretto;
using FedLearn.Tests.Shared;

namespace FedLearn.Alignment.Tests.Ristretto;

/// <summary>The vector engine against libsodium, bit for bit, and against the vectors of RFC 9496 appendix A, which are held against libsodium too.</summary>
public sealed class VectorRistrettoTests
{
    private static readonly BigInteger Order = BigInteger.Pow(2, 252) + BigInteger.Parse("27742317777372353535851937790883648493", CultureInfo.InvariantCulture);

    [Theory]
    [InlineData(8, 100_000)]
    [InlineData(4, 10_000)]
    public void BlindAndMultiply_RandomInputs_AreLibsodiumsBytes(int lanes, int fast)
    {
        var engine = Engine(lanes);
        var sodium = SodiumReference.Require();
        var random = new Random(lanes);
        const int chunk = 1000;
        byte[] hashes = new byte[64 * chunk], expected = new byte[32 * chunk], actual = new byte[32 * chunk];
        for (var done = 0; done < TestCounts.Of(fast); done += chunk)
        {
            byte[] first = Scalar(random), second = Scalar(random);
            random.NextBytes(hashes);
            sodium.Blind(hashes, first, expected);
            engine.Blind(hashes, first, actual);
            AssertSame(expected, actual);
            byte[] points = [.. actual];
            Assert.Equal(-1, sodium.Multiply(points, second, expected));
            Assert.Equal(-1, engine.Multiply(points, second, actual));
            AssertSame(expected, actual);
        }
    }

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void BlindAndMultiply_EveryBatchSize_AreLibsodiumsBytes(int lanes)
    {
        // 0 to 20, and about the sizes of one group of registers and of two.
        var engine = Engine(lanes);
        var sodium = SodiumReference.Require();
        var random = new Random(31);
        var group = 16 * lanes;
        foreach (var size in Enumerable.Range(0, 21).Concat([group - lanes, group - 1, group, group + 1, group + lanes + 1, (2 * group) - 1, 2 * group, (2 * group) + 1]))
        {
            byte[] hashes = new byte[64 * size], expected = new byte[32 * size], actual = new byte[32 * size], scalar = Scalar(random);
            random.NextBytes(hashes);
            sodium.Blind(hashes, scalar, expected);
            engine.Blind(hashes, scalar, actual);
            AssertSame(expected, actual);

            // The products may take the place of the points.
            Assert.Equal(-1, sodium.Multiply(actual, scalar, expected));
            Assert.Equal(-1, engine.Multiply(actual, scalar, actual));
            AssertSame(expected, actual);
        }
    }

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void BlindAndMultiply_EdgesOfTheScalar_AreLibsodiumsBytes(int lanes)
    {
        var engine = Engine(lanes);
        var sodium = SodiumReference.Require();
        var random = new Random(32);
        byte[] hashes = new byte[64 * 11], expected = new byte[32 * 11], actual = new byte[32 * 11];
        var full = (BigInteger.One << 252) / 15;
        foreach (var scalar in (BigInteger[])[1, 2, 3, 7, 8, 9, 15, 16, 17, Order - 1, Order - 2, Order - 3, Order / 2, (Order / 2) + 1, (Order + 1) / 2,
            BigInteger.One << 252, (BigInteger.One << 252) - 1, full * 7, full * 8, full * 14])
        {
            random.NextBytes(hashes);
            var bytes = Bytes(scalar);
            sodium.Blind(hashes, bytes, expected);
            engine.Blind(hashes, bytes, actual);
            AssertSame(expected, actual);
            var points = SodiumReference.Map(hashes);
            Assert.Equal(-1, engine.Multiply(points, bytes, actual));
            AssertSame(expected, actual);
            if (scalar.IsOne) AssertSame(points, actual);
        }
    }

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void Multiply_Generator_GivesTheMultiplesOfAppendixA1(int lanes)
    {
        var engine = Engine(lanes);
        var sodium = SodiumReference.Require();
        byte[] generator = Convert.FromHexString(RistrettoVectors.Multiples[1]), actual = new byte[32], expected = new byte[32];
        for (var n = 1; n < RistrettoVectors.Multiples.Count; n++)
        {
            Assert.Equal(-1, engine.Multiply(generator, Bytes(n), actual));
            Assert.Equal(-1, sodium.Multiply(generator, Bytes(n), expected));
            Assert.Equal(RistrettoVectors.Multiples[n], Convert.ToHexStringLower(actual));
            Assert.Equal(RistrettoVectors.Multiples[n], Convert.ToHexStringLower(expected));
        }
    }

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void Blind_UniformBytes_GivesTheElementsOfAppendixA3(int lanes)
    {
        var engine = Engine(lanes);
        SodiumReference.Require();
        var hashes = RistrettoVectors.Derived.SelectMany(d => Convert.FromHexString(d.Uniform)).ToArray();
        var expected = RistrettoVectors.Derived.SelectMany(d => Convert.FromHexString(d.Element)).ToArray();
        var actual = new byte[expected.Length];
        engine.Blind(hashes, Bytes(1), actual);
        AssertSame(expected, actual);
        AssertSame(expected, SodiumReference.Map(hashes));
    }

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void Blind_HashesOfTheIdentityAmongOthers_GivesZerosAndLeavesTheOthers(int lanes)
    {
        // 64 bytes of 0 map to the identity, whose encoding's inversion has a product of 0 in it: its lane must not spoil the others.
        var engine = Engine(lanes);
        var sodium = SodiumReference.Require();
        var random = new Random(33);
        var size = (2 * lanes) + 3;
        byte[] hashes = new byte[64 * size], actual = new byte[32 * size], expected = new byte[32 * size], scalar = Scalar(random);
        random.NextBytes(hashes);
        sodium.Blind(hashes, scalar, expected);
        for (var at = 0; at < size; at++)
        {
            byte[] with = [.. hashes];
            Array.Clear(with, 64 * at, 64);
            if (at % 2 == 0) Array.Clear(with, 0, 64);
            Assert.All(SodiumReference.Map(with.AsSpan(64 * at, 64)), b => Assert.Equal(0, b));
            engine.Blind(with, scalar, actual);
            for (var n = 0; n < size; n++)
            {
                var identity = n == at || (n == 0 && at % 2 == 0);
                Assert.Equal(identity ? new byte[32] : expected[(32 * n)..(32 * (n + 1))], actual[(32 * n)..(32 * (n + 1))]);
            }
        }
    }

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void Blind_HalvesAtTheEdgesOfTheField_AreLibsodiumsBytes(int lanes)
    {
        var engine = Engine(lanes);
        var sodium = SodiumReference.Require();
        var prime = BigInteger.Pow(2, 255) - 19;
        BigInteger[] halves = [0, 1, 2, prime - 2, prime - 1, prime, prime + 1, (prime * 2) - 1, BigInteger.Pow(2, 255) - 1, BigInteger.Pow(2, 255), BigInteger.Pow(2, 256) - 1,
            new(Convert.FromHexString("b0a00e4a271beec478e42fad0618432fa7d7fb3d99004d2b0bdfc14f8024832b"), isUnsigned: true)];
        var pairs = halves.SelectMany(a => halves.Select(b => (byte[])[.. Bytes(a), .. Bytes(b)])).ToArray();
        var scalar = Scalar(new Random(34));
        byte[] hashes = [.. pairs.SelectMany(p => p)], mapped = SodiumReference.Map(hashes), actual = new byte[mapped.Length], product = new byte[32];
        engine.Blind(hashes, scalar, actual);
        for (var n = 0; n < pairs.Length; n++)
        {
            // libsodium refuses to multiply the identity, which stays itself.
            var point = mapped.AsSpan(32 * n, 32);
            if (point.IndexOfAnyExcept((byte)0) < 0) product.AsSpan().Clear();
            else Assert.Equal(-1, sodium.Multiply(point, scalar, product));
            Assert.Equal(product, actual[(32 * n)..(32 * (n + 1))]);
        }
    }

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void Multiply_NoEncodingInAnyPlace_IsReportedWithItsNumber(int lanes)
    {
        var engine = Engine(lanes);
        SodiumReference.Require();
        var random = new Random(35);
        var size = (3 * lanes) + 1;
        byte[] hashes = new byte[64 * size], scalar = Scalar(random), products = new byte[32 * size];
        random.NextBytes(hashes);
        var points = SodiumReference.Map(hashes);
        Assert.All(RistrettoVectors.Invalid, invalid => Assert.False(SodiumReference.IsValid(Convert.FromHexString(invalid.Bytes))));

        // The identity is an encoding, and refused all the same; a point with the highest bit set is none, though some versions of libsodium take it.
        string[] refused = [.. RistrettoVectors.Invalid.Select(invalid => invalid.Bytes), RistrettoVectors.Multiples[0], .. RistrettoVectors.Multiples.Select(m => m[..62] + (Convert.ToByte(m[62..], 16) | 0x80).ToString("x2", CultureInfo.InvariantCulture))];
        foreach (var bad in refused.Select(Convert.FromHexString))
        {
            for (var at = 0; at < size; at++)
            {
                byte[] with = [.. points];
                bad.CopyTo(with, 32 * at);
                Assert.Equal(at, engine.Multiply(with, scalar, products));
            }
        }

        // Of several the first.
        for (var n = 0; n < 100; n++)
        {
            byte[] with = [.. points];
            int[] places = [random.Next(size), random.Next(size), random.Next(size)];
            foreach (var place in places) Convert.FromHexString(refused[random.Next(refused.Length)]).CopyTo(with, 32 * place);
            Assert.Equal(places.Min(), engine.Multiply(with, scalar, products));
        }

        Assert.Equal(-1, engine.Multiply(points, scalar, products));
    }

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void Multiply_RandomBytes_AreRefusedWhereLibsodiumRefusesThem(int lanes)
    {
        // One string in 16 or so is an encoding: the highest bit, the sign of s, the square and the sign of x y pass half of them each.
        var engine = Engine(lanes);
        var sodium = SodiumReference.Require();
        var random = new Random(36);
        byte[] bytes = new byte[32], scalar = Scalar(random), actual = new byte[32], expected = new byte[32];
        var accepted = 0;
        for (var n = 0; n < TestCounts.Of(1000); n++)
        {
            random.NextBytes(bytes);
            var verdict = sodium.Multiply(bytes, scalar, expected);
            Assert.Equal(verdict, engine.Multiply(bytes, scalar, actual));
            if (verdict != -1) continue;
            AssertSame(expected, actual);
            accepted++;
        }

        Assert.InRange(accepted, 20, TestCounts.Of(1000) / 4);
    }

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void Agrees_WithLibsodiumAndWithEnginesThatAreWrong_SaysWhich(int lanes)
    {
        var engine = Engine(lanes);
        var sodium = SodiumReference.Require();
        Assert.True(engine.Agrees(sodium));
        for (var fault = 0; fault < 4; fault++) Assert.False(engine.Agrees(new Broken(sodium, fault)));
    }

    [Fact]
    public void Engine_SizesThatDoNotFit_AreRefused()
    {
        var engine = VectorRistretto.IsSupported ? new VectorRistretto() : null;
        if (engine is null) Assert.Skip("AVX2 and FMA are needed.");
        Assert.Throws<ArgumentException>(() => engine.Blind(new byte[64], new byte[31], new byte[32]));
        Assert.Throws<ArgumentException>(() => engine.Blind(new byte[65], new byte[32], new byte[32]));
        Assert.Throws<ArgumentException>(() => engine.Multiply(new byte[32], new byte[32], new byte[64]));
        Assert.Throws<ArgumentException>(() => engine.Multiply(new byte[33], new byte[32], new byte[33]));
        Assert.Throws<PlatformNotSupportedException>(() => new VectorRistretto(5));
        Assert.Equal(Lanes512.IsSupported ? 8 : 4, engine.Lanes);
        Assert.Equal(Lanes512.IsSupported ? "vector AVX-512" : "vector AVX2", engine.Name);
    }

    private static VectorRistretto Engine(int lanes)
    {
        if (lanes == 8 && !Lanes512.IsSupported) Assert.Skip("AVX-512 is needed.");
        if (lanes == 4 && !Lanes256.IsSupported) Assert.Skip("AVX2 and FMA are needed.");
        return new(lanes);
    }

    private static byte[] Scalar(Random random)
    {
        var bytes = new byte[48];
        random.NextBytes(bytes);
        return Bytes((new BigInteger(bytes, isUnsigned: true) % (Order - 1)) + 1);
    }

    private static byte[] Bytes(BigInteger value)
    {
        var bytes = new byte[32];
        Assert.True(value.TryWriteBytes(bytes, out _, isUnsigned: true));
        return bytes;
    }

    // One comparison a batch: Assert.Equal on arrays is slow at this size.
    private static void AssertSame(ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        Assert.Equal(expected.Length, expected.CommonPrefixLength(actual));
    }

    /// <summary>libsodium with a fault: a bit of a blinded point, of a product, a verdict too strict or too lax.</summary>
    private sealed class Broken(SodiumReference sodium, int fault) : IRistrettoEngine
    {
        public string Name => "broken";

        public void Blind(ReadOnlySpan<byte> hashes, ReadOnlySpan<byte> scalar, Span<byte> points)
        {
            sodium.Blind(hashes, scalar, points);
            if (fault == 0) points[^1] ^= 1;
        }

        public int Multiply(ReadOnlySpan<byte> points, ReadOnlySpan<byte> scalar, Span<byte> products)
        {
            var verdict = sodium.Multiply(points, scalar, products);
            if (fault == 1) products[40] ^= 4;
            return fault switch
            {
                2 => 3,
                3 => -1,
                _ => verdict,
            };
        }
    }
}
