using System.Numerics;

namespace FedLearn.Privacy;

/// <summary>The noise of an arbiter on gradients that parties computed under its key, and what it rests on.</summary>
/// <remarks>
/// <para>A row's part of the mean gradients of all parties is r (x_1, ..., x_P)/b. It moves by at most Delta = sqrt(P) D/b when the row is replaced,
/// D = max over t of 2 cos t (alpha + beta sin t), alpha + beta = C the parts of the residual's bound that are the label's and the scores': less than 2C, since a row
/// and its negative with the other label contribute the same. It moves by sqrt(P) C/b when it becomes a null row. One sigma for all coordinates of all parties, and
/// mu^2 = E (Delta/sigma)^2 over E visits; weights are post-processing, so that they do not drift. docs/proofs/he-dp.md, sections 1 and 2.</para>
/// <para>All figures are rounded to the safe side, and are in units of a coordinate of a mean gradient.</para>
/// </remarks>
public sealed record JointGradientCalibration
{
    /// <summary>Covers the rounding of the few products and roots between a sensitivity, mu and sigma.</summary>
    private const double Margin = 1e-14;

    private JointGradientCalibration() { }

    /// <summary>Whom the claim holds against, for the claim line and the report.</summary>
    public const string ClaimStatement = "holds against every party except the arbiter, who must be honest and not collude, while all parties follow the protocol";

    /// <summary>The public numbers.</summary>
    public required JointGradientParameters Parameters { get; init; }

    /// <summary>Gaussian-DP parameter of the whole job, for one person's rows at all parties.</summary>
    public required double Mu { get; init; }

    /// <summary>Visits E of each row.</summary>
    public int Visits => Parameters.Epochs;

    /// <summary>Bound C on a residual.</summary>
    public required double ResidualBound { get; init; }

    /// <summary>Delta: L2 distance that the mean gradients of all parties together, of one round, are apart at most, in exact arithmetic.</summary>
    public required double Sensitivity { get; init; }

    /// <summary>Part of <see cref="SensitivityCharged"/> for the scheme's error in both worlds, 2 err sqrt(d).</summary>
    public required double SchemeSlack { get; init; }

    /// <summary>Part of <see cref="SensitivityCharged"/> for the grid of the noise, sqrt(d) sigma/2^24.</summary>
    public required double GridSlack { get; init; }

    /// <summary>Part of <see cref="SensitivityCharged"/> for float64 in rows, weights and shares.</summary>
    public required double ArithmeticSlack { get; init; }

    /// <summary>Sensitivity of one round, every slack included.</summary>
    public required double SensitivityCharged { get; init; }

    /// <summary>Noise deviation used on every coordinate: <see cref="SensitivityCharged"/> sqrt(E)/mu. What the grid of a batch gives is at least this.</summary>
    public required double Sigma { get; init; }

    /// <summary>Answers that a coordinate gets, E times the batches.</summary>
    public int Releases => checked(Parameters.Epochs * Parameters.Batches);

    /// <summary>Finds the noise that keeps a budget.</summary>
    /// <param name="parameters">The job's public numbers.</param>
    /// <param name="epsilon">Privacy loss in nats. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <returns>The noise.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300 to FL2303: a number out of range.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5200, FL5002: see <see cref="JointGradientParameters.Validate"/>; FL5004: delta is 0.1 or more; FL5005: the grid is
    /// too coarse for the budget; FL5201: the scheme's error is as large as the sensitivity; FL5202: the scheme's unit is too small for the grid.</exception>
    public static JointGradientCalibration Calibrate(JointGradientParameters parameters, double epsilon, double delta)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        parameters.Validate();
        HdpVflCalibration.CheckBudget(epsilon, delta);
        JointGradientParameters p = parameters;
        double root = Math.Sqrt(p.Columns), visits = Math.Sqrt(p.Epochs), mu = GaussianDp.Mu(epsilon, delta);
        double sensitivity = Distance(p) * Math.Sqrt(p.Parties) / p.SmallestBatch * (1 + Margin);

        // Computed rows and weights are longer than their bounds by (d + 64) 2^-52 of them at most (RowClip.Slack), and a share errs by (d + 8) 2^-53 C: of Delta, of degree
        // three in lengths, 4 (d + 64) 2^-52 to first order in both worlds together; twice that is charged. Section 4.
        double arithmetic = sensitivity * Math.ScaleB(p.Columns + 64.0, -49), scheme = 2 * p.MeanError * root;
        if (scheme > sensitivity)
            throw PrivacyErrors.Refused(JointGradientErrors.SchemeTooCoarse, "privacy.he",
                "the error that the scheme may make in a gradient is larger than what a person's rows change in it, so that most of the noise would be for the scheme.",
                "Use smaller batches, or a scheme or parameters with a smaller error.");

        // sqrt(E) ((Delta + slacks)/sigma + sqrt(d)/2^24) = mu: a quotient by the grid moves by 1 more than the value over the step, and a batch's step is at
        // least sigma scale/2^24.
        double sigma = HdpVflCalibration.WithLattice((sensitivity + arithmetic + scheme) * visits, mu, root * visits);
        double grid = sigma * (root / INoiseSource.LatticeScale);
        var calibration = new JointGradientCalibration
        {
            Parameters = p,
            Mu = mu,
            ResidualBound = p.ResidualBound,
            Sensitivity = sensitivity,
            SchemeSlack = scheme,
            GridSlack = grid,
            ArithmeticSlack = arithmetic,
            SensitivityCharged = (sensitivity + arithmetic + scheme + grid) * (1 + Margin),
            Sigma = sigma,
        };

