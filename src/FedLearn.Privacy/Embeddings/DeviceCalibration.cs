namespace FedLearn.Privacy;

/// <summary>What one device loses by a job over devices, to the two kinds of observers. Both are always told.</summary>
/// <param name="Delta">Probability of exceeding an epsilon.</param>
/// <param name="ServerMu">Gaussian-DP parameter against the server, other views of the device and clients who know who took part: no amplification.</param>
/// <param name="ServerEpsilon">The same as epsilon.</param>
/// <param name="LaterEpsilon">Add/remove epsilon against those who see versions of the model later and never learn who took part; the accountant's upper bound. Null: no such
/// claim, since devices do not throw secret coins.</param>
/// <param name="UnmaskedMuPerRound">Without masks, what the server learns by one upload; null with masks.</param>
public sealed record DeviceFigures(double Delta, double ServerMu, double ServerEpsilon, double? LaterEpsilon, double? UnmaskedMuPerRound);

/// <summary>The noise of a job over devices, and what it rests on.</summary>
/// <remarks>Every client adds N(0, sigma^2 C^2/n_min) to its clipped update on a common lattice, so that an opened sum holds N(0, sigma^2 C^2) of honest noise at least.
/// docs/proofs/embeddings.md.</remarks>
public sealed record DeviceCalibration
{
    /// <summary>Fewest lattice steps of a client's noise: with that many a sum of rounded Gaussians is one of a Gaussian and uniforms up to e^-2500.</summary>
    private const double FewestSteps = 16;

    /// <summary>Deviations of a client's noise that must fit into the sum beside its update.</summary>
    private const double NoiseDeviations = 40;

    private const double Margin = 1e-14;

    private DeviceCalibration() { }

    /// <summary>The public numbers.</summary>
    public required DeviceParameters Parameters { get; init; }

    /// <summary>Noise multiplier sigma: deviation of the honest noise in an opened sum, over C.</summary>
    public required double NoiseMultiplier { get; init; }

    /// <summary>Deviation of one client's noise, sigma C/sqrt(n_min).</summary>
    public required double ClientSigma { get; init; }

    /// <summary>Step gamma of the common lattice.</summary>
    public required double Step { get; init; }

    /// <summary>L2 sensitivity in units of C of one upload for add, remove and zero-out, slack included: 1, clipping in float64, and gamma sqrt(d)/C for rounding.</summary>
    public required double Sensitivity { get; init; }

    /// <summary>Noise of a client's uploads, at most <see cref="DeviceParameters.Participations"/> of them; its Mu is the server's figure with masks.</summary>
    public required NoiseCalibration ClientNoise { get; init; }

