using System.Text.Json.Serialization;
using FedLearn.Data;
using FedLearn.Experiments.HdpVfl;
using FedLearn.Glm;

namespace FedLearn.Experiments.Tables;

/// <summary>A data set of the tables.</summary>
/// <param name="Name">Name.</param>
/// <param name="Inputs">What the parties bring, the guest first: all of them, or with false the guest alone, on the rows that all have. A ledger in memory each.</param>
/// <param name="Split">Which rows are test rows.</param>
internal sealed record TableData(string Name, Func<bool, IReadOnlyList<GlmPartyInput>> Inputs, SplitRule Split);

/// <summary>One trained model.</summary>
/// <param name="Auc">Of the test rows.</param>
/// <param name="Accuracy">Of the test rows, a row being positive from probability 1/2 on.</param>
/// <param name="LogLoss">Of the test rows, nats a row.</param>
/// <param name="PredictsPositives">Whether any test row is predicted positive; if none is, the accuracy is the share of negatives.</param>
/// <param name="SecondsPerEpoch">Training seconds an epoch at the guest; one-round: of all of it.</param>
/// <param name="Bytes">Payloads that all parties and the arbiter sent, alignment and evaluation included.</param>
/// <param name="SetupSeconds">Seconds for keys and encoding the columns, of the slower party; null without encryption.</param>
/// <param name="Engine">What encrypts; null without encryption.</param>
/// <param name="ActualDelta">The delta that the noise reaches at its epsilon, where it is not the stated one (calibration paper).</param>
/// <param name="SecureNoise">Whether the noise came from the operating system's CSPRNG.</param>
internal sealed record TableRun(double Auc, double Accuracy, double LogLoss, bool PredictsPositives, double SecondsPerEpoch, long Bytes, double? SetupSeconds, string? Engine,
    double? ActualDelta, bool SecureNoise);

/// <summary>A row of the tables: a data set, a mode and an epsilon.</summary>
/// <param name="Data">Data set.</param>
/// <param name="Mode">Mode, with its calibration.</param>
/// <param name="Epsilon">Budget; null in modes without.</param>
/// <param name="Delta">Budget; null in modes without.</param>
/// <param name="Status"><c>ok</c>, <c>refused</c> or <c>skipped</c>.</param>
/// <param name="Note">Why it is refused or skipped; null otherwise.</param>
/// <param name="Runs">The models: one where nothing is random, else one a draw of noise.</param>
internal sealed record TableRow(string Data, string Mode, double? Epsilon, double? Delta, string Status, string? Note, IReadOnlyList<TableRun> Runs)
{
    /// <summary>Mean and deviation over the runs; null without any.</summary>
    public Summary? Auc => Of(r => r.Auc);

    /// <summary>Mean and deviation over the runs; null without any.</summary>
    public Summary? Accuracy => Of(r => r.Accuracy);

    /// <summary>Mean and deviation over the runs; null without any.</summary>
    public Summary? LogLoss => Of(r => r.LogLoss);

    /// <summary>Median over the runs.</summary>
    [JsonIgnore]
    public double? SecondsPerEpoch => Median(r => r.SecondsPerEpoch);

    /// <summary>Median over the runs.</summary>
    [JsonIgnore]
    public double? SetupSeconds => Median(r => r.SetupSeconds);

    private Summary? Of(Func<TableRun, double> figure) => Runs.Count == 0 ? null : Summary.Of(Runs.Select(figure));

    private double? Median(Func<TableRun, double?> figure)
    {
        double[] sorted = [.. Runs.Select(figure).OfType<double>().Order()];
        return sorted.Length == 0 ? null : (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
