using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace FedLearn.Baselines.HomomorphicEncryption.Paillier;

/// <summary>A public key: n, n^2, and the generator h_s = h^n mod n^2 of obfuscators (Damgard, Jurik and Nielsen 2010, with s = 1).</summary>
/// <remarks>As bytes: the letters FLPA, version and bits of n as little-endian 16-bit integers, n, h_s, both little-endian and of fixed width.</remarks>
internal sealed unsafe class PublicKey
{
    private const ushort Version = 1;
    private const int HeaderBytes = 8;

    public PublicKey(int bits, Constant modulus, Constant square, Constant generator)
    {
        (Bits, Modulus, Square, Generator) = (bits, modulus, square, generator);
        Answers = new AnswerSpace(modulus.Value, bits / 8, BigInteger.One << (FixedPoint.ShareBits + FixedPoint.ColumnBits), FloodBits: 0);
    }

    /// <summary>Bits of n.</summary>
    public int Bits { get; }

    public Constant Modulus { get; }

    public Constant Square { get; }

    public Constant Generator { get; }

    public AnswerSpace Answers { get; }

    /// <summary>64-bit words of a ciphertext.</summary>
    public int Words => Bits / 32;

    public int CiphertextBytes => Bits / 4;

    public byte[] Save()
    {
        var bytes = new byte[HeaderBytes + Modulus.Bytes.Length + Generator.Bytes.Length];
        Magic.CopyTo(bytes);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(4), Version);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(6), (ushort)Bits);
        Modulus.Bytes.CopyTo(bytes.AsSpan(HeaderBytes));
        Generator.Bytes.CopyTo(bytes.AsSpan(HeaderBytes + Modulus.Bytes.Length));
        return bytes;
    }

    /// <summary>Checks what can be seen without the secret: sizes, n = 1 mod 4 as the product of two primes 3 mod 4, h_s a unit below n^2 whose square is not 1.</summary>
    /// <exception cref="CipherException">FL4101.</exception>
    public static PublicKey Load(ReadOnlySpan<byte> bytes, int bits)
    {
        if (bytes.Length != HeaderBytes + (bits / 8 * 3))
            throw Bad("the public key has the wrong length.");
        if (!bytes.StartsWith(Magic) || BinaryPrimitives.ReadUInt16LittleEndian(bytes[4..]) != Version || BinaryPrimitives.ReadUInt16LittleEndian(bytes[6..]) != bits)
            throw Bad("the public key is of another scheme, version or size.");
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(bytes[HeaderBytes..].ToArray());
        var n = new Constant(words[..(bits / 64)]);
        var generator = new Constant(words[(bits / 64)..]);
        if (n.Limbs[n.Length - 1] >> 63 != 1 || n.Limbs[0] % 4 != 1)
            throw Bad("the modulus of the public key is even or has the wrong size.");
        using var square = new Scratch(2 * bits);
        Gmp.Multiply(square.Pointer, n.Pointer, n.Pointer);
        using var t = new Scratch(4 * bits);
        if (generator.Pointer->Size == 0 || Gmp.Compare(generator.Pointer, square.Pointer) >= 0)
            throw Bad("the generator of the public key is out of range.");
        Gmp.Gcd(t.Pointer, generator.Pointer, n.Pointer);
        if (!t.IsOne)
            throw Bad("the generator of the public key is no unit.");
        // 1 and -1 would make every obfuscator 1 or -1.
        Gmp.Multiply(t.Pointer, generator.Pointer, generator.Pointer);
        Gmp.Mod(t.Pointer, t.Pointer, square.Pointer);
        if (t.IsOne)
            throw Bad("the generator of the public key hides nothing.");
        GC.KeepAlive(n);
        GC.KeepAlive(generator);
        return new PublicKey(bits, n, new Constant(square, 2 * n.Length), generator);
    }

    /// <summary>Reads ciphertexts: so many, each in [1, n^2) and a unit. A product of all modulo n is a unit just when each is, so one gcd answers for a block.</summary>
    /// <exception cref="CipherException">FL4100.</exception>
    public ulong[] Read(ReadOnlyMemory<byte> bytes, int count, Workers workers, CancellationToken cancellationToken)
    {
        if (count < 1 || bytes.Length != (long)count * CiphertextBytes)
            throw new CipherException(HeErrors.BadCiphertext, "the ciphertexts have the wrong length.");
        var words = GC.AllocateUninitializedArray<ulong>(count * Words, pinned: true);
        bytes.Span.CopyTo(MemoryMarshal.AsBytes(words.AsSpan()));
        bool good = true;
        workers.Run(count, 256, (from, to) =>
        {
            using var product = new Scratch(2 * Bits);
            using var residue = new Scratch(Bits);
            product.Set([1]);
            fixed (ulong* w = words)
            {
                for (int i = from; i < to; i++)
                {
                    Mpz c = Mpz.Read(w + ((long)i * Words), Words);
                    if (c.Size == 0 || Gmp.Compare(&c, Square.Pointer) >= 0)
                    {
                        Volatile.Write(ref good, false);
                        return;
                    }

                    Gmp.Mod(residue.Pointer, &c, Modulus.Pointer);
                    Gmp.Multiply(product.Pointer, product.Pointer, residue.Pointer);
                    Gmp.Mod(product.Pointer, product.Pointer, Modulus.Pointer);
                }
            }

            Gmp.Gcd(product.Pointer, product.Pointer, Modulus.Pointer);
            if (!product.IsOne)
                Volatile.Write(ref good, false);
        }, cancellationToken);
        GC.KeepAlive(this);
        return good ? words : throw new CipherException(HeErrors.BadCiphertext, "a ciphertext is out of range or no unit.");
    }

    private static ReadOnlySpan<byte> Magic => "FLPA"u8;

    private static CipherException Bad(string cause) => new(HeErrors.BadKey, cause);
}