        // A step of less than one integer would be rounded up to one, and noise with it.
        return Math.Log2(sigma) + BigInteger.Log(p.Unit * p.SmallestBatch, 2) >= 24
            ? calibration
            : throw PrivacyErrors.Refused(JointGradientErrors.UnitTooSmall, "privacy.he", "the noise would be less than 2^24 of the scheme's integers, and its grid needs one for each step.",
                "Use a smaller epsilon, or a scheme with more fraction bits.");
    }

    /// <summary>What one step of the noise is in a batch's opened integers.</summary>
    /// <param name="batchRows">Planned rows of the batch, at least <see cref="JointGradientParameters.SmallestBatch"/>.</param>
    /// <returns>ceil(sigma scale/2^24), scale = Unit batchRows the integer that a mean gradient of 1 stands for; at least 1, computed exactly.</returns>
    public BigInteger StepOf(int batchRows)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batchRows, Parameters.SmallestBatch);
        long bits = BitConverter.DoubleToInt64Bits(Sigma);
        int exponent = (int)(bits >> 52) - 1075;
        BigInteger product = ((bits & 0xF_FFFF_FFFF_FFFF) | 1L << 52) * Parameters.Unit * batchRows;
        int shift = 24 - exponent;
        return shift <= 0 ? product << -shift : (product + (BigInteger.One << shift) - 1) >> shift;
    }

    /// <summary>Deviation of the noise in a batch, in units of a coordinate of its mean gradient: at least <see cref="Sigma"/>, and above it by the rounding of the step. For reports, to about 1e-13 of it.</summary>
    /// <param name="batchRows">Planned rows of the batch, at least <see cref="JointGradientParameters.SmallestBatch"/>.</param>
    public double SigmaOf(int batchRows) => Math.Exp(BigInteger.Log(StepOf(batchRows)) - BigInteger.Log(Parameters.Unit * batchRows)) * INoiseSource.LatticeScale;

    /// <summary>How many values flooding takes in a batch: L step, L = ceil(2^F/step), so that the value mod step is uniform too.</summary>
    internal BigInteger FloodOf(BigInteger step) => ((BigInteger.One << Parameters.FloodBits) + step - 1) / step * step;

    /// <summary>Refuses a batch whose sums, noise included, may be beyond half of the scheme's modulus. Privacy holds for every modulus; without room the party would read a wrapped number.</summary>
    /// <param name="modulus">M: answers are integers in [0, M).</param>
    /// <param name="batchRows">Planned rows of the batch, at least <see cref="JointGradientParameters.SmallestBatch"/>.</param>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5203: there is no room.</exception>
    public void CheckRoom(BigInteger modulus, int batchRows)
    {
        // |sum r x| <= b C, and the scheme's error at most C more, since it is at most b Delta/(2 sqrt(d)) where a calibration exists and every party has a column. Noise
        // is within 16 deviations but with probability 1e-56. 2^-20 of C covers rounding.
        BigInteger step = StepOf(batchRows), sum = (Parameters.Unit * (batchRows + 1L) * new BigInteger(Math.ScaleB(ResidualBound, 20) * (1 + 1e-6) + 1) >> 20) + 1;
        if (2 * (sum + (step << 28) + FloodOf(step)) >= modulus)
            throw PrivacyErrors.Refused(JointGradientErrors.NoRoom, "privacy.he", "a sum with its noise may be beyond half of the scheme's modulus, and the party would read another number.",
                "Use a larger epsilon, smaller batches, a smaller weight norm or label range, or a scheme with a larger modulus.");
    }

    /// <summary>What part of the whole cost so many rounds make, for a run that ended early: epochs begun over all epochs.</summary>
    /// <param name="rounds">Rounds whose answers may have left, at least 0.</param>
    /// <returns>Upper bound on the share of mu squared, from 0 to 1.</returns>
    public double ShareOf(int rounds)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rounds);
        long begun = ((long)rounds + Parameters.Batches - 1) / Parameters.Batches;
        return Math.Min(1, (double)begun / Parameters.Epochs * (1 + Margin));
    }

    /// <summary>D, or C for a null row: how far a row's r x moves at most, x and w scaled to unit balls of all parties together.</summary>
    /// <remarks>2 cos t (alpha + beta sin t) is largest where 2 beta s^2 + alpha s = beta, s = sin t. Any s gives a value below the largest, and near it errors of s count
    /// in second order only.</remarks>
    private static double Distance(JointGradientParameters p)
    {
        double alpha = p.Constant, beta = p.Slope;
        if (p.Adjacency == Adjacency.ZeroOut)
            return alpha + beta;
        double s = 2 * (beta / (alpha + double.Hypot(alpha, Math.Sqrt(8) * beta)));
        return 2 * Math.Sqrt((1 - s) * (1 + s)) * (alpha + beta * s);
    }
}
