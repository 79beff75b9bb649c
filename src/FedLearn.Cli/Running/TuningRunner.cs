using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Running;

/// <summary>What <c>train --cross-validate</c> is asked for.</summary>
/// <param name="Folds">Number of folds.</param>
/// <param name="Metric">Figure to compare candidates by; null for the family's usual one.</param>
/// <param name="Grid">Grid; null compares nothing and estimates the job as it is.</param>
internal sealed record TuningRequest(int Folds, string? Metric, string? Grid);

/// <summary>Trains every candidate on every fold in sessions of its own, then, in mode none, the best one on all training rows.</summary>
internal sealed class TuningRunner(GlmRunFile run, TuningRequest request, bool inProcess, Terminal terminal, CancellationToken cancellationToken) : IProgress<GlmTuningProgress>
{
    private const string NotTrained = "the chosen candidate was not trained to its end on all training rows: this report has no model";

    /// <summary>How long the tool may take after Ctrl+C: the parties end and settle what their runs cost, ledgers are read, and the table is written.</summary>
    public static readonly TimeSpan EndTime = WorkerProcess.StopGrace + TimeSpan.FromSeconds(20);

    private readonly bool _charges = run.Job.Privacy.Mode != PrivacyMode.None;
    private readonly IReadOnlyList<IReadOnlyList<RunFileSetting>> _grid = SettingGrid.Read(request.Grid);
    private readonly Dictionary<string, List<string>> _runs = run.Parties.ToDictionary(p => p.Name, _ => new List<string>());
    private readonly List<string> _notes = [];
    private TuningTotals? _totals;
    private string? _aligned;
    private WorkerPool? _workers;

    /// <summary>Runs all of it.</summary>
    /// <param name="model">Folder of the final model; null saves none.</param>
    /// <returns>The report of the final model; of a private job, which trains none, and of a tuning that was stopped or failed, that of the runs together. Either with the part <c>tuning</c>.</returns>
    /// <exception cref="FedLearnException">It failed before there was anything to tell.</exception>
    /// <exception cref="OperationCanceledException">It was stopped then.</exception>
    public async Task<JsonObject> RunAsync(string? model)
    {
        string metric = GlmTuner.Check(run.Job, new GlmTuningOptions { Folds = request.Folds, Metric = request.Metric });
        if (_charges && model is not null)
            throw new PrivacyRefusedException(TuningErrors.NoModelOfPrivateTuning, "--model", $"{GlmTuner.NotChosen}.", "Leave --model out.");
        (GlmRunFile? Run, FedLearnException? Error)[] candidates = [.. _grid.Select(Load)];
        if (_charges)
            Plan();

        using AlignedOnce? once = await AlignedOnce.RunAsync(run, inProcess, terminal.Log, cancellationToken).ConfigureAwait(false);
        _aligned = once?.Folder;
        // Not for the model at the end, whose report has the memory of its own training.
        using WorkerPool workers = new();
        _workers = workers;
        IReadOnlyList<GlmCandidateResult> results = await GlmTuner.ScoreAsync(candidates.Length, request.Folds, metric,
            (candidate, fold) => candidates[candidate] is { Error: { } error } ? throw error : ScoreAsync(candidates[candidate].Run!.On(fold), metric), this, HasTable).ConfigureAwait(false);
        // One error that all have says more than a table of it, unless runs ended or were paid for. A figure that some folds lack is no such error.
        if (results.All(r => r.Error is not null && r.Error.Id != GlmErrors.MetricUndefined))
            Failure = results[0].Error;
        if (Failure is not null && !HasTable())
            throw Failure;
        FedLearnException? end = results.FirstOrDefault(r => r.Error is { } error && !GlmTuner.IsOfCandidate(error.Id))?.Error;
        bool interrupted = results.Any(r => r.IsInterrupted), complete = end is null && !interrupted;
        Failure = interrupted ? new OperationCanceledException(cancellationToken) : end ?? Failure;
        int? chosen = complete ? GlmTuner.Choose(run.Job, results, metric) : null;
        if (model is not null && chosen is null)
            Failure ??= results.First(r => r.Error?.Id == GlmErrors.MetricUndefined).Error;
        JsonObject? document = null;
        if (chosen is { } best)
        {
            terminal.Log($"candidate {best + 1} of {_grid.Count}{Settings(best)} has the best mean {metric}: training it on all training rows");
            document = await FinalAsync(candidates[best].Run!, model).ConfigureAwait(false);
        }

        var tuning = new GlmTuning
        {
            Folds = request.Folds,
            Metric = metric,
            Candidates = results,
            Chosen = chosen,
            Costs = _charges ? [.. Parties.Select(Cost)] : [],
            Warnings = [.. GlmTuner.Warnings(run.Job), .. _notes, .. complete ? [] : (string[])[Partial(results, end)], .. chosen is not null && document is null ? (string[])[NotTrained] : [], .. Undefined(results, metric)],
        };
        document ??= (_totals ?? new TuningTotals(ReportParts.ReadBack(PartyDocument.OfNone(run)))).Document(run, tuning, party => Caveats(Parties.First(p => p.Name == party)));
        document["tuning"] = TuningDocument.Of(tuning, _grid, complete);
        // The report of a private tuning begins as that of its first run, with the same sentences.
        ReportParts.Union(document["warnings"]!.AsArray(), ReportParts.Texts(tuning.Warnings));
        return ReportParts.ReadBack(document);
    }