/// <summary>Numbers as integers: shares of what is encrypted in units of 2^-64, columns in units of 2^-52.</summary>
/// <remarks>What a share is scaled by costs nothing, as a ciphertext holds 2048 bits: at 2^64 a float64 of absolute value from 2^-12 on is exact. Every bit of a column costs a squaring for each
/// entry, so columns get the 52 bits of float64's fraction, as FATE's encoding does. Sums stay below 2^20 2^8 2^20 2^31 2^116 = 2^195, far below n / 2.</remarks>
internal static class FixedPoint
{
    public const int ShareBits = 64, ColumnBits = 52;

    /// <summary>Largest absolute value.</summary>
    public const double Largest = 1 << 20;

    /// <summary>value 2^bits, rounded to the nearest integer, ties away from 0; |value| is at most 2^20.</summary>
    public static Int128 Round(double value, int bits)
    {
        long raw = BitConverter.DoubleToInt64Bits(value);
        int exponent = (int)(raw >> 52) & 0x7FF;
        Int128 fraction = (raw & 0xF_FFFF_FFFF_FFFF) | (exponent == 0 ? 0 : 1L << 52);
        int shift = Math.Max(exponent, 1) - 1075 + bits;
        Int128 magnitude = shift >= 0 ? fraction << shift : shift < -54 ? 0 : (fraction + ((Int128)1 << (-shift - 1))) >> -shift;
        return raw < 0 ? -magnitude : magnitude;
    }

    public static bool InRange(double value) => Math.Abs(value) <= Largest; // not so for NaN
}

/// <summary>Runs loops on so many threads.</summary>
internal sealed class Workers(int threads)
{
    /// <summary>Calls the body for parts of [0, count) of at most so many, and stops between two of them.</summary>
    public void Run(int count, int part, Action<int, int> body, CancellationToken cancellationToken)
    {
        int parts = (int)(((long)count + part - 1) / part);
        cancellationToken.ThrowIfCancellationRequested();
        Parallel.For(0, parts, new ParallelOptions { MaxDegreeOfParallelism = threads, CancellationToken = cancellationToken },
            i => body(i * part, (int)Math.Min(count, ((long)i + 1) * part)));
    }

    public int Threads => threads;
}
