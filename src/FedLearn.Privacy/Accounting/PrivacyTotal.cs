using FedLearn.Privacy.Numerics;

namespace FedLearn.Privacy;

/// <summary>What a person's record has been charged in all: pure epsilon and Gaussian-DP mu, kept apart, for sums that hold under adaptive composition.</summary>
/// <remarks>
/// <para>Releases of (epsilon_i, 0) and of mu_j-GDP compose, adaptively and in any order, to (sum epsilon_i + epsilon(mu, delta), delta) with
/// mu^2 = sum mu_j^2. Since (epsilon_i, 0) is also m_i-GDP with m_i of <see cref="GaussianDp.MuOfPure"/>, the root of mu^2 + sum m_i^2 is a second
/// mu that holds (Dong, Roth and Su, arXiv 1905.02383, corollary 3.3). <see cref="Epsilon"/> is the smaller of the two figures. The sum of m_i^2 is kept
/// along; a total built from its two numbers alone takes the pure part as one release, which is never less.</para>
/// <para>Every sum, square and root is rounded up unless it is exact, so that no number of additions under-counts; a million of them over-count by
/// less than 1e-9 of the total. Totals of different people, or under different neighbour relations, must not be added. Immutable.</para>
/// </remarks>
/// <param name="PureEpsilon">Sum of the pure epsilons, in nats. Finite, at least 0.</param>
/// <param name="MuSquared">Sum of mu^2 of the Gaussian releases. Finite, at least 0.</param>
/// <exception cref="Diagnostics.ConfigurationException">FL2300: a number out of range.</exception>
public sealed record PrivacyTotal(double PureEpsilon, double MuSquared)
{
    /// <summary>Rounding up many additions may put a job over the budget that it was calibrated to; this much of it is forgiven.</summary>
    private const double Forgiven = 1e-9;

    /// <summary>Sum of the squares of the mu that the pure releases count as.</summary>
    private readonly double _pureMuSquared = SquareUp(GaussianDp.MuOfPure(PureEpsilon));

    private PrivacyTotal(double pureEpsilon, double muSquared, double pureMuSquared) : this(pureEpsilon, muSquared) =>
        _pureMuSquared = Math.Min(_pureMuSquared, pureMuSquared);

    /// <summary>Nothing released.</summary>
    public static PrivacyTotal Zero { get; } = new(0, 0);

    /// <summary>Sum of the pure epsilons, in nats.</summary>
    public double PureEpsilon { get; } = Checked(PureEpsilon, nameof(PureEpsilon));

    /// <summary>Sum of mu^2 of the Gaussian releases.</summary>
    public double MuSquared { get; } = Checked(MuSquared, nameof(MuSquared));

    /// <summary>Gaussian-DP parameter of the Gaussian releases together: the root of <see cref="MuSquared"/>, rounded up.</summary>
    public double Mu => RootUp(MuSquared);

    /// <summary>One release of pure epsilon, such as a randomised response.</summary>
    /// <param name="epsilon">Privacy loss in nats. Finite, at least 0.</param>
    /// <returns>The total of that release.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: epsilon out of range.</exception>
    public static PrivacyTotal OfPure(double epsilon) => new(epsilon, 0);

    /// <summary>One Gaussian release.</summary>
    /// <param name="mu">Sensitivity over noise deviation. At least 0, and its square finite.</param>
    /// <returns>The total of that release.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: mu out of range.</exception>
    public static PrivacyTotal OfMu(double mu)
    {
        PrivacyErrors.CheckNotNegative(mu, "mu");
        return new(0, SquareUp(mu));
    }

    /// <summary>Both totals, one after the other.</summary>
    /// <param name="left">A total.</param>
    /// <param name="right">Another total of the same person.</param>
    /// <returns>The sum, rounded up.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: the sum is infinite.</exception>
    public static PrivacyTotal operator +(PrivacyTotal left, PrivacyTotal right)
    {
        ArgumentNullException.ThrowIfNull(left);
        ArgumentNullException.ThrowIfNull(right);
        return new(SumUp(left.PureEpsilon, right.PureEpsilon), SumUp(left.MuSquared, right.MuSquared), SumUp(left._pureMuSquared, right._pureMuSquared));
    }

    /// <summary>Smallest known epsilon such that all releases together are (epsilon, delta)-private.</summary>
    /// <param name="delta">Probability, below 1; above 0 unless all releases were pure.</param>
    /// <returns>Privacy loss in nats, rounded up. Without Gaussian releases it is the pure sum, a claim that holds with delta 0; without pure releases
    /// it is the exact <see cref="GaussianDp.Epsilon"/>.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301: delta out of range.</exception>
    public double Epsilon(double delta)
    {
        if (MuSquared == 0 && delta == 0)
            return PureEpsilon;
        double apart = SumUp(PureEpsilon, GaussianDp.Epsilon(Mu, delta));
        return MuSquared == 0 || PureEpsilon == 0 ? apart : Math.Min(apart, GaussianDp.Epsilon(RootUp(SumUp(MuSquared, _pureMuSquared)), delta));
    }

    /// <summary>Whether all releases together stay within a budget.</summary>
    /// <param name="epsilon">Privacy loss in nats. Finite, at least 0.</param>
    /// <param name="delta">Probability, at least 0 and below 1; only pure releases fit a delta of 0.</param>
    /// <returns>True when <see cref="Epsilon"/> at this delta is at most epsilon, give or take 1e-9 of it, which is what rounding a million
    /// additions up can take from a job that was calibrated to exactly this budget.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: epsilon out of range; FL2301: delta out of range.</exception>
    public bool Fits(double epsilon, double delta)
    {
        PrivacyErrors.CheckNotNegative(epsilon, nameof(epsilon));
        return (delta != 0 || MuSquared == 0) && Epsilon(delta) <= epsilon * (1 + Forgiven);
    }

    /// <summary>The total for a person who owns several rows of the table.</summary>
    /// <param name="rows">Rows of one person that may all change, at least 1.</param>
    /// <returns>rows times the pure epsilon and rows times mu: group privacy (Dong, Roth and Su, theorem 2.14).</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: rows is below 1, or the total is infinite.</exception>
    public PrivacyTotal Group(int rows)
    {
        PrivacyErrors.CheckPositive(rows, nameof(rows));
        double square = (double)rows * rows;
        return rows == 1 ? this : new(ProductUp(PureEpsilon, rows), ProductUp(MuSquared, square), ProductUp(_pureMuSquared, square));
    }

    private static double Checked(double value, string name)
    {
        PrivacyErrors.CheckNotNegative(value, name);
        return value;
    }

    private static double SumUp(double a, double b)
    {
        DoubleDouble sum = DoubleDouble.Sum(a, b);
        return sum.Lo > 0 ? Math.BitIncrement(sum.Hi) : sum.Hi;
    }

    private static double ProductUp(double a, double b)
    {
        if (a == 0 || b == 0)
            return 0;
        DoubleDouble product = DoubleDouble.Product(a, b);
        // Below 1e-290 the error of a product is not a double.
        return product.Lo > 0 || product.Hi < 1e-290 ? Math.BitIncrement(product.Hi) : product.Hi;
    }

    private static double SquareUp(double value) => ProductUp(value, value);

    private static double RootUp(double square)
    {
        double root = Math.Sqrt(square);
        return Math.FusedMultiplyAdd(root, root, -square) < 0 ? Math.BitIncrement(root) : root;
    }
}
