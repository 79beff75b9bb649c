namespace FedLearn.Privacy;

/// <summary>One column of targets that a passive party fits: how a released label becomes a target t, and what bounds it. All numbers are public.</summary>
/// <param name="Center">What is subtracted from a released label (ybar, or a class's share); units of the label.</param>
/// <param name="Scale">What the difference is divided by, v; units of the label. Finite, above 0.</param>
/// <param name="TargetBound">Bound c on |t|. Finite, above 0.</param>
/// <param name="LabelVariance">Variance of a released label, as the penalty assumes it; units of the label squared. Finite, above 0.</param>
public sealed record OneRoundColumn(double Center, double Scale, double TargetBound, double LabelVariance)
{
    /// <summary>Variance of a 0/1 label that the penalty assumes: a little above the middle of the legal 0 to .25.</summary>
    private const double LabelSpread = .15;

    /// <summary>Targets of a class from randomised labels: t = (debiased indicator - share)/v, v = .75 share (1 - share).</summary>
    /// <param name="response">The mechanism of the labels; for two classes this is the column of class 1.</param>
    /// <param name="share">Public share of the class, .01 to .99; see <see cref="ShareOf"/>.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: the share is out of range.</exception>
    public static OneRoundColumn OfClass(RandomizedResponse response, double share)
    {
        ArgumentNullException.ThrowIfNull(response);
        if (!(share is >= .01 and <= .99))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "label rate", "it is not between 0.01 and 0.99.", "Declare a public share of the class, or none.");
        double q = response.OtherProbability, p = response.KeepProbability, gap = response.Gap, v = .75 * share * (1 - share);
        double c = Math.Max(Math.Abs(response.Debias(true) - share), Math.Abs(response.Debias(false) - share)) / v;
        double noise = (share * p * (1 - p) + (1 - share) * q * (1 - q)) / (gap * gap);
        return new(share, v, c, noise + LabelSpread);
    }

    /// <summary>Targets of continuous or count labels: t = clip((y~ - center)/v, -c, c), v = (high - low)/4, c = (high - low + 3 sigma)/v.</summary>
    /// <param name="mechanism">The mechanism of the labels.</param>
    /// <param name="center">Public centre within the declared range; see <see cref="CenterOf"/>.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: the centre is outside the range.</exception>
    public static OneRoundColumn OfRange(NoisyTargetMechanism mechanism, double center)
    {
        ArgumentNullException.ThrowIfNull(mechanism);
        return OfRange(mechanism.Low, mechanism.High, mechanism.Sigma, center);
    }

    /// <summary>The same, for a party that has received the labels and their noise only.</summary>
    /// <param name="low">Lower end of the declared range.</param>
    /// <param name="high">Upper end.</param>
    /// <param name="sigma">Noise of the released labels.</param>
    /// <param name="center">Public centre within the declared range.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: a number is out of range.</exception>
    public static OneRoundColumn OfRange(double low, double high, double sigma, double center)
    {
        PrivacyErrors.CheckPositive(high - low, "label range");
        PrivacyErrors.CheckPositive(sigma, "sigma");
        if (!(center >= low && center <= high))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "label rate", "it is not within the declared range of the label.", "Declare a public centre within the range, or none.");
        double v = (high - low) / 4;
        return new(center, v, (high - low + 3 * sigma) / v, sigma * sigma + LabelSpread * (high - low) * (high - low));
    }

    /// <summary>Share of a class from randomised labels alone: the debiased mean, between .01 and .99, to two decimals.</summary>
    /// <param name="response">The mechanism of the labels.</param>
    /// <param name="labels">Randomised labels; at least one.</param>
    /// <param name="label">The class.</param>
    public static double ShareOf(RandomizedResponse response, ReadOnlySpan<byte> labels, byte label = 1)
    {
        ArgumentNullException.ThrowIfNull(response);
        CheckSome(labels.Length);
        double mean = ((double)labels.Count(label) / labels.Length - response.OtherProbability) / response.Gap;
        return Math.Round(Math.Clamp(mean, .01, .99), 2);
    }

    /// <summary>Centre of noisy labels from them alone: their mean, within the declared range, to a hundredth of it.</summary>
    /// <param name="low">Lower end of the declared range.</param>
    /// <param name="high">Upper end.</param>
    /// <param name="labels">Noisy labels; at least one.</param>
    public static double CenterOf(double low, double high, ReadOnlySpan<double> labels)
    {
        CheckSome(labels.Length);
        double sum = 0;
        foreach (double label in labels)
            sum += label;
        return Math.Clamp(low + (high - low) * Math.Round(Math.Clamp((sum / labels.Length - low) / (high - low), 0, 1), 2), low, high);
    }

    private static void CheckSome(int labels)
    {
        if (labels == 0)
            throw new ArgumentException("There is no label, so they have no mean.", nameof(labels));
    }

    /// <summary>The target of a released label; never beyond <see cref="TargetBound"/>.</summary>
    /// <param name="label">The debiased or noisy label.</param>
    public double Target(double label) => Math.Clamp((label - Center) / Scale, -TargetBound, TargetBound);
}

