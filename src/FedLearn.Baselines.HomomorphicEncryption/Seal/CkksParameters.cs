using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>The parameters of CKKS, SEAL's serialised form of them (4.x, no compression, little-endian), and arithmetic on the residues therein.</summary>
/// <remarks><para>N = 8192; primes of 60, 60 and 60 bits, the third for keys only: 180 of the 218 bits that the Homomorphic Encryption Standard (Albrecht et al.
/// 2018, table 1) allows for 128-bit security with ternary secrets. Ciphertexts are modulo Q = q1·q2.</para>
/// <para>An object begins with a header of 16 bytes (magic 0xA15E, its size, major and minor version, compression, 0, bytes of the object as u64), the hash of
/// its parameters (32 bytes), and, for ciphertexts and keys: in NTT form (u8), polynomials, N, primes (u64 each), scale (f64), correction factor (u64), and the
/// residues as an object of their own (header, number, [polynomial][prime][N]). A key's second polynomial is random; it is sent as the generator's seed.</para></remarks>
internal static class CkksParameters
{
    internal const int N = 8192, Slots = N / 2, Primes = 2;
    internal const ulong Q1 = 1152921504606683137, Q2 = 1152921504606748673, KeyPrime = 1152921504606830593;
    internal const int AnswerBytes = 16;

    /// <summary>Where residues begin, and bytes of a ciphertext of two polynomials, of a plaintext, and of a seeded public key.</summary>
    internal const int Residues = 113, CiphertextBytes = Residues + (2 * PolyBytes), PlainResidues = 88, PlaintextBytes = PlainResidues + PolyBytes;

    internal const int PolyBytes = Primes * N * sizeof(ulong), Seed = Residues + (3 * N * sizeof(ulong)), KeyBytes = Seed + SeedBytes;

    /// <summary>Bytes of one masked inner product: the second polynomial, and one coefficient of the first.</summary>
    internal const int MaskedBytes = PolyBytes + AnswerBytes;

    internal static readonly UInt128 Q = (UInt128)Q1 * Q2;

    private const int HeaderBytes = 16, SeedBytes = HeaderBytes + 1 + 64, InnerHeader = 89;
    private const byte Blake2xb = 1;

    // SEAL's hashes (BLAKE2b) of the parameters with two primes and with three.
    private static readonly ulong[] DataParameters = [11090347124120799722, 6926099426403095602, 4963143479226313318, 4384586667779869484];
    private static readonly ulong[] KeyParameters = [7521481644303598402, 13690458921746151643, 17930099063930139794, 14900036727468172860];

    // q = 1 modulo 2N, so N·(q - (q - 1)/N) = 1 modulo q.
    private const ulong InverseN1 = Q1 - ((Q1 - 1) / N), InverseN2 = Q2 - ((Q2 - 1) / N);
    private static readonly ulong InverseQ1 = (ulong)BigInteger.ModPow(Q1, Q2 - 2, Q2);

    /// <summary>Checks a ciphertext of two polynomials before an engine sees it.</summary>
    /// <param name="bytes">All of it.</param>
    /// <param name="scale">The scale it must have.</param>
    /// <exception cref="CipherException">FL4100.</exception>
    internal static void CheckCiphertext(ReadOnlySpan<byte> bytes, double scale) => Check(bytes, CiphertextBytes, DataParameters, [Q1, Q2], 2, scale, HeErrors.BadCiphertext);

    /// <summary>Checks a seeded public key before an engine sees it.</summary>
    /// <param name="bytes">All of it.</param>
    /// <exception cref="CipherException">FL4101.</exception>
    internal static void CheckKey(ReadOnlySpan<byte> bytes)
    {
        const string Id = HeErrors.BadKey;
        Check(bytes, KeyBytes, KeyParameters, [Q1, Q2, KeyPrime], 1, 1, Id);
        ReadOnlySpan<byte> seed = bytes[Seed..];
        CheckHeader(seed, SeedBytes, Id);
        if (seed[HeaderBytes] != Blake2xb)
            throw new CipherException(Id, "The generator of its random polynomial is another.");
    }

    /// <summary>Checks residues that stand alone.</summary>
    /// <param name="bytes">[prime][N].</param>
    /// <exception cref="CipherException">FL4100.</exception>
    internal static void CheckPolynomial(ReadOnlySpan<byte> bytes) => CheckResidues(bytes, [Q1, Q2], HeErrors.BadCiphertext);

