using FedLearn.Aggregation;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>What a device uploads.</summary>
public enum DeviceAlgorithm
{
    /// <summary>The gradient at the server's model, summed over the device's samples (FedSGD).</summary>
    FedSgd = 0,

    /// <summary>What several local steps change: N_c (w_0 - w_K)/rate, N_c being the device's samples (FedAvg, McMahan et al. 2017). With one step it is FedSGD, and
    /// a server that steps by SGD at the local rate takes the weighted mean of the devices' models.</summary>
    FedAvg = 1,
}

/// <summary>Which sub-models are federated.</summary>
public enum DeviceAggregation
{
    /// <summary>The item model and one user model a view.</summary>
    ItemAndUser = 0,

    /// <summary>The item model alone: user models stay with their device and view, which train them by local steps. No text of SEMI-FL-MV-DSSM is known to us; this is our
    /// definition of it.</summary>
    ItemOnly = 1,
}

/// <summary>Which of the two figures a budget is for; both are always stated.</summary>
public enum DeviceObserver
{
    /// <summary>The server, other views of the device, and devices that see the roster: sampling hides nothing from them.</summary>
    Server = 0,

    /// <summary>Those who see versions of the model only, and no roster: Poisson sampling by the devices' own coins amplifies.</summary>
    Later = 1,
}

/// <summary>A view of a device.</summary>
/// <param name="Name">Its name, unique in the job.</param>
/// <param name="Inputs">What a row of it has.</param>
public sealed record DeviceView(string Name, TowerInputs Inputs);

/// <summary>The rounds.</summary>
public sealed record DeviceTrainingOptions
{
    /// <summary>Rounds T: versions of the model after the first.</summary>
    /// <value>At least 1. Default 60.</value>
    public int Rounds { get; init; } = 60;

    /// <summary>Probability q with which a device takes part in an attempt, by its own coin.</summary>
    /// <value>Above 0, at most 1. Default 0.1.</value>
    public double Participation { get; init; } = 0.1;

    /// <summary>What a device uploads.</summary>
    public DeviceAlgorithm Algorithm { get; init; }

    /// <summary>Local steps K of FedAvg, each over all samples of the device with fresh negatives; steps of user models that stay at the device.</summary>
    /// <value>At least 1. Default 1.</value>
    public int LocalSteps { get; init; } = 1;

    /// <summary>Rate of local steps, on the mean over the device's samples.</summary>
    /// <value>Finite, above 0. Default 0.1.</value>
    public double LocalRate { get; init; } = 0.1;

    /// <summary>Optimiser of the server.</summary>
    /// <value>Default Adam, 0.002; for FedAvg other optimisers than SGD are FedOpt (Reddi et al. 2021).</value>
    public TowerOptimizer ServerOptimizer { get; init; } = new();

    /// <summary>Which sub-models are federated.</summary>
    public DeviceAggregation Aggregate { get; init; }

    /// <summary>Attempts of one round before the job ends.</summary>
    /// <value>At least 1. Default 3.</value>
    public int AttemptsPerRound { get; init; } = 3;

    /// <summary>Seed of starting values, negatives and, in mode none, coins. Not secret.</summary>
    public long Seed { get; init; }
}

/// <summary>What protects the devices.</summary>
public sealed record DevicePrivacyOptions
{
    /// <summary>Bound C on the L2 norm of a device's whole update, all views and items together. Declared, never taken from data.</summary>
    /// <value>Finite, above 0; null: no clipping, mode none only.</value>
    public double? Clip { get; init; }

    /// <summary>Whether each view's part is clipped to C/V by itself: where no trusted code on the device sees all views, their bounds add up to C. Fusion late.</summary>
    public bool ClipPerView { get; init; }

    /// <summary>Deviation of the noise of a round's sum for each unit of C.</summary>
    /// <value>Finite, above 0; null: from <see cref="Budget"/>, or none.</value>
    public double? NoiseMultiplier { get; init; }

    /// <summary>Budget of a device over the whole job, against <see cref="BudgetAgainst"/>; sets the noise where no multiplier does. Kept with masks and without: against the server, masks
    /// off takes sqrt(t - c) times the noise.</summary>
    public PrivacyBudget? Budget { get; init; }

    /// <summary>Observer that the budget is for.</summary>
    public DeviceObserver BudgetAgainst { get; init; }

    /// <summary>Delta of the figures that are stated, where no budget gives one.</summary>
    /// <value>Above 0, below 0.1. Default 1e-5.</value>
    public double Delta { get; init; } = 1e-5;

    /// <summary>What happens to a device between neighbours: it is zeroed out (kappa 1) or replaced (kappa 2). Later observers: added or removed.</summary>
    /// <value>Default <see cref="Adjacency.ZeroOut"/>.</value>
    public Adjacency Adjacency { get; init; } = Adjacency.ZeroOut;

    /// <summary>Most participations R of a device, attempts that came to nothing included; the device itself refuses more.</summary>
    /// <value>At least 1; required in private modes.</value>
    public int? MaxParticipations { get; init; }

    /// <summary>Threshold t: survivors below which an attempt is given up.</summary>
    /// <value>At least 2 under masks or noise; null: 1 in mode none without masks, else an error.</value>
    public int? Threshold { get; init; }

    /// <summary>Clients c of a round that are assumed to collude with the server or to add no noise.</summary>
    /// <value>At least 0 and below the threshold. Default 0.</value>
    public int Colluders { get; init; }

    /// <summary>Whether updates are added under masks.</summary>
    /// <value>Default true.</value>
    public bool SecureAggregation { get; init; } = true;

    /// <summary>Who the server is thought to be.</summary>
    public ServerTrust Server { get; init; }

    /// <summary>Seed of test noise and test coins, which protect nothing; null: secure ones.</summary>
    public long? TestNoiseSeed { get; init; }

    /// <summary>Whether updates are noised.</summary>
    public bool IsPrivate => NoiseMultiplier is not null || Budget is not null;
}

/// <summary>What the devices and the server of a recommendation job agree on: horizontal over users, several views a device (arXiv 2008.10808).</summary>
public sealed record DeviceJob
{
    /// <summary>Most clients of one attempt under masks: each exchanges keys with every other.</summary>
    public const int MaskedClients = 128;

    /// <summary>Name.</summary>
    public required string Name { get; init; }

    /// <summary>Model: fusion late or sum; loss sampled with uniform negatives, or full. What needs an active party (concat, learned weights, item bias) or other devices
    /// (in-batch) is refused, and so is dropout of hidden layers; view dropout is possible.</summary>
    public DssmModelOptions Model { get; init; } = new() { Fusion = DssmFusion.Late };

    /// <summary>The views, in the order of their blocks.</summary>
    public required IReadOnlyList<DeviceView> Views { get; init; }

    /// <summary>The items. Their content is public: every device has it.</summary>
    public required ItemTable Items { get; init; }

    /// <summary>Enrolled devices N: with q it is the divisor of a private sum.</summary>
    /// <value>At least 1.</value>
    public required int Devices { get; init; }

    /// <summary>The rounds.</summary>
    public DeviceTrainingOptions Training { get; init; } = new();

    /// <summary>Privacy.</summary>
    public DevicePrivacyOptions Privacy { get; init; } = new();
}
