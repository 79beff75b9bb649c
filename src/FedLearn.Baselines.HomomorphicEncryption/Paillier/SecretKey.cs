using System.Numerics;
using System.Runtime.InteropServices;

namespace FedLearn.Baselines.HomomorphicEncryption.Paillier;

/// <summary>A secret key: the primes, and what decryption modulo each needs (Paillier 1999, section 7; g = 1 + n). Exponents and residues of the primes are used in constant time.</summary>
internal sealed unsafe class SecretKey
{
    // Miller-Rabin with 40 bases after Baillie-PSW: a composite passes with probability below 4^-40.
    private const int Rounds = 64;
    private const int SieveLimit = 1 << 16;

    private static readonly Lazy<uint[]> OddPrimes = new(Sieve);

    private readonly Half _p, _q;
    private readonly Constant _qInverse;

    private SecretKey(Half p, Half q, Constant qInverse, PublicKey key) => (_p, _q, _qInverse, Public) = (p, q, qInverse, key);

    public PublicKey Public { get; }

    /// <summary>Draws primes p and q of half the bits with p = q = 3 mod 4, gcd(p - 1, q - 1) = 2 and no other prime factor below 2^16 in p - 1 and q - 1, so that h = -x^2 of a random x generates, but for a
    /// chance below 1 in 300, all elements of Jacobi symbol 1 (Damgard, Jurik and Nielsen 2010).</summary>
    public static SecretKey Create(int bits, CancellationToken cancellationToken)
    {
        int half = bits / 2, limbs = half / 64;
        using Scratch p = new(half), q = new(half), p1 = new(half), q1 = new(half), n = new(bits), square = new(2 * bits), t = new(4 * bits), u = new(2 * bits);
        using var one = new Scratch(64);
        one.Set([1]);
        SetPrime(p, half, cancellationToken);
        Gmp.Subtract(p1.Pointer, p.Pointer, one.Pointer);
        while (true)
        {
            SetPrime(q, half, cancellationToken);
            Gmp.Subtract(q1.Pointer, q.Pointer, one.Pointer);
            // |p - q| > 2^(half - 64), against factoring by Fermat's method (FIPS 186-5, appendix A.1, asks for 2^(half - 100)).
            Gmp.Subtract(t.Pointer, p.Pointer, q.Pointer);
            if (Math.Abs(t.Pointer->Size) < limbs)
                continue;
            Gmp.Gcd(t.Pointer, p1.Pointer, q1.Pointer);
            if (t.Pointer->Size == 1 && t.Pointer->Limbs[0] == 2)
                break;
        }

        Gmp.Multiply(n.Pointer, p.Pointer, q.Pointer);
        Gmp.Multiply(square.Pointer, n.Pointer, n.Pointer);
        // h_s = (-x^2)^n mod n^2; x is a unit but for a chance of 2^-1000.
        u.SetRandomBelow(n.Pointer, bits);
        Gmp.Multiply(t.Pointer, u.Pointer, u.Pointer);
        Gmp.Mod(t.Pointer, t.Pointer, n.Pointer);
        Gmp.Subtract(t.Pointer, n.Pointer, t.Pointer);
        Gmp.Power(u.Pointer, t.Pointer, n.Pointer, square.Pointer);
        var key = new PublicKey(bits, new Constant(n, 2 * limbs), new Constant(square, 4 * limbs), new Constant(u, 4 * limbs));
        Gmp.Invert(t.Pointer, q.Pointer, p.Pointer);
        return new SecretKey(new Half(p, p1, q), new Half(q, q1, p), new Constant(t, limbs), key);
    }

