using FedLearn.Privacy.Numerics;

namespace FedLearn.Privacy;

/// <summary>Gaussian differential privacy: what a Gaussian mechanism of parameter mu = sensitivity/sigma promises, exactly and both ways.</summary>
/// <remarks>
/// <para>delta(epsilon) = Phi(-epsilon/mu + mu/2) - e^epsilon Phi(-epsilon/mu - mu/2). Sources: Balle and Wang, arXiv 1805.06530, theorem 8
/// (the analytic Gaussian mechanism); Dong, Roth and Su, arXiv 1905.02383, corollary 2.13 (the curve), 3.3 (mu of a composition is the
/// root of the sum of squares).</para>
/// <para>With p = epsilon/mu - mu/2, q = p + mu and the Mills ratio M(x) = Phi(-x)/phi(x), phi(p) = e^epsilon phi(q) gives
/// delta = phi(p) (M(p) - M(q)), and M(p) - M(q) is the integral of e^(-pt - t^2/2) (1 - e^(-mu t)) over t from 0, which has no cancellation.
/// phi(p) takes p in double-double arithmetic.</para>
/// <para>Results are rounded the safe way: epsilon, delta and sigma up, mu down, each by a relative amount below 5e-13 (3e-14 typical) for delta of
/// at least 1e-300, wherever a change of the arguments in their last bit does not move the answer by more. Checked against 100-digit
/// references at 4,000 random points. Thread-safe.</para>
/// </remarks>
public static class GaussianDp
{
    private static readonly double InverseRootTwoPi = 1 / Math.Sqrt(2 * Math.PI);

    /// <summary>Above this a delta and its surroundings are normal numbers, and quotients of them are accurate.</summary>
    private const double SafelyNormal = 1e-300;

    /// <summary>From this mu on, epsilon = mu (p + mu/2) no longer tells one p from the next that matters, and the p of the exact answer is not sought: sqrt(2 ln(1/delta)) is
    /// an upper bound, at most 8.4 above it for any delta, so that epsilon is at most 2 * 8.4/2^45 too large, within what is promised.</summary>
    private const double LargeMu = 1L << 45;

    /// <summary>Below this p, 1 - delta is less than 1e-347, and delta is 1.</summary>
    private const double Certain = -40;

    /// <summary>Relative margin over the error of one evaluation of delta, which was measured at 2e-15.</summary>
    private const double Margin = 2e-14;

    /// <summary>Smallest delta such that a mu-GDP mechanism is (epsilon, delta)-private.</summary>
    /// <param name="mu">Sensitivity over noise deviation. Finite, at least 0; 0 means that nothing was released.</param>
    /// <param name="epsilon">Privacy loss in nats. Finite, at least 0.</param>
    /// <returns>Probability in [0, 1], rounded up. Below the range of a double it is the smallest positive double, never 0, unless mu is 0.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: mu out of range; FL2301: epsilon out of range.</exception>
    public static double Delta(double mu, double epsilon)
    {
        CheckMuEpsilon(mu, epsilon);
        if (mu == 0)
            return 0;
        Curve curve = Curve.At(mu, epsilon);
        double delta = curve.LogDelta > -700 ? curve.Delta : Math.Exp(curve.LogDelta + 2.5e-13);
        return Math.Min(1, Math.BitIncrement(delta * (1 + Margin)));
    }

    /// <summary>Natural logarithm of <see cref="Delta"/>, for probabilities below the range of a double.</summary>
    /// <param name="mu">Sensitivity over noise deviation. Finite, at least 0.</param>
    /// <param name="epsilon">Privacy loss in nats. Finite, at least 0.</param>
    /// <returns>Logarithm of the probability, rounded up; negative infinity when mu is 0.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: mu out of range; FL2301: epsilon out of range.</exception>
    public static double LogDelta(double mu, double epsilon)
    {
        CheckMuEpsilon(mu, epsilon);
        if (mu == 0)
            return double.NegativeInfinity;
        double log = Curve.At(mu, epsilon).LogDelta;
        return Math.Min(0, log + LogError(log));
    }

