using System.Numerics;

namespace FedLearn.Statistical.Tests;

/// <summary>The exact discrete Gaussian of Canonne, Kamath and Steinke (arXiv 2004.00010, algorithms 1 to 3) with whole numbers only: a second
/// sampler, which shares nothing with the one under test. P(X = k) is proportional to e^(-k^2/(2 sigma^2)).</summary>
internal sealed class DiscreteGaussian(int sigma, int seed)
{
    private readonly Random _random = new(seed);

    public int Next()
    {
        int t = sigma + 1;
        BigInteger variance = (BigInteger)sigma * sigma;
        while (true)
        {
            int y = Laplace(t);

            // (|y| - sigma^2/t)^2/(2 sigma^2)
            BigInteger distance = Math.Abs(y) * (BigInteger)t - variance;
            if (BernoulliExp(distance * distance, 2 * variance * t * t))
                return y;
        }
    }

    /// <summary>P(Y = k) proportional to e^(-|k|/t).</summary>
    private int Laplace(int t)
    {
        while (true)
        {
            int u = _random.Next(t);
            if (!BernoulliExp(u, t))
                continue;
            int v = 0;
            while (BernoulliExp(1, 1))
                v++;
            int x = u + t * v;
            bool negative = _random.Next(2) == 1;
            if (!negative || x != 0)
                return negative ? -x : x;
        }
    }

    /// <summary>True with probability e^(-numerator/denominator).</summary>
    private bool BernoulliExp(BigInteger numerator, BigInteger denominator)
    {
        for (; numerator > denominator; numerator -= denominator)
            if (!BernoulliExp(1, 1))
                return false;
        int k = 1;
        while (Below(denominator * k) < numerator)
            k++;
        return k % 2 == 1;
    }

    /// <summary>Uniform from 0 to bound - 1, by rejection.</summary>
    private BigInteger Below(BigInteger bound)
    {
        if (bound <= long.MaxValue)
            return _random.NextInt64((long)bound);
        var bytes = new byte[bound.GetByteCount(isUnsigned: true)];
        while (true)
        {
            _random.NextBytes(bytes);
            var value = new BigInteger(bytes, isUnsigned: true);
            if (value < bound)
                return value;
        }
    }
}
