using System.Runtime.CompilerServices;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Experiments.Tables;

/// <summary>Trains the rows of the tables. One setting for all of them, so that rows compare: none of it was searched for.</summary>
internal static class TableRuns
{
    // Published (arXiv 2009.02763): bounds of 1 on a party's weights and on residuals.
    public const double WeightNorm = 1;
    public const double ResidualClip = 1;

    // 1/L of logistic loss on rows of length at most 1 at each of two parties: L = (1 + 1)/4.
    public const double StepSize = 2;
    public const int Epochs = 10;
    public const double L2 = .001;

    // Of the rows to the optimum: what every private report takes for the active party alone.
    public const double OptimumL2 = 1e-4;

    public const string None = "none", Guest = "guest-only", NoneOptimum = "none, to the optimum", GuestOptimum = "guest-only, to the optimum";

    private static readonly GlmPartyOptions[] Parties =
    [
        new() { Party = new PartyDescription("guest", PartyRole.Active) },
        new() { Party = new PartyDescription("host", PartyRole.Passive) },
    ];

    /// <summary>1e-5, and below 10,000 training rows 1/(10 n) rounded to one digit: a delta near 1/n allows a mechanism that publishes a row.</summary>
    /// <param name="trainRows">n, which is public.</param>
    public static double DeltaOf(int trainRows)
    {
        double tenth = .1 / trainRows, digit = Math.Pow(10, Math.Floor(Math.Log10(tenth)));
        return trainRows >= 10_000 ? 1e-5 : Math.Min(Math.Round(tenth / digit) * digit, 1e-2);
    }

    /// <summary>Trains every mode at every epsilon.</summary>
    /// <param name="data">The data set.</param>
    /// <param name="epsilons">Budgets of each party by itself; he+dp: of both together.</param>
    /// <param name="draws">Models of a row with noise, each with noise drawn afresh; at least 1.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>The rows, in the order of the table, as they are done.</returns>
    public static async IAsyncEnumerable<TableRow> MeasureAsync(TableData data, IReadOnlyList<double> epsilons, int draws, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        // Once more than is told, for the first run of a process also compiles.
        (TableRun _, int trainRows) = await TrainAsync(data, Job(data, PrivacyMode.None), cancellationToken).ConfigureAwait(false);
        double delta = DeltaOf(trainRows);
        GlmJob ToOptimum(GlmJob job) => job with { Model = job.Model with { L2 = OptimumL2 }, Training = new GlmTrainingOptions { Optimizer = GlmOptimizer.Lbfgs, Epochs = 2000 } };
        GlmJob Alone(GlmJob job) => job with { Parties = [Parties[0]] };
        GlmJob plain = Job(data, PrivacyMode.None);
        IEnumerable<(string Mode, double? Epsilon, GlmJob Job)> Private(string name, PrivacyMode mode, Calibration calibration = Calibration.Tight) =>
            epsilons.Select(e => (name, (double?)e, Job(data, mode, new PrivacyBudget(e, delta), calibration)));
        IEnumerable<(string Mode, double? Epsilon, GlmJob Job)> cases =
        [
            (None, null, plain), (NoneOptimum, null, ToOptimum(plain)), (Guest, null, Alone(plain)), (GuestOptimum, null, Alone(ToOptimum(plain))),
            .. Private("hdp-vfl, paper", PrivacyMode.HdpVfl, Calibration.Paper), .. Private("hdp-vfl, tight", PrivacyMode.HdpVfl),
            .. Private("hdp-vfl, weight-noise", PrivacyMode.HdpVfl, Calibration.WeightNoise), .. Private("one-round", PrivacyMode.OneRound),
            ("he", null, Job(data, PrivacyMode.He)), .. Private("he+dp", PrivacyMode.HeDp),
        ];
        foreach ((string mode, double? epsilon, GlmJob job) in cases)
        {
            var row = new TableRow(data.Name, mode, epsilon, epsilon is null ? null : delta, "ok", null, []);
            yield return await RowAsync(data, row, job, epsilon is null ? 1 : draws, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async Task<TableRow> RowAsync(TableData data, TableRow row, GlmJob job, int draws, CancellationToken cancellationToken)
    {
        List<TableRun> runs = [];
        try
        {
            for (int draw = 0; draw < draws; draw++)
                runs.Add((await TrainAsync(data, job, cancellationToken).ConfigureAwait(false)).Run);
            return row with { Runs = runs };
        }
        catch (InternalFailureException e) when (e.Id == HeErrors.SealMissing)
        {
            return row with { Status = "skipped", Note = $"{e.Id}: no engine of SEAL on this machine (eng/setup.sh he)" };
        }
        catch (FedLearnException e) when (e is PrivacyRefusedException or ConfigurationException)
        {
            return row with { Status = "refused", Note = $"{e.Id}: {e.Cause}" };
        }
    }

    private static async Task<(TableRun Run, int TrainRows)> TrainAsync(TableData data, GlmJob job, CancellationToken cancellationToken)
    {
        IReadOnlyList<GlmPartyInput> inputs = data.Inputs(job.Parties.Count > 1);
        PrivacyMode mode = job.Privacy.Mode;
        ArbiterResult? arbiter = null;
        IReadOnlyList<GlmPartyResult> parties;
        if (mode is PrivacyMode.He or PrivacyMode.HeDp)
            (parties, arbiter) = await HeFederation.TrainAsync(job, inputs, () => HeFederation.Ckks(mode), cancellationToken).ConfigureAwait(false);
        else
            parties = await LocalFederation.TrainAsync(job, inputs, cancellationToken: cancellationToken).ConfigureAwait(false);
        GlmPartyResult guest = parties[0];
        var run = new TableRun(guest.Test!.Auc!.Value, guest.Test.Accuracy!.Value, guest.Test.LogLoss!.Value, guest.Test.Precision is not null,
            mode == PrivacyMode.OneRound ? guest.Timing.Training : guest.Timing.PerEpoch,
            parties.Sum(p => p.Traffic.BytesSent) + (arbiter?.Traffic.BytesSent ?? 0), parties.Max(p => p.Joint?.SetupSeconds), guest.Joint?.Engine,
            guest.Privacy.Calibration?.ActualDelta, parties.All(p => p.Privacy.SecureNoise) && arbiter?.SecureNoise != false);
        return (run, guest.TrainRows);
    }

    private static GlmJob Job(TableData data, PrivacyMode mode, PrivacyBudget? budget = null, Calibration calibration = Calibration.Tight) => new()
    {
        Name = "tables",
        Model = new GlmModelOptions { Family = GlmFamilies.Binomial, L2 = L2 },
        // One-round fits locally to the optimum with bounds of its own, and takes none of these.
        Training = mode == PrivacyMode.OneRound ? new GlmTrainingOptions() : new GlmTrainingOptions
        {
            Optimizer = GlmOptimizer.Sgd,
            Epochs = Epochs,
            StepSize = StepSize,
            WeightNorm = WeightNorm,
            // Nothing can be clipped under encryption, where the bound on the weights bounds residuals.
            ResidualClip = mode is PrivacyMode.He or PrivacyMode.HeDp ? null : ResidualClip,
        },
        Privacy = new GlmPrivacyOptions { Mode = mode, Budget = budget, Calibration = calibration },
        Preprocessing = new PreprocessingOptions { Scaling = Scaling.Declared, Rows = RowBound.Clip, Constant = true },
        Split = data.Split,
        Parties = Parties,
    };
}