    /// <summary>Takes a noise multiplier.</summary>
    /// <param name="parameters">The public numbers.</param>
    /// <param name="noiseMultiplier">sigma. Finite, above 0.</param>
    /// <returns>The noise.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2314, FL2304, FL2300: a number out of range; FL2315: sums of a round might not fit into 64 bits.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5146: a client's noise is below 16 steps of the lattice.</exception>
    public static DeviceCalibration Of(DeviceParameters parameters, double noiseMultiplier)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        DeviceParameters p = parameters;
        p.Validate();
        PrivacyErrors.CheckPositive(noiseMultiplier, "noise multiplier");
        double client = noiseMultiplier * p.Clip / Math.Sqrt(p.NoisyClients), step = p.Step ?? client / INoiseSource.LatticeScale;
        if (!double.IsNormal(step))
            throw PrivacyErrors.Configuration(PrivacyErrors.BoundOverflow, "noise multiplier", "the lattice step is beyond the range of a double.", "Use a clip and a noise multiplier of ordinary size.");
        if (client / step < FewestSteps)
            throw PrivacyErrors.Refused(EmbeddingErrors.ClientNoiseTooCoarse, "step", "a client's share of the noise is below 16 steps of the lattice, where its rounding is no longer covered by the proof.",
                "Leave the step out, or use a finer one.");
        if (!(p.MostClients * ((p.Clip + NoiseDeviations * client) / step) < Math.ScaleB(1, 63)))
            throw PrivacyErrors.Configuration(EmbeddingErrors.NoRoom, "clients", "the sum of so many updates and their noise might not fit into 64 bits.",
                "Use fewer clients a round, more noise, or a coarser step.");
        double sensitivity = 1 + RowClip.Slack(p.Coordinates) + step * Math.Sqrt(p.Coordinates) / p.Clip;
        double mu = ServerMuOf(p, noiseMultiplier, sensitivity);
        return new()
        {
            Parameters = p,
            NoiseMultiplier = noiseMultiplier,
            ClientSigma = client,
            Step = step,
            Sensitivity = sensitivity,
            ClientNoise = new(mu, client, p.Uploads, p.Clip),
        };
    }

    /// <summary>Finds the noise that keeps a budget against the server.</summary>
    /// <param name="parameters">The public numbers.</param>
    /// <param name="epsilon">Privacy loss in nats. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <returns>The noise. With masks off the server sees single uploads, each with its client's share, and the noise is sqrt(n_min) times that of a job with masks.</returns>
    /// <inheritdoc cref="Of" path="/exception" />
    public static DeviceCalibration ForServer(DeviceParameters parameters, double epsilon, double delta)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        parameters.Validate();
        HdpVflCalibration.CheckBudget(epsilon, delta);
        DeviceParameters p = parameters;
        // sigma = kappa sqrt(R) (1 + slack + gamma sqrt(d)/C)/mu; with gamma = sigma C/(2^24 sqrt(n_min)) the last term is a multiple of sigma.
        double mu = GaussianDp.Mu(epsilon, delta), uploads = p.Kappa * Math.Sqrt(p.Uploads) * (p.Masked ? 1 : Math.Sqrt(p.NoisyClients) * (1 + Margin));
        double sigma = p.Step is { } step
            ? uploads * (1 + RowClip.Slack(p.Coordinates) + step * Math.Sqrt(p.Coordinates) / p.Clip) / mu * (1 + 4 * Margin)
            : HdpVflCalibration.WithLattice(uploads * (1 + RowClip.Slack(p.Coordinates)) * (1 + 4 * Margin), mu, uploads * Math.Sqrt(p.Coordinates / (double)p.NoisyClients));
        return Of(p, sigma);
    }

    /// <summary>Finds the noise that keeps a budget against later observers of the model.</summary>
    /// <param name="parameters">The public numbers, a sampling rate among them.</param>
    /// <param name="epsilon">Privacy loss in nats, add/remove. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <returns>The smallest noise multiplier within 1e-3 of it that the accountant's upper bound allows.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2314: there is no sampling rate, or another number is out of range; FL2306: beyond the accountant.</exception>
    public static DeviceCalibration ForLaterObservers(DeviceParameters parameters, double epsilon, double delta)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        parameters.Validate();
        HdpVflCalibration.CheckBudget(epsilon, delta);
        if (parameters.SamplingRate is null)
            throw PrivacyErrors.Configuration(EmbeddingErrors.InvalidDevices, "sampling rate", "devices throw no coin, so that there is no figure for later observers.", "Calibrate for the server.");
        // Unsampled noise is enough, and the least noise that the accountant takes may be.
        double high = ForServer(parameters with { Participations = parameters.Rounds, Adjacency = Adjacency.ZeroOut, Masked = true }, epsilon, delta).NoiseMultiplier, low = high;
        while (low > 0.04 && Fits(low / 2))
            low /= 2;
        (low, high) = (low / 2, low);
        while (high - low > 1e-3 * high)
        {
            double middle = (low + high) / 2;
            (low, high) = Fits(middle) ? (low, middle) : (middle, high);
        }

        return Of(parameters, high);

        bool Fits(double sigma) => sigma >= 0.02 && Of(parameters, sigma).LaterEpsilon(delta) <= epsilon;
    }

    /// <summary>Both figures.</summary>
    /// <param name="delta">Probability, above 0 and below 1.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301: delta out of range; FL2306: beyond the accountant.</exception>
    public DeviceFigures Figures(double delta) => Figures(delta, later: true);

    /// <summary>Both figures, or the server's alone, which takes no time.</summary>
    internal DeviceFigures Figures(double delta, bool later)
    {
        double sums = ServerMuOf(Parameters, NoiseMultiplier, Sensitivity), each = sums * Math.Sqrt(Parameters.NoisyClients) * (1 + Margin);
        double server = Parameters.Masked ? sums : each;
        return new(delta, server, GaussianDp.Epsilon(server, delta), later ? LaterEpsilon(delta) : null,
            Parameters.Masked ? null : each / Math.Sqrt(Parameters.Uploads) * (1 + Margin));
    }

    /// <summary>Add/remove epsilon against observers of versions; null without a sampling rate.</summary>
    private double? LaterEpsilon(double delta) => Parameters.SamplingRate is not { } rate ? null
        : new PldAccountant(rate < 1 ? SampleVisibility.HiddenFromObserver : SampleVisibility.SeenByObserver,
            new SubsampledGaussian(rate, NoiseMultiplier / Sensitivity * (1 - Margin), Parameters.Rounds)).Epsilon(delta).Upper;

    private static double ServerMuOf(DeviceParameters p, double noiseMultiplier, double sensitivity) =>
        p.Kappa * Math.Sqrt(p.Uploads) * sensitivity / noiseMultiplier * (1 + Margin);
}