    /// <summary>Smallest epsilon such that a mu-GDP mechanism is (epsilon, delta)-private.</summary>
    /// <param name="mu">Sensitivity over noise deviation. Finite, at least 0.</param>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <returns>Privacy loss in nats, at least 0, rounded up; infinite where that is beyond the range of a double, for a mu above 1e154.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: mu out of range; FL2301: delta out of range.</exception>
    public static double Epsilon(double mu, double delta)
    {
        CheckMuEpsilon(mu, 0);
        CheckDelta(delta);
        double target = Math.Log(delta);
        if (mu == 0 || Curve.At(mu, 0).Excess(delta, target) <= -ExcessError(delta, target))
            return 0;

        // p cannot exceed sqrt(2 ln(1/delta)), since delta <= Phi(-p) <= e^(-p^2/2)/2 for p >= 0. log delta is concave and falls with
        // epsilon, so Newton's steps from there approach the root from the right.
        double epsilon = mu * (Math.Sqrt(-2 * target) + mu / 2);
        if (mu >= LargeMu)
            return epsilon * (1 + Margin / 10);
        Curve curve = Curve.At(mu, epsilon);
        for (int i = 0; i < 100; i++)
        {
            double next = Math.Max(0, epsilon + curve.Excess(delta, target) / curve.EpsilonSlope);
            double step = Math.Abs(next - epsilon);
            epsilon = next;
            curve = Curve.At(mu, epsilon);
            if (step <= 2e-16 * epsilon)
                break;
        }

        return Math.BitIncrement((epsilon + ExcessError(delta, target) / curve.EpsilonSlope) * (1 + Margin / 10));
    }

    /// <summary>Largest mu such that a mu-GDP mechanism is (epsilon, delta)-private.</summary>
    /// <param name="epsilon">Privacy loss in nats. Finite, at least 0.</param>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <returns>mu above 0, rounded down.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301: epsilon or delta out of range.</exception>
    public static double Mu(double epsilon, double delta)
    {
        CheckMuEpsilon(0, epsilon);
        CheckDelta(delta);
        double target = Math.Log(delta);

        // Two lower bounds: p <= sqrt(2 ln(1/delta)) as above, and delta(mu, 0) = erf(mu/sqrt 8) <= mu/sqrt(2 pi).
        double z = Math.Sqrt(-2 * target);
        if (epsilon >= LargeMu * LargeMu / 2)
            return 2 * (epsilon / (z + Math.Sqrt(2) * Math.Sqrt(epsilon + z * z / 2))) * (1 - Margin / 10);
        double mu = Math.Max(2 * epsilon / (z + Math.Sqrt(z * z + 2 * epsilon)), delta / InverseRootTwoPi);
        double low = 0, high = double.PositiveInfinity;
        Curve curve = Curve.At(mu, epsilon);
        for (int i = 0; i < 200; i++)
        {
            double excess = curve.Excess(delta, target);
            if (excess < 0)
                low = mu;
            else
                high = mu;

            // A Newton step in log mu, kept inside the bracket.
            double next = mu * Math.Exp(Math.Clamp(-excess / (curve.MuSlope * mu), -2, 2));
            if (!(next > low && next < high))
                next = double.IsInfinity(high) || low == 0 ? next : low + (high - low) / 2;
            double step = Math.Abs(next - mu);
            mu = next;
            curve = Curve.At(mu, epsilon);
            if (step <= 2e-16 * mu)
                break;
        }

        return Math.BitDecrement((mu - ExcessError(delta, target) / curve.MuSlope) * (1 - Margin / 10));
    }

    /// <summary>Smallest noise deviation per unit of L2 sensitivity that makes one release (epsilon, delta)-private: 1/mu.</summary>
    /// <param name="epsilon">Privacy loss in nats. Finite, at least 0.</param>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <returns>Standard deviation per coordinate, rounded up. (1, 1e-4) gives 3.18570.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301: epsilon or delta out of range.</exception>
    public static double Sigma(double epsilon, double delta) => Math.BitIncrement(1 / Mu(epsilon, delta));

    /// <summary>Smallest mu such that every (epsilon, 0)-private mechanism is mu-GDP: 2 Phi^-1(e^epsilon/(1 + e^epsilon)).</summary>
    /// <remarks>The trade-off curve of (epsilon, 0) has its corner at type I = type II = 1/(1 + e^epsilon), and the Gaussian curve through that point lies
    /// below it everywhere, being convex (Dong, Roth and Su, arXiv 1905.02383, definition 2.6 and proposition 2.5).</remarks>
    /// <param name="epsilon">Privacy loss in nats. Finite, at least 0.</param>
    /// <returns>mu, rounded up by at most 2e-12 of it for an epsilon of at least 1e-290. Epsilon 0.5, 1 and 2 give 0.624, 1.232 and 2.358.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: epsilon out of range.</exception>
    public static double MuOfPure(double epsilon)
    {
        PrivacyErrors.CheckNotNegative(epsilon, "epsilon");
        if (epsilon == 0)
            return 0;

        // Near 0 through the total variation distance, erf(mu/sqrt 8) = tanh(epsilon/2), which keeps all digits.
        if (epsilon < 1)
            return Mu(0, Math.Tanh(Math.Max(epsilon, 1e-290) / 2)) * (1 + 1e-12);

        // Else -log Phi(-x) = log(1 + e^epsilon) for x = mu/2. The left side is convex with slope 1/M(x), and Phi(-x) <= e^(-x^2/2)/2, so
        // Newton's steps come down from the right.
        double level = epsilon + Math.Log(1 + Math.Exp(-epsilon)), x = Math.Sqrt(2) * Math.Sqrt(level);
        for (int i = 0; i < 50; i++)
        {
            double mills = MillsRatio.At(x), step = (x / 2 * x - Math.Log(mills * InverseRootTwoPi) - level) * mills;
            x -= step;
            if (Math.Abs(step) <= 2e-16 * x)
                break;
        }

        return 2 * x * (1 + 1e-13);
    }

