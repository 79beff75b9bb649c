using System.Security.Cryptography;

namespace FedLearn.Baselines.HomomorphicEncryption.Paillier;

/// <summary>Draws encryptions of 0: random n-th residues modulo n^2. May be used by several threads at once.</summary>
internal unsafe interface IObfuscator
{
    /// <summary>Writes a fresh one.</summary>
    void Next(ulong* r, Products products);
}

/// <summary>r^n mod n^2 for r uniform on [1, n) (Paillier 1999). That r is no unit has a chance of 2^-1000.</summary>
internal sealed unsafe class FullObfuscator(PublicKey key) : IObfuscator
{
    public void Next(ulong* r, Products products)
    {
        using Scratch x = new(key.Bits), power = new(2 * key.Bits);
        x.SetRandomBelow(key.Modulus.Pointer, key.Bits);
        Gmp.Power(power.Pointer, x.Pointer, key.Modulus.Pointer, key.Square.Pointer);
        power.CopyTo(r, key.Words);
    }
}

/// <summary>h_s^a mod n^2 for a uniform on [0, 2^(bits of n / 2)) (Damgard, Jurik and Nielsen 2010). That such exponents, half as long as n, are as good as full ones follows from the hardness of factoring
/// (Hastad, Schrift and Shamir 1993); no shorter ones are used.</summary>
/// <remarks>Fixed-base windows of 8 bits (Brickell, Gordon, McCurley and Wilson 1992, without the last step): table[i][d] = h_s^(d 2^(8i)), so a power is a product of one entry a byte of a. The table has
/// 17 MB for n of 2048 bits, 38 MB for 3072. Every byte costs one product, 0 too; which entries are read does depend on a, so the party's machine is taken to be its own.</remarks>
internal sealed unsafe class FixedBaseObfuscator : IObfuscator
{
    private const int Digits = 256;
    private readonly ulong[] _table;
    private readonly int _windows;

    public FixedBaseObfuscator(PublicKey key, Workers workers, CancellationToken cancellationToken)
    {
        _windows = key.Bits / 2 / 8;
        int words = key.Words;
        _table = GC.AllocateUninitializedArray<ulong>(_windows * Digits * words, pinned: true);
        fixed (ulong* table = _table)
        {
            ulong* start = table; // a lambda cannot hold a fixed local
            using var products = new Products(key);
            key.Generator.Bytes.CopyTo(new Span<byte>(Entry(start, words, 0, 1), words * sizeof(ulong)));
            for (int i = 1; i < _windows; i++)
            {
                ulong* b = Entry(start, words, i, 1);
                products.Multiply(b, Entry(start, words, i - 1, 1), Entry(start, words, i - 1, 1));
                for (int k = 1; k < 8; k++)
                    products.Multiply(b, b, b);
            }

            workers.Run(_windows, 4, (from, to) =>
            {
                using var own = new Products(key);
                for (int i = from; i < to; i++)
                {
                    new Span<ulong>(Entry(start, words, i, 0), words).Clear();
                    *Entry(start, words, i, 0) = 1;
                    for (int d = 2; d < Digits; d++)
                        own.Multiply(Entry(start, words, i, d), Entry(start, words, i, d - 1), Entry(start, words, i, 1));
                }
            }, cancellationToken);
        }
    }

    public void Next(ulong* r, Products products)
    {
        Span<byte> exponent = stackalloc byte[_windows];
        RandomNumberGenerator.Fill(exponent);
        Power(r, exponent, products);
        CryptographicOperations.ZeroMemory(exponent);
    }

    /// <summary>h_s^a, a little-endian with a byte a window.</summary>
    internal void Power(ulong* r, ReadOnlySpan<byte> exponent, Products products)
    {
        int words = products.Length;
        fixed (ulong* table = _table)
        {
            new Span<ulong>(Entry(table, words, 0, exponent[0]), words).CopyTo(new Span<ulong>(r, words));
            for (int i = 1; i < exponent.Length; i++)
                products.Multiply(r, r, Entry(table, words, i, exponent[i]));
        }
    }

    private static ulong* Entry(ulong* table, int words, int window, int digit) => table + ((((nint)window * Digits) + digit) * words);
}