/// <summary>The public numbers of a passive party's fit in one-round training, on which its sensitivity rests.</summary>
/// <remarks>The party minimises, for each column m of targets by itself, (1/n) sum_i [phi(x_i.w) - t_im x_i.w] + (lambda_m/2)|w|^2, where phi'(a) =
/// clip(a, -K, K), to a gradient of length tau_m at most, and sends clip(x_i.w_m, -ks, ks) with noise, once. The statement and its proof are in
/// docs/proofs/one-round.md. Nothing here may depend on features: lambda and tau are fixed before they are read.</remarks>
public sealed record OneRoundParameters
{
    private const double UnitRoundoff = 1.0 / (1L << 53);

    /// <summary>Share of the sensitivity that the solver's tolerance may add.</summary>
    private const double SolverShare = 1e-5;

    /// <summary>Training rows n common to all parties.</summary>
    /// <value>At least 1.</value>
    public required int Rows { get; init; }

    /// <summary>Columns of targets: one for a binomial model or a continuous label, M for a multinomial one.</summary>
    /// <value>At least one.</value>
    public required IReadOnlyList<OneRoundColumn> Columns { get; init; }

    /// <summary>Bound R on the length of a row, constant included.</summary>
    /// <value>Finite, above 0. Default 1.</value>
    public double RowNorm { get; init; } = 1;

    /// <summary>Bound ks on a score that is sent.</summary>
    /// <value>Finite, above 0, at most <see cref="GradientClip"/>. Default 2.</value>
    public double ScoreClip { get; init; } = 2;

    /// <summary>Bound K on phi', above which a score gains nothing.</summary>
    /// <value>Finite, above 0. Default 4.</value>
    public double GradientClip { get; init; } = 4;

    /// <summary>Largest ratio of the drift of other rows' scores to ks; smaller means a larger penalty and less noise.</summary>
    /// <value>Finite, above 0. Default 1.</value>
    public double Alpha { get; init; } = 1;

    /// <summary>Upper bound on the columns of the party. Enters only the allowance for rounding and the noise of released weights.</summary>
    /// <value>At least 1. Default 65,536.</value>
    public int MaxColumns { get; init; } = 1 << 16;

    /// <summary>Radius rho of the ball that a row of scores lies in, or is projected on: ks for one column, 2 ks for several.</summary>
    public double Ball => Columns.Count == 1 ? ScoreClip : 2 * ScoreClip;

    /// <summary>Own row: min(2 rho, 2 ks sqrt M); 2 ks for one column.</summary>
    public double OwnTerm => Math.Min(2 * Ball, 2 * ScoreClip * Math.Sqrt(Columns.Count));

    /// <summary>Other rows: sqrt(sum over columns of R^2 (K + c)^2/(lambda n)).</summary>
    public double DriftTerm
    {
        get
        {
            double sum = 0;
            for (int m = 0; m < Columns.Count; m++)
                sum += Square(RowNorm * Slope(m)) / (L2(m) * Rows);
            return Math.Sqrt(sum);
        }
    }

    /// <summary>L2 distance between the scores of neighbouring tables at most, for exact minimisers: sqrt(Own^2 + Drift^2).</summary>
    public double Sensitivity => Math.Sqrt(Square(OwnTerm) + Square(DriftTerm)) * (1 + 1e-14);

    /// <summary>Added for minimisers that are exact to the tolerance: 2 sqrt(n) R sqrt(sum (tau/lambda)^2).</summary>
    /// <remarks>The objective is lambda-strongly convex, so a gradient of length tau puts a point within tau/lambda of the minimiser.</remarks>
    public double SolverSlack => 2 * Math.Sqrt(Rows) * RowNorm * Root(m => Tolerance(m) / L2(m)) * (1 + 1e-14);

