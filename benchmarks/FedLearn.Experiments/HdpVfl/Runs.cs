using System.Diagnostics;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Experiments.HdpVfl;

/// <summary>One trained model.</summary>
/// <param name="Seed">Seed of the job: orders the rows.</param>
/// <param name="Accuracy">Of the test rows, a row being positive from probability 1/2 on.</param>
/// <param name="Auc">Of the test rows.</param>
/// <param name="SigmaActive">Deviation of the noise on every residual that left the guest; null without privacy.</param>
/// <param name="SigmaPassive">Deviation of the noise on every training score that left the host; null without privacy.</param>
/// <param name="ActualDelta">The delta that the calibration reaches at its epsilon, where it is not the stated one; see PartyCalibration.</param>
/// <param name="SecureNoise">Whether the noise came from the operating system's CSPRNG.</param>
/// <param name="Seconds">Of the whole job: alignment, preprocessing, training, evaluation.</param>
internal sealed record Outcome(long Seed, double Accuracy, double Auc, double? SigmaActive, double? SigmaPassive, double? ActualDelta, bool SecureNoise, double Seconds);

/// <summary>Trains the models that the verbs compare. Every one sees the same features: standardised columns, the constant 1 appended, the row
/// divided by its length.</summary>
internal static class Runs
{
    /// <summary>Budget of each party by itself, next to epsilon.</summary>
    public const double Delta = 1e-2;

    private static readonly GlmPartyOptions Guest = new() { Party = new PartyDescription("guest", PartyRole.Active) };
    private static readonly GlmPartyOptions Host = new() { Party = new PartyDescription("host", PartyRole.Passive) };
    private static readonly PreprocessingOptions Features = new() { Scaling = Scaling.Standardize, Rows = RowBound.Normalize, Constant = true };

    /// <summary>Logistic regression without privacy, to the optimum: of both parties, or of the active one alone.</summary>
    public static Task<Outcome> PlainAsync(VerticalData data, bool joint, double l2, CancellationToken cancellationToken) => TrainAsync(data, joint, new GlmJob
    {
        Name = "plain",
        Model = new GlmModelOptions { Family = GlmFamilies.Binomial, L2 = l2 },
        Training = new GlmTrainingOptions { Optimizer = GlmOptimizer.Lbfgs, Epochs = 2000 },
        Preprocessing = Features,
        Split = new SplitRule.FromFile(),
        Parties = joint ? [Guest, Host] : [Guest],
    }, cancellationToken);

    /// <summary>HDP-VFL, replace-one, with noise from the operating system's CSPRNG. The seed orders the rows, and so makes the batches.</summary>
    public static Task<Outcome> PrivateAsync(VerticalData data, Settings settings, Calibration calibration, double epsilon, long seed,
        CancellationToken cancellationToken) => TrainAsync(data, true, new GlmJob
        {
            Name = "hdp-vfl",
            Model = new GlmModelOptions { Family = GlmFamilies.Binomial, L2 = settings.L2 },
            Training = new GlmTrainingOptions
            {
                Epochs = settings.Epochs,
                BatchesPerEpoch = settings.Batches,
                StepSize = settings.StepSize,
                ResidualClip = settings.ResidualClip,
                WeightNorm = settings.WeightNorm,
                Seed = seed,
            },
            Privacy = new GlmPrivacyOptions
            {
                Mode = PrivacyMode.HdpVfl,
                Calibration = calibration,
                Budget = new PrivacyBudget(epsilon, Delta),
                Adjacency = Adjacency.ReplaceOne,
            },
            Preprocessing = Features,
            Split = new SplitRule.FromFile(),
            Parties = [Guest, Host],
        }, cancellationToken);

    /// <summary>The same, once a seed.</summary>
    public static async Task<Outcome[]> PrivateAsync(VerticalData data, Settings settings, Calibration calibration, double epsilon, IEnumerable<long> seeds,
        CancellationToken cancellationToken)
    {
        List<Outcome> outcomes = [];
        foreach (long seed in seeds)
            outcomes.Add(await PrivateAsync(data, settings, calibration, epsilon, seed, cancellationToken).ConfigureAwait(false));
        return [.. outcomes];
    }

    private static async Task<Outcome> TrainAsync(VerticalData data, bool joint, GlmJob job, CancellationToken cancellationToken)
    {
        long start = Stopwatch.GetTimestamp();
        IReadOnlyList<GlmPartyResult> parties = await LocalFederation.TrainAsync(job, data.Inputs(joint), cancellationToken: cancellationToken).ConfigureAwait(false);
        return new Outcome(job.Training.Seed, parties[0].Test!.Accuracy!.Value, parties[0].Test!.Auc!.Value,
            parties[0].Privacy.Calibration?.Sigma, parties[^1].Privacy.Calibration?.Sigma,
            parties[0].Privacy.Calibration?.ActualDelta, parties.All(p => p.Privacy.SecureNoise), Stopwatch.GetElapsedTime(start).TotalSeconds);
    }
}