    // Stored: polynomials that are there, not sent as a seed.
    private static void Check(ReadOnlySpan<byte> bytes, int length, ReadOnlySpan<ulong> parameters, ReadOnlySpan<ulong> primes, int stored, double scale, string id)
    {
        if (bytes.Length != length)
            throw new CipherException(id, $"It has {bytes.Length} bytes instead of {length}.");
        CheckHeader(bytes, length, id);
        if (!MemoryMarshal.Cast<byte, ulong>(bytes.Slice(HeaderBytes, 32)).SequenceEqual(parameters))
            throw new CipherException(id, "Its parameters are others.");
        if (bytes[48] != 1)
            throw new CipherException(id, "It is not in NTT form.");
        if (UInt64(bytes, 49) != 2)
            throw new CipherException(id, "It does not consist of two polynomials.");
        if (UInt64(bytes, 57) != N || UInt64(bytes, 65) != (ulong)primes.Length)
            throw new CipherException(id, "Its degree or its number of primes is another.");
        if (UInt64(bytes, 73) != BitConverter.DoubleToUInt64Bits(scale) || UInt64(bytes, 81) != 1)
            throw new CipherException(id, "Its scale is another.");
        int residues = stored * primes.Length * N;
        CheckHeader(bytes[InnerHeader..], HeaderBytes + sizeof(ulong) + (residues * sizeof(ulong)), id);
        if (UInt64(bytes, InnerHeader + HeaderBytes) != (ulong)residues)
            throw new CipherException(id, "Its number of residues is another.");
        int poly = primes.Length * N * sizeof(ulong);
        for (int p = 0; p < stored; p++)
            CheckResidues(bytes.Slice(Residues + (p * poly), poly), primes, id);
    }

    private static void CheckHeader(ReadOnlySpan<byte> bytes, int length, string id)
    {
        if (bytes[0] != 0x5E || bytes[1] != 0xA1 || bytes[2] != HeaderBytes || bytes[3] != 4 || bytes[6] != 0 || bytes[7] != 0)
            throw new CipherException(id, "It is no object of SEAL 4.");
        // They write one form under different numbers, and every engine reads it. A later number may be of another form; some engines would refuse it themselves, and others would not look.
        if (bytes[4] is < 1 or > 4)
            throw new CipherException(id, "It is of a minor version of SEAL that is not 4.1 to 4.4.");
        if (bytes[5] != 0)
            throw new CipherException(id, "It is compressed.");
        if (UInt64(bytes, 8) != (ulong)length)
            throw new CipherException(id, "Its header names another length.");
    }

    // A polynomial that is zero modulo a prime has probability q^-N if it is honest, and would carry the message in the clear if it were the second.
    private static void CheckResidues(ReadOnlySpan<byte> bytes, ReadOnlySpan<ulong> primes, string id)
    {
        ReadOnlySpan<ulong> residues = MemoryMarshal.Cast<byte, ulong>(bytes);
        for (int k = 0; k < primes.Length; k++)
        {
            ReadOnlySpan<ulong> part = residues.Slice(k * N, N);
            Vector<ulong> last = new(primes[k] - 1), over = Vector<ulong>.Zero, any = Vector<ulong>.Zero;
            foreach (Vector<ulong> v in MemoryMarshal.Cast<ulong, Vector<ulong>>(part))
            {
                over |= Vector.GreaterThan(v, last);
                any |= v;
            }

            if (over != Vector<ulong>.Zero)
                throw new CipherException(id, "A residue is not below its prime.");
            if (any == Vector<ulong>.Zero)
                throw new CipherException(id, "A polynomial is zero.");
        }
    }

    private static ulong UInt64(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[offset..]);

    /// <summary>Coefficient 0 of a polynomial in NTT form. Its residues are its values at the odd powers of a 2N-th root of unity, whose k-th powers sum to 0
    /// for 0 &lt; k &lt; N; so their sum is N times coefficient 0.</summary>
    /// <param name="polynomial">Bytes, [prime][N], residues below their primes.</param>
    /// <returns>In [0, Q).</returns>
    internal static UInt128 Constant(ReadOnlySpan<byte> polynomial)
    {
        ReadOnlySpan<ulong> residues = MemoryMarshal.Cast<byte, ulong>(polynomial);
        return Combine(Product(Sum(residues[..N], Q1), InverseN1, Q1), Product(Sum(residues[N..(2 * N)], Q2), InverseN2, Q2));
    }