    /// <summary>Why no candidate was scored, not all of them were, or a model was not trained, once <see cref="RunAsync"/> has ended and the report of the runs is written: an error, or an
    /// <see cref="OperationCanceledException"/>; null where all went well.</summary>
    public Exception? Failure { get; private set; }

    /// <inheritdoc />
    public void Report(GlmTuningProgress value) =>
        terminal.Log($"candidate {value.Candidate + 1} of {value.Candidates}{Settings(value.Candidate)}, fold {value.Fold + 1} of {value.Folds}");

    private string Settings(int candidate) => _grid[candidate].Count == 0 ? "" : $" ({string.Join(", ", _grid[candidate].Select(s => $"{s.Key} {s.Text}"))})";

    private IEnumerable<GlmRunFileParty> Parties => run.Parties.OrderBy(p => p.Role);

    private (GlmRunFile? Run, FedLearnException? Error) Load(IReadOnlyList<RunFileSetting> settings)
    {
        try
        {
            GlmRunFile candidate = GlmRunFile.Load(run.Path, settings);
            if (settings.FirstOrDefault(s => candidate.Ignored.Contains(s.Key)) is { } ignored)
                throw new ConfigurationException(TuningErrors.GridKeyIgnored, "--grid", $"'{ignored.Key}' has no effect in this job, so that its candidates would be the same.", "Leave the key out.");
            return (candidate, null);
        }
        catch (FedLearnException e) when (GlmTuner.IsOfCandidate(e.Id) && e.Id != TuningErrors.GridKeyIgnored)
        {
            return (null, e);
        }
    }

    /// <summary>Says what all runs will cost at most, and refuses what a lifetime budget does not allow. Candidates cost the same: no key of a grid is a budget.</summary>
    private void Plan()
    {
        int runs = _grid.Count * request.Folds;
        PrivacyRefusedException? refusal = null;
        foreach (GlmRunFileParty party in Parties)
        {
            GlmTrainer trainer = GlmTasks.Trainer(new SessionOrder(run, GrpcRelay.Train), run, party, cancellationToken);
            double delta = DeltaOf(party.Name);
            terminal.Log(string.Create(CultureInfo.InvariantCulture,
                $"tuning of {_grid.Count} x {request.Folds} = {runs} runs costs '{party.Name}' at most epsilon {trainer.CostOfRuns(runs).Epsilon(delta):G4} at delta {delta:G4}"));
            try
            {
                trainer.PlanRuns(runs);
            }
            catch (PrivacyRefusedException e) when (e.Id == PrivacyErrors.BudgetSpent)
            {
                // Every party's cost is said first: whoever mends the plan needs all of them.
                refusal ??= e;
            }
        }

        if (refusal is not null)
            throw refusal;
        terminal.Log("a tuning keeps no states: one that is cut off begins anew when it is started again, and every run is then paid for again");
    }

