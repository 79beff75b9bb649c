using System.Security.Cryptography;

namespace FedLearn.Alignment.Ristretto;

/// <summary>
/// The fast engine: a point in each lane of a register, eight with AVX-512 or four with AVX2 and FMA, and no native library.
/// </summary>
/// <remarks>
/// <para>Constant-time by construction: no branch and no address depends on the scalar or on a point that was mapped; only the bytes that a peer sent, which are public, are checked with
/// branches. The doubles are integers or 0, never subnormal numbers, which some processors are slow at. The runtime that compiles this to machine code promises nothing about time;
/// what it makes of it has no branches but those of the loops (seen in .NET 10's code for x64).</para>
/// <para>Memory of a call, with the table and the digits of the scalar, is wiped; registers and what the compiler spills of them are not.</para>
/// </remarks>
internal sealed class VectorRistretto : IRistrettoEngine
{
    private readonly bool _wide;

    /// <summary>An engine of the widest registers of the machine.</summary>
    /// <exception cref="PlatformNotSupportedException">Not <see cref="IsSupported"/>.</exception>
    internal VectorRistretto()
        : this(Lanes512.IsSupported ? Lanes512.Count : Lanes256.Count)
    {
    }

    /// <summary>An engine of registers of 8 or 4 lanes.</summary>
    /// <exception cref="PlatformNotSupportedException">The machine has none.</exception>
    internal VectorRistretto(int lanes)
    {
        _wide = lanes == Lanes512.Count;
        if (!(_wide ? Lanes512.IsSupported : lanes == Lanes256.Count && Lanes256.IsSupported)) throw new PlatformNotSupportedException($"No registers of {lanes} lanes.");
    }

    /// <summary>Whether the machine and the runtime have AVX-512F, or AVX2 and FMA.</summary>
    internal static bool IsSupported => Lanes512.IsSupported || Lanes256.IsSupported;

    /// <summary>Points in a register.</summary>
    internal int Lanes => _wide ? Lanes512.Count : Lanes256.Count;

    /// <inheritdoc/>
    public string Name => _wide ? "vector AVX-512" : "vector AVX2";

    /// <inheritdoc/>
    public void Blind(ReadOnlySpan<byte> hashes, ReadOnlySpan<byte> scalar, Span<byte> points)
    {
        Check(scalar, points.Length, hashes.Length == 2L * points.Length);
        if (_wide) LaneCurve<Lanes512>.Blind(hashes, scalar, points);
        else LaneCurve<Lanes256>.Blind(hashes, scalar, points);
    }

    /// <inheritdoc/>
    public int Multiply(ReadOnlySpan<byte> points, ReadOnlySpan<byte> scalar, Span<byte> products)
    {
        Check(scalar, points.Length, products.Length == points.Length);
        return _wide ? LaneCurve<Lanes512>.Multiply(points, scalar, products) : LaneCurve<Lanes256>.Multiply(points, scalar, products);
    }

    /// <summary>Whether this engine and another give the same bytes and verdicts, on points drawn now and on the edges of the encoding.</summary>
    /// <param name="reference">The other engine.</param>
    internal bool Agrees(IRistrettoEngine reference)
    {
        // No multiple of either number of lanes, and a register without a pair.
        const int count = 37;
        var hashes = RandomNumberGenerator.GetBytes(64 * count);
        Span<byte> scalar = stackalloc byte[32];
        RandomNumberGenerator.Fill(scalar);
        scalar[0] |= 1;
        scalar[31] &= 0x0F;
        byte[] mine = new byte[32 * count], its = new byte[32 * count], myProducts = new byte[32 * count], itsProducts = new byte[32 * count];

        Blind(hashes, scalar, mine);
        reference.Blind(hashes, scalar, its);
        var agrees = mine.AsSpan().SequenceEqual(its)
            && Multiply(mine, scalar, myProducts) == -1
            && reference.Multiply(mine, scalar, itsProducts) == -1
            && myProducts.AsSpan().SequenceEqual(itsProducts);
        for (var edge = 0; agrees && edge < 6; edge++)
        {
            var encoding = mine.AsSpan(32 * ((11 * edge) % count), 32);
            byte[] kept = encoding.ToArray();
            switch (edge)
            {
                case 0: encoding.Clear(); break;
                case 1: encoding[0] |= 1; break;
                case 2: encoding[31] |= 0x80; break;
                case 3: encoding.Fill(0xFF); break;
                case 4: PrimeBytes(encoding); break;
                default: encoding.Clear(); encoding[0] = 2; break;
            }

            agrees = Multiply(mine, scalar, myProducts) == reference.Multiply(mine, scalar, itsProducts);
            kept.CopyTo(encoding);
        }

        CryptographicOperations.ZeroMemory(scalar);
        return agrees;
    }

    // p = 2^255 - 19: the identity, not canonical.
    private static void PrimeBytes(Span<byte> encoding)
    {
        encoding.Fill(0xFF);
        encoding[0] = 0xED;
        encoding[31] = 0x7F;
    }

    private static void Check(ReadOnlySpan<byte> scalar, int bytes, bool sizes)
    {
        if (scalar.Length != 32) throw new ArgumentException("A scalar has 32 bytes.", nameof(scalar));
        if (bytes % 32 != 0 || !sizes) throw new ArgumentException("A point has 32 bytes, a hash 64, and a product is wanted for each.", nameof(bytes));
    }
}