    /// <summary>Bound on the error of a computed log delta: of the evaluation, and of rounding the logarithm itself.</summary>
    private static double LogError(double log) => 5e-15 + 3e-16 * Math.Abs(log);

    /// <summary>Bound on the error of <see cref="Curve.Excess"/> near its root.</summary>
    private static double ExcessError(double delta, double logDelta) => delta > SafelyNormal ? 4e-15 : 2 * LogError(logDelta);

    private static void CheckMuEpsilon(double mu, double epsilon)
    {
        PrivacyErrors.CheckNotNegative(mu, "mu");
        if (!double.IsFinite(epsilon) || epsilon < 0)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidBudget, "epsilon",
                "it is not a finite number of at least 0.", "Give a finite epsilon of at least 0.");
    }

    internal static void CheckDelta(double delta)
    {
        if (!(delta > 0 && delta < 1))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidBudget, "delta",
                "it is not strictly between 0 and 1.", "Give a delta above 0 and below 1, such as 1e-5.");
    }

    /// <summary>delta at one point of the (mu, epsilon) plane, with its logarithmic derivatives.</summary>
    /// <param name="Delta">delta, 0 when it underflows.</param>
    /// <param name="LogDelta">log delta.</param>
    /// <param name="EpsilonSlope">-d log delta/d epsilon = e^epsilon Phi(-q)/delta.</param>
    /// <param name="MuSlope">d log delta/d mu = phi(p)/delta.</param>
    private readonly record struct Curve(double Delta, double LogDelta, double EpsilonSlope, double MuSlope)
    {
        /// <summary>log(delta at this point/wanted delta), by way of the quotient where that keeps more digits.</summary>
        public double Excess(double wanted, double logWanted) =>
            wanted > SafelyNormal && Delta > SafelyNormal ? Math.Log(Delta / wanted) : LogDelta - logWanted;

        public static Curve At(double mu, double epsilon)
        {
            // p = epsilon/mu - mu/2 and p^2/2 as sums of two doubles: near delta = 1e-300 an error of 1e-16 in p alone would cost 1e-13.
            double quotient = epsilon / mu;
            DoubleDouble sum = DoubleDouble.Sum(quotient, -mu / 2);
            // Where the two cancel, what is left may be no larger than the rounding of the quotient.
            sum = DoubleDouble.Sum(sum.Hi, sum.Lo + Math.FusedMultiplyAdd(-quotient, mu, epsilon) / mu);
            double p = sum.Hi, pLow = sum.Lo;
            if (p < Certain)
                return new(1, 0, 0, 0);
            double square = p * p, squareLow = Math.FusedMultiplyAdd(p, p, -square) + 2 * p * pLow;
            // log delta is at most -p^2/2.
            if (!double.IsFinite(square))
                return new(0, -double.MaxValue / 2, 1, 1);
            double density = Math.Exp(-square / 2) * Math.Exp(-squareLow / 2) * InverseRootTwoPi;

            if (p >= -1)
            {
                (double difference, double atQ) = MillsRatio.DifferenceAndUpper(p, mu);
                double log = -square / 2 + (Math.Log(difference * InverseRootTwoPi) - squareLow / 2);
                return new(density * difference, log, atQ / difference, 1 / difference);
            }

            // Here Phi(-p) > .84 and delta > .68: 1 - delta = phi(p) (M(-p) + M(q)) has no cancellation either, and q >= -p > 1.
            double upper = MillsRatio.At(p + mu), rest = density * (MillsRatio.At(-p) + upper), delta = 1 - rest;
            return new(delta, Math.Log(delta) is var direct && rest < 0.1 ? Elementary.LogP1(-rest) : direct, density * upper / delta, density / delta);
        }
    }
}
