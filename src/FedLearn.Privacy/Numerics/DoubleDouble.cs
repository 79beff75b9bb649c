namespace FedLearn.Privacy.Numerics;

/// <summary>An unevaluated sum Hi + Lo of two doubles, about 106 bits. Enough to iterate millions of steps and still round correctly.</summary>
/// <remarks>Algorithms: Dekker 1971 and Knuth, with the fused multiply-add for exact products. Relative error of each operation at most 2^-102.</remarks>
internal readonly record struct DoubleDouble(double Hi, double Lo)
{
    public static readonly DoubleDouble Zero;

    public static implicit operator DoubleDouble(double value) => new(value, 0);

    /// <summary>a + b without error.</summary>
    public static DoubleDouble Sum(double a, double b)
    {
        double s = a + b, t = s - a;
        return new(s, a - (s - t) + (b - t));
    }

    /// <summary>a b without error, barring underflow.</summary>
    public static DoubleDouble Product(double a, double b)
    {
        double p = a * b;
        return new(p, Math.FusedMultiplyAdd(a, b, -p));
    }

    public static DoubleDouble operator +(DoubleDouble a, DoubleDouble b)
    {
        DoubleDouble s = Sum(a.Hi, b.Hi), t = Sum(a.Lo, b.Lo);
        s = Normalise(s.Hi, s.Lo + t.Hi);
        return Normalise(s.Hi, s.Lo + t.Lo);
    }

    public static DoubleDouble operator -(DoubleDouble a, DoubleDouble b) => a + -b;

    public static DoubleDouble operator -(DoubleDouble a) => new(-a.Hi, -a.Lo);

    public static DoubleDouble operator *(DoubleDouble a, DoubleDouble b)
    {
        DoubleDouble p = Product(a.Hi, b.Hi);
        return Normalise(p.Hi, p.Lo + (a.Hi * b.Lo + a.Lo * b.Hi));
    }

    public static DoubleDouble operator /(DoubleDouble a, DoubleDouble b)
    {
        double q1 = a.Hi / b.Hi;
        DoubleDouble r = a - b * q1;
        double q2 = r.Hi / b.Hi;
        r -= b * q2;
        return Normalise(q1, q2) + r.Hi / b.Hi;
    }

    public static DoubleDouble Abs(DoubleDouble a) => a.Hi < 0 ? -a : a;

    public static DoubleDouble Min(DoubleDouble a, DoubleDouble b) => Less(b, a) ? b : a;

    public static DoubleDouble Max(DoubleDouble a, DoubleDouble b) => Less(a, b) ? b : a;

    private static bool Less(DoubleDouble a, DoubleDouble b) => a.Hi < b.Hi || (a.Hi == b.Hi && a.Lo < b.Lo);

    /// <summary>hi + lo for |hi| at least |lo|.</summary>
    private static DoubleDouble Normalise(double hi, double lo)
    {
        double s = hi + lo;
        return new(s, lo - (s - hi));
    }
}
