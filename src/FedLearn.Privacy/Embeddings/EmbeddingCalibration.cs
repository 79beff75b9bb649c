namespace FedLearn.Privacy;

/// <summary>What the noise of a party costs for one unit.</summary>
/// <param name="Unit">What is replaced.</param>
/// <param name="Rows">Rows a that it can change; null: not declared, and there is no figure.</param>
/// <param name="Mu">Gaussian-DP parameter over the whole job; null: not declared.</param>
/// <param name="Epsilon">Privacy loss in nats at <paramref name="Delta"/>; null: not declared.</param>
/// <param name="Delta">Probability of exceeding it.</param>
public sealed record EmbeddingFigure(EmbeddingUnit Unit, int? Rows, double? Mu, double? Epsilon, double Delta)
{
    /// <summary>The figure of somebody who observes several parties that hold the same person or event: squares of mu add up.</summary>
    /// <param name="figures">One figure a party, of the same unit; at least one.</param>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <returns>No figure when one of them is not declared.</returns>
    /// <exception cref="ArgumentException">There is none, or units differ.</exception>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301: delta out of range.</exception>
    public static EmbeddingFigure Combined(IReadOnlyList<EmbeddingFigure> figures, double delta)
    {
        ArgumentNullException.ThrowIfNull(figures);
        if (figures.Count == 0 || figures.Any(f => f.Unit != figures[0].Unit))
            throw new ArgumentException("Figures of one unit can be combined, and there is none or they are of several.", nameof(figures));
        if (figures.Any(f => f.Mu is null))
            return new(figures[0].Unit, null, null, null, delta);
        PrivacyTotal total = figures.Aggregate(PrivacyTotal.Zero, (sum, f) => sum + PrivacyTotal.OfMu(f.Mu!.Value));
        return new(figures[0].Unit, figures.Max(f => f.Rows), total.Mu, GaussianDp.Epsilon(total.Mu, delta), delta);
    }
}

/// <summary>Noise on a group of parameters.</summary>
/// <param name="Group">The group.</param>
/// <param name="Tau">Deviation, in the continuous mechanism and without slack, on each coordinate of the sum divided by the planned batch size.</param>
/// <param name="TauCharged">That deviation as used, every slack included.</param>
/// <param name="Noise">Noise of the sums themselves: deviation <paramref name="TauCharged"/> times the planned batch size, one release a batch, values within b G.</param>
public sealed record GradientNoise(GradientGroup Group, double Tau, double TauCharged, NoiseCalibration Noise);

/// <summary>The noise of one party of a recommendation job, and what it rests on.</summary>
/// <remarks>mu^2 = a E (2C/sigma)^2 + sum over groups of S (2G/(b tau))^2, where S bounds the sum over batches of the squared number of the unit's rows in them:
/// with at most b rows in a batch, E (floor(a/b) b^2 + (a mod b)^2), which is a^2 E for a &lt;= b. docs/proofs/embeddings.md.</remarks>
public sealed record EmbeddingCalibration
{
    /// <summary>Covers the rounding of the few products and roots between a sensitivity, mu and sigma.</summary>
    private const double Margin = 1e-14;

    private EmbeddingCalibration() { }

    /// <summary>The public numbers.</summary>
    public required EmbeddingParameters Parameters { get; init; }

    /// <summary>The unit that the budget is for.</summary>
    public required EmbeddingUnit Unit { get; init; }

    /// <summary>Rows of it.</summary>
    public required int Rows { get; init; }

    /// <summary>Gaussian-DP parameter of messages, parameters and charged evaluation together, for <see cref="Unit"/>.</summary>
    public required double Mu { get; init; }

    /// <summary>Deviation of message noise in the continuous mechanism, without slack; units of the message.</summary>
    public required double Sigma { get; init; }

    /// <summary>Deviation of message noise as used: slack for rounding to the lattice and for clipping in float64 included.</summary>
    public required double SigmaCharged { get; init; }

    /// <summary>Noise of all messages: those of training, and after them those of a charged evaluation.</summary>
    public required NoiseCalibration MessageNoise { get; init; }

    /// <summary>Noise of the parameters, one entry a group; empty unless the claim is full.</summary>
    public required IReadOnlyList<GradientNoise> GradientNoise { get; init; }

    /// <summary>Finds the noise that keeps a budget.</summary>
    /// <param name="parameters">The party's public numbers.</param>
    /// <param name="unit">What the budget is for.</param>
    /// <param name="epsilon">Privacy loss in nats. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <returns>The noise.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2313, FL2301, FL2307: a number out of range; FL2303: the noise is beyond the range of a double.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5143 to FL5145: the unit, see <see cref="EmbeddingParameters.CheckUnit"/>; FL5004: delta is 0.1 or more; FL5005:
    /// the lattice is too coarse for the budget.</exception>
    public static EmbeddingCalibration Calibrate(EmbeddingParameters parameters, EmbeddingUnit unit, double epsilon, double delta)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        parameters.Validate();
        parameters.CheckUnit(unit);
        HdpVflCalibration.CheckBudget(epsilon, delta);
        EmbeddingParameters p = parameters;
        int rows = p.RowsOf(unit)!.Value;
        double mu = GaussianDp.Mu(epsilon, delta), messageMu = HdpVflCalibration.Part(mu, p.Gradients.Count > 0 ? p.MessageShare : 1);
        double visits = Visits(p, unit, rows), root = Math.Sqrt(visits);
        double sigma = HdpVflCalibration.WithLattice(2 * MessageBound(p) * root, messageMu, root * Math.Sqrt(p.Width));