    private IEnumerable<string> Undefined(IReadOnlyList<GlmCandidateResult> results, string metric)
    {
        if (GlmTuner.Undefined(results, request.Folds, metric) is not { } undefined)
            yield break;
        yield return undefined;
        if (!_charges && results.All(r => r.Mean is null))
            yield return $"no candidate has a mean {metric}: none was chosen, and no model trained";
    }

    private async Task<double?> ScoreAsync(GlmRunFile candidate, string metric)
    {
        foreach (List<string> runs in _runs.Values)
            runs.Add(PrivacyCharge.NewRunId());
        IReadOnlyList<JsonObject> documents = await SessionAsync(new SessionOrder(candidate, GrpcRelay.Train)
        {
            RunIds = _runs.ToDictionary(r => r.Key, r => r.Value[^1]),
            Workers = _workers,
        }).ConfigureAwait(false);
        JsonObject merged = ReportParts.ReadBack(PartyDocument.Merge(documents, 0));
        _notes.AddRange(merged["parties"]!.AsArray().SelectMany(p => p!["fold"]!["notes"]!.AsArray()).Select(w => (string)w!).Except(_notes));
        if (_totals is null)
            _totals = new TuningTotals(merged);
        else
            _totals.Add(merged);
        return (double?)merged["metrics"]!["test"]?[metric];
    }

    private Task<IReadOnlyList<JsonObject>> SessionAsync(SessionOrder order) => ProgressView.RunAsync(terminal, order.Parties[0], view =>
        SessionRunner.RunAsync(order with { Aligned = _aligned }, inProcess, view, terminal.Log, cancellationToken));

    private GlmTuningCost Cost(GlmRunFileParty party) => PartyState.Ledger(run, party) is { } ledger
        ? GlmTuningCost.Of(ledger, party.Name, _runs[party.Name], DeltaOf(party.Name)) : new(party.Name, 0, PrivacyTotal.Zero, DeltaOf(party.Name), 0);

    /// <summary>Whether there is something to tell: a run ended, or one that did not was paid for.</summary>
    private bool HasTable()
    {
        try
        {
            return _totals is not null || (_charges && Parties.Any(p => Cost(p).Total != PrivacyTotal.Zero));
        }
        catch (FedLearnException)
        {
            // A ledger that cannot be read. The error that ended the tuning says more.
            return false;
        }
    }

    /// <summary>Trains the best candidate on all training rows; null where that did not end, of which <see cref="Failure"/> then says why: the table is written all the same.</summary>
    private async Task<JsonObject?> FinalAsync(GlmRunFile candidate, string? model)
    {
        try
        {
            return PartyDocument.Merge(await SessionAsync(new SessionOrder(candidate, GrpcRelay.Train) { ModelDirectory = model }).ConfigureAwait(false), 0);
        }
        catch (Exception e) when (e is FedLearnException or OperationCanceledException)
        {
            Failure = e;
            return null;
        }
    }

    private string Partial(IReadOnlyList<GlmCandidateResult> results, FedLearnException? end) => string.Create(CultureInfo.InvariantCulture,
        $"the tuning {(end is null ? "was interrupted" : $"was ended by an error ({end.Id})")}: {results.Sum(r => r.Scores.Count)} of its {_grid.Count * request.Folds} runs ended, and the table is partial");

    // What runs of the tuning told is in its own claims.
    private IReadOnlyList<string>? Caveats(GlmRunFileParty party)
    {
        LedgerEntry[] entries = [.. PartyState.Ledger(run, party)?.Entries ?? []];
        bool IsOwn(LedgerEntry entry) => _runs[party.Name].Contains(entry.Charge.RunId);
        return entries.FirstOrDefault(IsOwn) is { } own ? IPrivacyLedger.Caveats(entries.Where(e => !IsOwn(e)), party.Name, own.Charge.DataSet) : null;
    }

    private double DeltaOf(string party) => (run.Job.Parties.First(p => p.Party.Name == party).Budget ?? run.Job.Privacy.Budget)!.Delta;
}