    /// <summary>The plaintext, in [0, n), of a ciphertext that was checked.</summary>
    public BigInteger Decrypt(ulong* ciphertext)
    {
        int bits = Public.Bits;
        using Scratch mp = new(2 * bits), mq = new(2 * bits);
        Mpz c = Mpz.Read(ciphertext, Public.Words);
        _p.Decrypt(mp, &c);
        _q.Decrypt(mq, &c);
        // m = mq + q ((mp - mq) / q mod p)
        Gmp.Subtract(mp.Pointer, mp.Pointer, mq.Pointer);
        Gmp.Multiply(mp.Pointer, mp.Pointer, _qInverse.Pointer);
        Gmp.Mod(mp.Pointer, mp.Pointer, _p.Prime.Pointer);
        Gmp.Multiply(mp.Pointer, mp.Pointer, _q.Prime.Pointer);
        Gmp.Add(mp.Pointer, mp.Pointer, mq.Pointer);
        GC.KeepAlive(this);
        return mp.ToBigInteger();
    }

    /// <summary>p and q, for tests.</summary>
    internal (BigInteger P, BigInteger Q) Primes => (_p.Prime.Value, _q.Prime.Value);

    public void Wipe()
    {
        _p.Wipe();
        _q.Wipe();
        _qInverse.Wipe();
    }

    private static void SetPrime(Scratch p, int bits, CancellationToken cancellationToken)
    {
        do
        {
            cancellationToken.ThrowIfCancellationRequested();
            p.SetRandom(bits);
            p.SetEnds(bits);
        }
        while (!MayBePrime(p.Pointer) || Gmp.ProbablyPrime(p.Pointer, Rounds) == 0);
    }

    // p mod r is 0 where r divides p, and 1 where it divides p - 1.
    private static bool MayBePrime(Mpz* p)
    {
        foreach (uint r in OddPrimes.Value)
            if (Gmp.Mod(p, new CULong(r)).Value <= 1)
                return false;
        return true;
    }

    private static uint[] Sieve()
    {
        var composite = new bool[SieveLimit];
        var primes = new List<uint>();
        for (int i = 3; i < SieveLimit; i += 2)
        {
            if (composite[i])
                continue;
            primes.Add((uint)i);
            for (long j = (long)i * i; j < SieveLimit; j += 2 * i)
                composite[j] = true;
        }

        return [.. primes];
    }

    /// <summary>Decryption modulo one prime: m = L(c^(p-1) mod p^2) h mod p, L(u) = (u - 1) / p, h = 1 / L((1 + n)^(p-1) mod p^2) = -1 / q mod p.</summary>
    private sealed class Half
    {
        private readonly Constant _square, _exponent, _factor;
        private readonly int _bits;

        public Half(Scratch prime, Scratch minusOne, Scratch other)
        {
            int limbs = prime.Pointer->Size;
            _bits = 64 * limbs;
            Prime = new Constant(prime, limbs);
            _exponent = new Constant(minusOne, limbs);
            using var t = new Scratch(2 * _bits);
            Gmp.Multiply(t.Pointer, prime.Pointer, prime.Pointer);
            _square = new Constant(t, 2 * limbs);
            Gmp.Invert(t.Pointer, other.Pointer, prime.Pointer);
            Gmp.Subtract(t.Pointer, prime.Pointer, t.Pointer);
            _factor = new Constant(t, limbs);
        }

        public Constant Prime { get; }

        public void Decrypt(Scratch m, Mpz* ciphertext)
        {
            using Scratch u = new(2 * _bits), one = new(64);
            one.Set([1]);
            Gmp.Mod(u.Pointer, ciphertext, _square.Pointer);
            Gmp.PowerSecret(u.Pointer, u.Pointer, _exponent.Pointer, _square.Pointer);
            Gmp.Subtract(u.Pointer, u.Pointer, one.Pointer);
            Gmp.DivideExactly(u.Pointer, u.Pointer, Prime.Pointer);
            Gmp.Multiply(m.Pointer, u.Pointer, _factor.Pointer);
            Gmp.Mod(m.Pointer, m.Pointer, Prime.Pointer);
        }

        public void Wipe()
        {
            Prime.Wipe();
            _square.Wipe();
            _exponent.Wipe();
            _factor.Wipe();
        }
    }
}