        var gradients = new List<GradientNoise>();
        double weights = p.Gradients.Sum(g => g.Weight), squares = Math.Sqrt(SquaredCounts(p, rows));
        foreach (GradientGroup group in p.Gradients)
        {
            double groupMu = HdpVflCalibration.Part(mu, (1 - p.MessageShare) * group.Weight / weights * (1 - Margin));
            double charged = HdpVflCalibration.WithLattice(2 * GradientBound(p, group) * squares, groupMu, Math.Sqrt(ChangedBatches(p, rows) * group.Coordinates));
            gradients.Add(new(group, Math.BitIncrement(2 * group.Clip * squares / groupMu / p.BatchSize), charged / p.BatchSize,
                new(groupMu, charged, p.Epochs * p.Batches, p.BatchSize * group.Clip)));
        }

        return new()
        {
            Parameters = p,
            Unit = unit,
            Rows = rows,
            Mu = mu,
            Sigma = Math.BitIncrement(2 * p.Clip * root / messageMu),
            SigmaCharged = sigma,
            MessageNoise = new(messageMu, sigma, checked(p.TrainingMessages + (p.ChargedEvaluation?.Messages ?? 0)), p.Clip),
            GradientNoise = gradients,
        };
    }

    /// <summary>What this noise costs for each unit that the party's rows admit.</summary>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <returns>One figure a unit; without numbers where h or M is not declared.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301: delta out of range.</exception>
    public IReadOnlyList<EmbeddingFigure> Figures(double delta) =>
    [
        .. Parameters.Units.Select(unit => MuOf(unit) is { } mu
            ? new EmbeddingFigure(unit, Parameters.RowsOf(unit), mu, GaussianDp.Epsilon(mu, delta), delta)
            : new EmbeddingFigure(unit, null, null, null, delta)),
    ];

    /// <summary>What this noise costs for a unit, every slack included.</summary>
    /// <param name="unit">The unit.</param>
    /// <returns>mu, rounded up; null when its rows are not declared or the party does not offer it.</returns>
    public double? MuOf(EmbeddingUnit unit)
    {
        if (Parameters.RowsOf(unit) is not { } rows)
            return null;
        double step = 1.0 / INoiseSource.LatticeScale;
        double messages = Math.Sqrt(Visits(Parameters, unit, rows)) * (2 * MessageBound(Parameters) / SigmaCharged + step * Math.Sqrt(Parameters.Width));
        double sum = messages * messages, squares = Math.Sqrt(SquaredCounts(Parameters, rows));
        foreach (GradientNoise noise in GradientNoise)
        {
            double part = 2 * GradientBound(Parameters, noise.Group) * squares / noise.Noise.Sigma + step * Math.Sqrt(ChangedBatches(Parameters, rows) * noise.Group.Coordinates);
            sum += part * part;
        }

        double mu = Math.Sqrt(sum) * (1 + Margin);
        // The budget's own unit was calibrated to this mu; rounding the same sum up once more is not a cost.
        return unit == Unit ? Mu : mu;
    }

    /// <summary>What part of the whole cost so many messages make, for a run that ended early. Every epoch costs a unit the same.</summary>
    /// <param name="messages">Messages that may have left, at least 0.</param>
    /// <returns>Upper bound on the share of mu squared, from 0 to 1: epochs begun over all epochs.</returns>
    public double ShareOf(int messages)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(messages);
        long perEpoch = (long)Parameters.Batches * Parameters.MessagesPerBatch, begun = (messages + perEpoch - 1) / perEpoch;
        return Math.Min(1, (double)begun / Parameters.Epochs * (1 + Margin));
    }

    /// <summary>Messages with a row of the unit, counted by row. A sample is trained on or evaluated, never both; of an event or a user both may be.</summary>
    private static double Visits(EmbeddingParameters p, EmbeddingUnit unit, int rows)
    {
        double visits = (double)rows * p.Epochs;
        if (p.ChargedEvaluation is not { } evaluation)
            return visits;
        return unit switch
        {
            EmbeddingUnit.Sample => Math.Max(visits, evaluation.Queries),
            EmbeddingUnit.Event => visits + (double)evaluation.Queries * Math.Min(1L + p.HistoryEvents!.Value, evaluation.RowsPerUser),
            _ => visits + (double)evaluation.Queries * evaluation.RowsPerUser,
        };
    }

    /// <summary>Largest sum over the job's batches of the squared number of rows of the unit in them: of an epoch it is largest when as many as fit are in one batch, since
    /// moving a row from a batch with fewer of them to one with more lets the sum grow.</summary>
    internal static double SquaredCounts(EmbeddingParameters p, int rows)
    {
        double full = Math.Floor((double)rows / p.BatchSize), rest = rows - full * p.BatchSize;
        return p.Epochs * (full * p.BatchSize * p.BatchSize + rest * rest);
    }

    /// <summary>Most batches with a row of the unit.</summary>
    private static double ChangedBatches(EmbeddingParameters p, int rows) => (double)p.Epochs * Math.Min(rows, p.Batches);

    /// <summary>C, with what clipping in float64 and dividing by the lattice step may add: see <see cref="RowClip"/>.</summary>
    private static double MessageBound(EmbeddingParameters p) => p.Clip * (1 + RowClip.Slack(p.Width));

    /// <summary>G, with what clipping, and summing b clipped rows in float64, may add to a changed row: of a sum of b vectors of length G at most, computed in any fixed
    /// order, a computed one is within 2^-53 (b - 1) b G (1 + tiny) of the exact one, in both tables.</summary>
    private static double GradientBound(EmbeddingParameters p, GradientGroup group) =>
        group.Clip * (1 + RowClip.Slack(group.Coordinates) + Math.ScaleB((double)p.BatchSize * p.BatchSize, -52));
}
