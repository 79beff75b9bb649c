namespace FedLearn.Baselines.HomomorphicEncryption.Paillier;

/// <summary>Products of powers, prod_i c_i^x_i mod n^2 for integers x_i of either sign: encrypted inner products.</summary>
internal static unsafe class InnerProducts
{
    /// <summary>One power an entry. A negative power is one of the inverse. Entries of 0 are left out: what is multiplied depends on the party's own column alone, and on its own machine.</summary>
    public static void ByEntry(ulong* r, ulong* ciphertexts, ReadOnlySpan<double> column, Products products)
    {
        PublicKey key = products.Key;
        int words = key.Words;
        using Scratch power = new(2 * key.Bits), inverse = new(2 * key.Bits), scalar = new(128);
        ulong* factor = stackalloc ulong[words];
        One(r, words);
        for (int i = 0; i < column.Length; i++)
        {
            Int128 x = FixedPoint.Round(column[i], FixedPoint.ColumnBits);
            if (x == 0)
                continue;
            Mpz c = Mpz.Read(ciphertexts + ((long)i * words), words);
            var magnitude = (UInt128)Int128.Abs(x);
            scalar.Set([(ulong)(magnitude & ulong.MaxValue), (ulong)(magnitude >> 64)]);
            if (x < 0)
                Gmp.Invert(inverse.Pointer, &c, key.Square.Pointer);
            Gmp.Power(power.Pointer, x < 0 ? inverse.Pointer : &c, scalar.Pointer, key.Square.Pointer);
            power.CopyTo(factor, words);
            products.Multiply(r, r, factor);
        }
    }

    /// <summary>All entries at once by buckets (Pippenger 1976, as in Bernstein, Doumen, Lange and Oosterwijk 2012): for each window of w bits, from the highest, entries of one digit d are multiplied together, and
    /// prod_d B_d^d is taken by running products. Digits are from -2^(w-1) to 2^(w-1) - 1; negative ones have buckets of their own, and the one product of all of them is inverted at the end.</summary>
    public static void ByBuckets(ulong* r, ulong* ciphertexts, ReadOnlySpan<double> column, Products products, CancellationToken cancellationToken)
    {
        PublicKey key = products.Key;
        int words = key.Words;
        int bits = 0;
        var scalars = new Int128[column.Length];
        for (int i = 0; i < column.Length; i++)
        {
            scalars[i] = FixedPoint.Round(column[i], FixedPoint.ColumnBits);
            bits = Math.Max(bits, 128 - (int)UInt128.LeadingZeroCount((UInt128)Int128.Abs(scalars[i])));
        }

        One(r, words);
        if (bits == 0)
            return;
        (int width, int windows) = Shape(column.Length, bits);
        // Digits of x are those of x + offset, less 2^(w-1) each: the offset has 2^(w-1) in every window. |x| <= 2^(w windows - 2) keeps the sum in [0, 2^(w windows)).
        int half = 1 << (width - 1);
        Int128 offset = 0;
        for (int t = 0; t < windows; t++)
            offset |= (Int128)half << (width * t);
        var buckets = new Buckets(half, words);
        ulong* negative = stackalloc ulong[words];
        One(negative, words);
        for (int t = windows - 1; t >= 0; t--)
        {
            for (int k = 0; k < width && t < windows - 1; k++)
            {
                products.Multiply(r, r, r);
                products.Multiply(negative, negative, negative);
            }

            buckets.Clear();
            for (int i = 0; i < scalars.Length; i++)
            {
                if (i % 256 == 0)
                    cancellationToken.ThrowIfCancellationRequested();
                int digit = (int)(((scalars[i] + offset) >> (width * t)) & ((half * 2) - 1)) - half;
                if (digit != 0)
                    buckets.Put(digit, ciphertexts + ((long)i * words), products);
            }

            buckets.Collect(r, sign: 1, products);
            buckets.Collect(negative, sign: -1, products);
        }

        using var inverse = new Scratch(2 * key.Bits);
        Mpz n = Mpz.Read(negative, words);
        Gmp.Invert(inverse.Pointer, &n, key.Square.Pointer);
        inverse.CopyTo(negative, words);
        products.Multiply(r, r, negative);
    }

    /// <summary>The window width of least cost: a product an entry and two a bucket for each window; 2^w buckets of both signs, and 2w squarings.</summary>
    internal static (int Width, int Windows) Shape(int entries, int bits)
    {
        (int Width, int Windows) best = default;
        double least = double.PositiveInfinity;
        for (int width = 2; width <= 16; width++)
        {
            int windows = (bits + 2 + width - 1) / width;
            double cost = (double)windows * (entries + (2 << width) + (2 * width));
            if (cost < least)
                (best, least) = ((width, windows), cost);
        }

        return best;
    }

    private static void One(ulong* r, int words)
    {
        new Span<ulong>(r, words).Clear();
        *r = 1;
    }

    private static void Copy(ulong* from, ulong* to, int words) => new Span<ulong>(from, words).CopyTo(new Span<ulong>(to, words));

    /// <summary>Products of the entries of each digit; empty ones cost nothing.</summary>
    private sealed class Buckets
    {
        private readonly int _half, _words;
        private readonly ulong[] _values;
        private readonly bool[] _used;

        public Buckets(int half, int words)
        {
            (_half, _words) = (half, words);
            _values = GC.AllocateUninitializedArray<ulong>(((2 * half) + 1) * words, pinned: true);
            _used = new bool[(2 * half) + 1];
        }

        public void Clear() => Array.Clear(_used);

        public void Put(int digit, ulong* factor, Products products)
        {
            int slot = digit + _half;
            fixed (ulong* values = _values)
            {
                ulong* bucket = values + ((nint)slot * _words);
                if (_used[slot])
                    products.Multiply(bucket, bucket, factor);
                else
                    Copy(factor, bucket, _words);
                _used[slot] = true;
            }
        }

        /// <summary>r = r prod_d B_d^d over digits of one sign: from the largest down, the product of the buckets so far is multiplied in once a step.</summary>
        public void Collect(ulong* r, int sign, Products products)
        {
            ulong* running = stackalloc ulong[_words];
            bool any = false;
            fixed (ulong* values = _values)
            {
                for (int d = _half; d > 0; d--)
                {
                    int slot = _half + (sign * d);
                    if (_used[slot])
                    {
                        ulong* bucket = values + ((nint)slot * _words);
                        if (any)
                            products.Multiply(running, running, bucket);
                        else
                            Copy(bucket, running, _words);
                        any = true;
                    }

                    if (any)
                        products.Multiply(r, r, running);
                }
            }
        }
    }
}
