using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FedLearn.Baselines.HomomorphicEncryption.Paillier;

/// <summary>An integer that GMP reads and nobody changes, in managed memory that does not move: header, then limbs. Whoever passes its pointer keeps the object alive over the call.</summary>
internal sealed unsafe class Constant
{
    private const int HeaderWords = 2;
    private readonly ulong[] _words;

    public Constant(ReadOnlySpan<ulong> limbs)
        : this(limbs.Length)
    {
        limbs.CopyTo(_words.AsSpan(HeaderWords));
        *Pointer = Mpz.Read(Limbs, Length);
    }

    /// <summary>The number, with so many limbs.</summary>
    public Constant(Scratch number, int length)
        : this(length)
    {
        number.CopyTo(Limbs, length);
        *Pointer = Mpz.Read(Limbs, length);
    }

    private Constant(int length) => (Length, _words) = (length, GC.AllocateArray<ulong>(HeaderWords + length, pinned: true));

    /// <summary>Limbs, leading zeros too.</summary>
    public int Length { get; }

    public Mpz* Pointer => (Mpz*)Marshal.UnsafeAddrOfPinnedArrayElement(_words, 0);

    public ulong* Limbs => (ulong*)Marshal.UnsafeAddrOfPinnedArrayElement(_words, HeaderWords);

    public ReadOnlySpan<byte> Bytes => MemoryMarshal.AsBytes(_words.AsSpan(HeaderWords));

    public BigInteger Value => new(Bytes, isUnsigned: true);

    /// <summary>Makes it 0.</summary>
    public void Wipe()
    {
        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(_words.AsSpan(HeaderWords)));
        *Pointer = Mpz.Read(Limbs, Length);
    }
}

/// <summary>An integer that GMP writes, for the length of a method. Its memory is zeroed before it goes back; what GMP itself took and freed on the way is not.</summary>
internal sealed unsafe class Scratch : IDisposable
{
    private Mpz* _pointer;

    /// <param name="bits">What it will hold at most: GMP then never moves it.</param>
    public Scratch(int bits)
    {
        _pointer = (Mpz*)NativeMemory.Alloc((nuint)sizeof(Mpz));
        Gmp.Init(_pointer, new CULong((uint)bits + 64));
    }

    public Mpz* Pointer => _pointer;

    public bool IsOne => _pointer->Size == 1 && _pointer->Limbs[0] == 1;

    /// <summary>Sets it to a number of at most as many bits as it was made for.</summary>
    public void Set(ReadOnlySpan<ulong> limbs)
    {
        limbs.CopyTo(new Span<ulong>(_pointer->Limbs, _pointer->Allocated));
        _pointer->Size = limbs.Length;
        Trim();
    }

    /// <summary>Sets it to uniform bits from the system's generator, a multiple of 64 of them.</summary>
    public void SetRandom(int bits)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(bits % 64, 0);
        int limbs = bits / 64;
        var span = new Span<ulong>(_pointer->Limbs, _pointer->Allocated)[..limbs];
        RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(span));
        _pointer->Size = limbs;
        Trim();
    }

    /// <summary>Sets the two highest of so many bits, so that a product of two such numbers has twice as many, and the two lowest, for 3 mod 4.</summary>
    public void SetEnds(int bits)
    {
        _pointer->Limbs[(bits / 64) - 1] |= 3UL << 62;
        _pointer->Limbs[0] |= 3;
        _pointer->Size = bits / 64;
    }

    /// <summary>Sets it to a number uniform on [1, m), m of so many bits.</summary>
    public void SetRandomBelow(Mpz* m, int bits)
    {
        do
            SetRandom(bits);
        while (_pointer->Size == 0 || Gmp.Compare(_pointer, m) >= 0);
    }

    /// <summary>Its limbs with zeros up to a length; it must not be negative.</summary>
    public void CopyTo(ulong* limbs, int length)
    {
        new Span<ulong>(_pointer->Limbs, _pointer->Size).CopyTo(new Span<ulong>(limbs, length));
        new Span<ulong>(limbs, length)[_pointer->Size..].Clear();
    }

    public BigInteger ToBigInteger() => new(MemoryMarshal.AsBytes(new Span<ulong>(_pointer->Limbs, _pointer->Size)), isUnsigned: true);

    public void Dispose()
    {
        if (_pointer == null)
            return;
        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(new Span<ulong>(_pointer->Limbs, _pointer->Allocated)));
        Gmp.Clear(_pointer);
        NativeMemory.Free(_pointer);
        _pointer = null;
    }

    private void Trim() => _pointer->Size = Mpz.Read(_pointer->Limbs, _pointer->Size).Size;
}

/// <summary>Products modulo n^2, over limbs of one length, with memory of their own. One per thread.</summary>
internal sealed unsafe class Products : IDisposable
{
    private readonly Constant _modulus;
    private readonly nuint _bytes;
    private ulong* _memory;

    public Products(PublicKey key)
    {
        (Key, _modulus, Length) = (key, key.Square, key.Square.Length);
        _bytes = (nuint)((3 * Length) + 1) * sizeof(ulong);
        _memory = (ulong*)NativeMemory.Alloc(_bytes);
    }

    public PublicKey Key { get; }

    /// <summary>Limbs of a factor.</summary>
    public int Length { get; }

    /// <summary>r = a b mod n^2; r may be a or b.</summary>
    public void Multiply(ulong* r, ulong* a, ulong* b)
    {
        Gmp.Multiply(_memory, a, b, Length);
        Gmp.Divide(_memory + (2 * Length), r, 0, _memory, 2 * Length, _modulus.Limbs, Length);
    }

    /// <summary>r = 1 + m n, below n^2, for m of half as many limbs, below n.</summary>
    public void Lift(ulong* r, ulong* m)
    {
        Gmp.Multiply(r, m, Key.Modulus.Limbs, Length / 2);
        for (int i = 0; i < Length && unchecked(++r[i]) == 0; i++)
        {
        }
    }

    public void Dispose()
    {
        if (_memory == null)
            return;
        CryptographicOperations.ZeroMemory(new Span<byte>(_memory, (int)_bytes));
        NativeMemory.Free(_memory);
        _memory = null;
    }
}