    /// <summary>Coefficient 0 of the product of two polynomials in NTT form, where their values are multiplied one by one; see <see cref="Constant"/>.</summary>
    /// <param name="polynomial">Bytes, [prime][N], residues below their primes.</param>
    /// <param name="other">Likewise.</param>
    /// <returns>In [0, Q).</returns>
    internal static UInt128 ConstantOfProduct(ReadOnlySpan<byte> polynomial, ReadOnlySpan<byte> other)
    {
        ReadOnlySpan<ulong> a = MemoryMarshal.Cast<byte, ulong>(polynomial), b = MemoryMarshal.Cast<byte, ulong>(other);
        return Combine(Product(InnerProduct(a[..N], b[..N], Q1), InverseN1, Q1), Product(InnerProduct(a[N..(2 * N)], b[N..(2 * N)], Q2), InverseN2, Q2));
    }

    // 8192 products of 120 bits: 133 bits, the five above 128 counted by themselves.
    private static ulong InnerProduct(ReadOnlySpan<ulong> a, ReadOnlySpan<ulong> b, ulong prime)
    {
        UInt128 sum = 0;
        uint over = 0;
        for (int k = 0; k < a.Length; k++)
        {
            ulong high = Math.BigMul(a[k], b[k], out ulong low);
            var product = new UInt128(high, low);
            unchecked
            {
                sum += product;
            }

            over += sum < product ? 1u : 0u;
        }

        return (ulong)((((BigInteger)over << 128) + sum) % prime);
    }

    // Halves of 32 bits, so that 8192 of them cannot overflow.
    private static ulong Sum(ReadOnlySpan<ulong> residues, ulong prime)
    {
        Vector<ulong> low = Vector<ulong>.Zero, high = Vector<ulong>.Zero, mask = new(uint.MaxValue);
        foreach (Vector<ulong> v in MemoryMarshal.Cast<ulong, Vector<ulong>>(residues))
        {
            low += v & mask;
            high += v >>> 32;
        }

        return (ulong)((((UInt128)Vector.Sum(high) << 32) + Vector.Sum(low)) % prime);
    }

    private static ulong Product(ulong a, ulong b, ulong prime) => (ulong)((UInt128)a * b % prime);

    // Garner: r1 + q1·((r2 - r1)/q1 modulo q2).
    private static UInt128 Combine(ulong r1, ulong r2) => r1 + ((UInt128)Q1 * Product((r2 + Q2 - (r1 % Q2)) % Q2, InverseQ1, Q2));

    /// <summary>A ciphertext whose first polynomial is a constant: all its values in NTT form are that constant.</summary>
    /// <param name="constant">In [0, Q).</param>
    /// <param name="second">Bytes of the second polynomial, [prime][N].</param>
    /// <param name="scale">Its scale.</param>
    internal static byte[] Ciphertext(UInt128 constant, ReadOnlySpan<byte> second, double scale)
    {
        byte[] bytes = new byte[CiphertextBytes];
        Header(bytes, CiphertextBytes);
        DataParameters.CopyTo(MemoryMarshal.Cast<byte, ulong>(bytes.AsSpan(HeaderBytes, 32)));
        bytes[48] = 1;
        Span<ulong> counts = [2, N, Primes, BitConverter.DoubleToUInt64Bits(scale), 1];
        counts.CopyTo(MemoryMarshal.Cast<byte, ulong>(bytes.AsSpan(49, 40)));
        Header(bytes.AsSpan(InnerHeader), CiphertextBytes - InnerHeader);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(InnerHeader + HeaderBytes), 2 * Primes * N);
        Span<ulong> first = MemoryMarshal.Cast<byte, ulong>(bytes.AsSpan(Residues, PolyBytes));
        first[..N].Fill((ulong)(constant % Q1));
        first[N..].Fill((ulong)(constant % Q2));
        second.CopyTo(bytes.AsSpan(Residues + PolyBytes));
        return bytes;
    }

    private static void Header(Span<byte> bytes, int length)
    {
        bytes[0] = 0x5E;
        bytes[1] = 0xA1;
        bytes[2] = HeaderBytes;
        bytes[3] = 4;
        bytes[4] = 1;
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], (ulong)length);
    }

    /// <summary>An integer uniform on [0, Q): 120 random bits, drawn again where they are Q or above (probability 2^-42).</summary>
    internal static UInt128 Uniform()
    {
        Span<byte> bytes = stackalloc byte[AnswerBytes];
        UInt128 value;
        do
        {
            RandomNumberGenerator.Fill(bytes[..15]);
            value = BinaryPrimitives.ReadUInt128LittleEndian(bytes);
        }
        while (value >= Q);
        return value;
    }
}