    /// <summary>Added for the rounding of float64 scores: 2 sqrt(n) 5 (d/8 + 20) 2^-53 R sqrt(sum W^2), W the largest length of weights.</summary>
    /// <remarks>A score is eight chains of d/8 fused products. Of a row that is stored as the difference from a common row, that difference is at most 5 R long (docs/proofs/sensitivity.md, section 7). Weights are within
    /// W = (R (K + c) + tau)/lambda, since the gradient of the data term is at most R (K + c).</remarks>
    public double ArithmeticSlack => 2 * Math.Sqrt(Rows) * HdpVflCalibration.DifferenceRows * (MaxColumns / 8.0 + 20) * UnitRoundoff * RowNorm * Root(WeightBound) * (1 + 1e-14);

    /// <summary>L2 distance between the weights of neighbouring tables at most: sqrt(sum (2 R (K + c)/(lambda n) + 2 tau/lambda)^2).</summary>
    public double WeightSensitivity => Root(m => 2 * RowNorm * Slope(m) / (L2(m) * Rows) + 2 * Tolerance(m) / L2(m)) * (1 + 1e-14);

    /// <summary>Penalty of a column, max((R (K + c)/(alpha ks))^2/n, Var(y~)/(2 v^2 n)); it covers the constant too.</summary>
    /// <param name="column">Column from 0.</param>
    public double L2(int column) => Math.Max(Square(RowNorm * Slope(column) / (Alpha * ScoreClip)), Columns[column].LabelVariance / (2 * Square(Columns[column].Scale))) / Rows;

    /// <summary>Largest length of the gradient at which the solver may stop, tau: 1e-5 of the sensitivity, but not below what float64 can reach.</summary>
    /// <param name="column">Column from 0.</param>
    public double Tolerance(int column) => Math.Max(SolverShare * Sensitivity * L2(column) / (2 * Math.Sqrt((double)Rows * Columns.Count) * RowNorm),
        32768 * UnitRoundoff * RowNorm * Slope(column));

    /// <summary>Bound on the length of the weights of a column, (R (K + c) + tau)/lambda.</summary>
    /// <param name="column">Column from 0.</param>
    public double WeightBound(int column) => (RowNorm * Slope(column) + Tolerance(column)) / L2(column);

    /// <summary>Checks that the numbers are legal.</summary>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: a number is NaN, infinite or out of range; FL2302: no rows; FL2303: the sensitivity is not a finite number.</exception>
    public void Validate()
    {
        if (Rows < 1)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidLayout, "rows", "there are none.", "Give at least one row.");
        if (Columns is not { Count: >= 1 })
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "columns", "there are none.", "Give at least one column of targets.");
        PrivacyErrors.CheckPositive(RowNorm, "rowNorm");
        PrivacyErrors.CheckPositive(ScoreClip, "scoreClip");
        PrivacyErrors.CheckPositive(GradientClip, "gradientClip");
        PrivacyErrors.CheckPositive(Alpha, "alpha");
        PrivacyErrors.CheckPositive(Ball, "score ball");
        PrivacyErrors.CheckPositive(MaxColumns, "maxColumns");
        // Scores within ks must move no more than phi' does: the proof needs ks <= K.
        if (ScoreClip > GradientClip)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "scoreClip", "it is above gradientClip.", "Give a scoreClip of at most gradientClip.");
        foreach (OneRoundColumn column in Columns)
        {
            PrivacyErrors.CheckPositive(column.Scale, "scale");
            PrivacyErrors.CheckPositive(column.TargetBound, "target bound");
            PrivacyErrors.CheckPositive(column.LabelVariance, "label variance");
        }

        if (!double.IsFinite(Sensitivity + SolverSlack + ArithmeticSlack))
            throw PrivacyErrors.Configuration(PrivacyErrors.BoundOverflow, "one-round parameters", "their sensitivity is not a finite number.", "Use smaller bounds.");
    }

    private double Slope(int column) => GradientClip + Columns[column].TargetBound;

    private double Root(Func<int, double> term)
    {
        double sum = 0;
        for (int m = 0; m < Columns.Count; m++)
            sum += Square(term(m));
        return Math.Sqrt(sum);
    }

    private static double Square(double value) => value * value;
}
