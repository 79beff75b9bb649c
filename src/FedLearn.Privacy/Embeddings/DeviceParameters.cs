namespace FedLearn.Privacy;

/// <summary>The public numbers of a job over devices: rounds in which a server learns a sum of clipped, noisy updates. The unit is a device with all of its views and samples.</summary>
public sealed record DeviceParameters
{
    /// <summary>Bound C on the L2 norm of a device's whole update, all blocks together. Where V clients of one device upload by themselves, each clips to C/V, since blocks of
    /// one parameter add up.</summary>
    /// <value>From 1e-100 to 1e100.</value>
    public required double Clip { get; init; }

    /// <summary>Numbers d of an update.</summary>
    /// <value>At least 1.</value>
    public required long Coordinates { get; init; }

    /// <summary>Rounds T that end with a new version of the model.</summary>
    /// <value>At least 1.</value>
    public required int Rounds { get; init; }

    /// <summary>Threshold t: a round with fewer surviving clients is aborted, and nothing of it is opened.</summary>
    /// <value>At least 1.</value>
    public required int Threshold { get; init; }

    /// <summary>Clients c that are assumed to add no noise, or to tell theirs to the observer.</summary>
    /// <value>At least 0 and below <see cref="Threshold"/>. Default 0.</value>
    public int Colluders { get; init; }

    /// <summary>Most clients n whose updates are added in a round.</summary>
    /// <value>At least <see cref="Threshold"/>.</value>
    public required int MostClients { get; init; }

    /// <summary>Cap R on the uploads of a device over the job, aborted and repeated attempts included, which the device itself enforces.</summary>
    /// <value>At least 1. Null: as often as there are rounds, for the figures; a device that would upload more often must refuse.</value>
    public int? Participations { get; init; }

    /// <summary>Probability q with which each enrolled device enters a round by its own secret coin. Null: the server chooses, or cohorts have a fixed size, and sampling hides nothing.</summary>
    /// <value>Above 0 and at most 1.</value>
    public double? SamplingRate { get; init; }

    /// <summary>What the server's figure is for: zero-out (kappa = 1: an update becomes 0, or the device's noise alone) or replace-one (kappa = 2).</summary>
    public Adjacency Adjacency { get; init; } = Adjacency.ZeroOut;

    /// <summary>Whether updates are added under masks, so that the server sees sums only. Without, it sees each update with its client's share of the noise.</summary>
    public bool Masked { get; init; } = true;

    /// <summary>Step gamma of the lattice that all clients share, fixed before any data is touched. Null: the client's noise over 2^24.</summary>
    public double? Step { get; init; }

    /// <summary>Clients n_min = t - c whose noise an opened sum has at least.</summary>
    public int NoisyClients => Threshold - Colluders;

    internal int Kappa => Adjacency == Adjacency.ReplaceOne ? 2 : 1;

    internal int Uploads => Participations ?? Rounds;

    /// <summary>Refuses numbers that do not fit together.</summary>
    /// <exception cref="Diagnostics.ConfigurationException">FL2314: a number out of range; FL2304: a sampling rate that is none.</exception>
    public void Validate()
    {
        Check(Clip is >= 1e-100 and <= 1e100, "clip", "it is not between 1e-100 and 1e100");
        Check(Coordinates >= 1, "coordinates", "there is none");
        Check(Rounds >= 1, "rounds", "there is none");
        Check(Colluders >= 0, "colluders", "they are below 0");
        Check(Threshold >= 1 && Colluders < Threshold, "threshold", "it is not above the number of colluders, so that nobody's noise is left");
        Check(MostClients >= Threshold, "clients", "there are fewer than the threshold");
        Check(Participations is null or >= 1, "participations", "the cap is below 1");
        Check(Step is null || (double.IsNormal(Step.Value) && Step > 0), "step", "it is not a positive normal number");
        if (SamplingRate is { } rate && !(rate > 0 && rate <= 1))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidSamplingRate, "sampling rate", "it is not above 0 and at most 1.", "Give the probability with which a device enters a round.");
    }

    private static void Check(bool condition, string place, string fault)
    {
        if (!condition)
            throw PrivacyErrors.Configuration(EmbeddingErrors.InvalidDevices, place, $"{fault}.", "Mend the job.");
    }
}
