using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Storage.Sqlite;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Running;

/// <summary>A row of the comparison and what became of it.</summary>
/// <param name="row">The row.</param>
internal sealed class CompareResult(CompareCase row)
{
    /// <summary>The row.</summary>
    public CompareCase Case { get; } = row;

    /// <summary>Its job; null where the job does not allow it.</summary>
    public GlmRunFile? Run { get; set; }

    /// <summary>Reports of its runs, each of all parties.</summary>
    public List<JsonObject> Reports { get; } = [];

    /// <summary>How many runs it was to have.</summary>
    public int Planned { get; set; }

    /// <summary>Why it has no figures, or why the last of its runs have none; null where nothing was refused.</summary>
    public FedLearnException? Error { get; private set; }

    /// <summary>Whether it lacks runs because the comparison was interrupted.</summary>
    public bool IsInterrupted { get; set; }

    /// <summary>Leaves out the runs that are still to come. The figures of those before, which a private row has paid for, stay.</summary>
    /// <param name="error">Why.</param>
    public void Refuse(FedLearnException error) => Error = error;
}

/// <summary>Trains a job in every way that is compared, each in sessions of its own, one after the other.</summary>
/// <param name="path">The run file.</param>
/// <param name="request">What to compare.</param>
/// <param name="inProcess">Whether all parties run in this process.</param>
/// <param name="terminal">For people.</param>
/// <param name="cancellationToken">Stops all.</param>
internal sealed class CompareRunner(string path, CompareRequest request, bool inProcess, Terminal terminal, CancellationToken cancellationToken)
{
    private const string Ledgers = "Every run of a private row charges the real ledger of each party, repeats included. The charges below are all of this comparison's together: "
        + "whoever publishes several rows has spent their sum, not the epsilon of one.";

    /// <summary>How long the tool may take after Ctrl+C: as a tuning.</summary>
    public static readonly TimeSpan EndTime = TuningRunner.EndTime;

    private readonly Dictionary<string, List<string>> _runIds = [];
    private string? _aligned;

    /// <summary>The job without privacy, whose files every row reads.</summary>
    /// <param name="path">The run file.</param>
    /// <exception cref="ConfigurationException">The job has faults that no row can do without, or is of another kind (FL2013).</exception>
    public static GlmRunFile Plain(string path) => RunFile.Load(path, new CompareCase("none").Settings([])).As<GlmRunFile>("compare");

    /// <summary>Whether the comparison was interrupted once there was something to tell.</summary>
    public bool IsInterrupted { get; private set; }

    /// <summary>Runs all rows.</summary>
    /// <returns>The document; of a comparison that was interrupted, with the runs that ended.</returns>
    /// <exception cref="ConfigurationException">The job has faults that no row can do without, or cannot be compared (FL2013, FL2500 to FL2502).</exception>
    /// <exception cref="BadInputException">A table cannot be used.</exception>
    /// <exception cref="FedLearnException">No row has figures: the error of the first.</exception>
    /// <exception cref="OperationCanceledException">It was interrupted before a run had ended or was paid for.</exception>
    public async Task<JsonObject> RunAsync()
    {
        GlmRunFile plain = Plain(path);
        JsonElement file = JsonFile.Read(path);
        double delta = request.Delta ?? CompareDocument.Number(file, "privacy", "delta") ?? throw new ConfigurationException(CompareErrors.NoDelta, $"{path}: privacy.delta",
            "the job has no delta, which every private row needs.", "Write it, or give --delta, such as 1e-5: well below 1 / number of rows.");
        Check(plain);
        (Table rows, bool declares) = CompareAlone.Read(plain, cancellationToken);
        (List<RunFileSetting> shared, List<string> notes) = Shared(file, declares);
        if (CompareDocument.At(file, "training", "stepSize") is null)
        {
            // By default it depends on the intercept, which rows without noise have another of.
            double step = GlmPlan.StepSizeOf(Load(new CompareCase("none"), shared).Job);
            shared.Add(new("training.stepSize", step.ToString("R", CultureInfo.InvariantCulture)));
            notes.Add(string.Create(CultureInfo.InvariantCulture, $"The job leaves training.stepSize out: every row has {step:G4}, the default of the row without privacy."));
        }

        CompareResult[] results = [.. CompareCase.All(request, delta, GlmPlan.EpochsOf(plain.Job), HeRun.HasNative).Select(row => Open(row, shared))];
        Plan(plain, results);
        int[] runs = [.. results.Select(r => r.Error is not null ? 0 : r.Planned)];
        int charged = results.Zip(runs).Where(r => r.First.Case.Epsilon is not null).Sum(r => r.Second);
        if (charged > 0)
            terminal.Log($"{charged} private {Counted.Noun(charged, "run charges", "runs charge")} the ledgers of the parties");
        using AlignedOnce? once = await AlignedOnce.RunAsync(plain, inProcess, terminal.Log, cancellationToken).ConfigureAwait(false);
        _aligned = once?.Folder;
        await CompareProgress.RunAsync(terminal, plain.Parties.First(p => p.Role == PartyRole.Active).Name, runs.Sum(), async progress =>
        {
            // Rows whose seconds are compared to a few percent take turns, so that what else the machine does falls on all of them.
            for (int turn = 0; turn < runs.DefaultIfEmpty(0).Max(); turn++)
                for (int i = 0; i < results.Length; i++)
                    if (results[i].Case.Repeats && turn < runs[i])
                        await RunAsync(results[i], rows, progress).ConfigureAwait(false);
            foreach (CompareResult result in results.Where(r => !r.Case.Repeats && r.Error is null))
                await RunAsync(result, rows, progress).ConfigureAwait(false);
            return true;
        }).ConfigureAwait(false);
        JsonObject ledger = Ledger(plain, delta);
        if (IsInterrupted)
        {
            if (results.All(r => r.Reports.Count == 0) && ledger["charges"]!.AsArray().All(c => (int)c!["runs"]! == 0))
                throw new OperationCanceledException(cancellationToken);
            foreach (CompareResult result in results.Where(r => r.Error is null && r.Reports.Count < r.Planned))
                result.IsInterrupted = true;
            notes.Add(string.Create(CultureInfo.InvariantCulture, $"The comparison was interrupted: {results.Sum(r => r.Reports.Count)} of its {runs.Sum()} {Counted.Noun(runs.Sum(), "run")} ended, and the table is partial."));
        }
        else if (results.All(r => r.Reports.Count == 0))
        {
            // One error that all have says more than a table of it.
            throw results[0].Error!;
        }

        notes.AddRange(results.Where(r => r.Case is { Mode: "none" or "he", Epochs: null }).SelectMany(ShortSteps).Distinct());
        if (!IsProcesses(plain))
            notes.Add("All parties ran in one process, whose peak memory cannot be told apart by row: it is not compared.");
        return CompareDocument.Of(plain, DigestAlone(), request, IsProcesses(plain), results, notes, ledger);
    }

    // Where parties have processes of their own, a peak is the row's; the tool's own process has one peak for all that it ever ran.
    private bool IsProcesses(GlmRunFile run) => run.Transport.Kind == TransportKind.Grpc && !inProcess;

    private GlmRunFile Load(CompareCase row, IEnumerable<RunFileSetting> shared) => RunFile.Load(path, row.Settings(shared)).As<GlmRunFile>("compare");

    private CompareResult Open(CompareCase row, IEnumerable<RunFileSetting> shared)
    {
        var result = new CompareResult(row) { Planned = row.Repeats ? request.Repeats : 1 };
        try
        {
            result.Run = Load(row, shared);
        }
        catch (FedLearnException e)
        {
            result.Refuse(e);
        }

        return result;
    }

    /// <summary>Refuses rows that a lifetime budget does not allow, and the comparison where it allows each of the others and not all of them: before anything is charged.</summary>
    /// <exception cref="PrivacyRefusedException">FL5020: the private runs together are over the budget of a party's ledger.</exception>
    private void Plan(GlmRunFile plain, CompareResult[] results)
    {
        var costs = new List<(GlmRunFileParty Party, DataSetIdentity People, CompareResult Result, PrivacyTotal Cost)>();
        foreach (GlmRunFileParty party in plain.Parties.Where(p => p.Ledger.Budget is not null))
        {
            Table table = GlmTasks.Input(plain, party, needLabel: party.Role == PartyRole.Active, cancellationToken).Table;
            DataSetIdentity people = GlmAccount.IdentityOf(table);
            foreach (CompareResult result in results.Where(r => r.Case.Epsilon is not null && r.Error is null))
                try
                {
                    GlmTrainer trainer = GlmTasks.Trainer(new SessionOrder(result.Run!, GrpcRelay.Train) { Door = NoDoor }, result.Run!, result.Run!.Party(party.Name), cancellationToken, table: table);
                    costs.Add((party, people, result, trainer.CostOfRuns(result.Planned)));
                }
                catch (FedLearnException e)
                {
                    result.Refuse(e);
                }
        }

        foreach (var ofParty in costs.Where(c => c.Result.Error is null).GroupBy(c => c.Party))
        {
            (GlmRunFileParty party, PrivacyBudget budget) = (ofParty.Key, ofParty.Key.Ledger.Budget!);
            PrivacyTotal sum = ofParty.Aggregate(PrivacyTotal.Zero, (all, c) => all + c.Cost);
            // As the ledger itself counts: what was spent on labels is never less.
            var ledger = new SqliteLedger(party.Ledger.Path);
            if (!(ledger.Spent(party.Name, ofParty.First().People, PrivacyUnit.Label) + sum).Fits(budget.Epsilon, budget.Delta))
                throw new PrivacyRefusedException(PrivacyErrors.BudgetSpent, party.Ledger.Path, string.Create(CultureInfo.InvariantCulture,
                    $"the private rows of the comparison, repeats included, cost up to epsilon {(budget.Delta > 0 || sum.MuSquared == 0 ? sum.Epsilon(budget.Delta) : double.PositiveInfinity):0.####} together at '{party.Name}', and would exceed the lifetime budget (epsilon {budget.Epsilon:R} at delta {budget.Delta:R}) of the people in the table."),
                    "Compare fewer or smaller --epsilons, or give --repeats 1; or raise the budget, which is a decision about these people and not about the software.");
        }
    }

    // Trainers that tell what they cost, and train nothing.
    private static Task<(IPartyChannel, IAsyncDisposable?)> NoDoor(JoinRequest request, CancellationToken stop) => throw new System.Diagnostics.UnreachableException();

    private static void Check(GlmRunFile plain)
    {
        if (plain.Parties.Count < 2)
            throw new ConfigurationException(CompareErrors.OneParty, $"{plain.Path}: parties", "the job has one party, which has nobody to send anything to.", "Add a passive party.");
        // In mode none budgets have no effect and are listed as such.
        if (plain.Ignored.FirstOrDefault(k => k.StartsWith("parties", StringComparison.Ordinal) && k.Contains(".privacy.", StringComparison.Ordinal)) is { } own)
            throw new ConfigurationException(CompareErrors.OwnBudget, $"{plain.Path}: {own}", "a party has a budget of its own, which would stand in for the epsilons to compare.",
                "Take parties[].privacy out of the file that is compared.");
    }

    /// <summary>What the steps of the job leave undone without any noise, in the plain row too; of standardised columns only a row under encryption can tell.</summary>
    private static IEnumerable<string> ShortSteps(CompareResult row)
    {
        if (row is not { Run: { } run, Reports: [JsonObject report, ..] })
            return [];
        GlmPlan plan = GlmPlan.Create(run.Job);
        return plan.ShortSteps(plan.Layout((int)report["rows"]!["train"]!));
    }

    /// <summary>What every row has, so that the rows differ in nothing but how they are protected.</summary>
    private static (List<RunFileSetting>, List<string> Notes) Shared(JsonElement file, bool declares)
    {
        var notes = new List<string>();
        var shared = new List<RunFileSetting>();
        bool Has(string key) => CompareDocument.At(file, "preprocessing", key) is not null;
        bool constant = CompareDocument.At(file, "preprocessing", "constant") is { ValueKind: JsonValueKind.True };
        if (!declares && !Has("scaling"))
        {
            notes.Add("The job leaves scaling out and a numeric field has no declared range: rows without noise standardise, and private rows are refused.");
            return (shared, notes);
        }

        bool off = CompareDocument.At(file, "model", "intercept") is { ValueKind: JsonValueKind.False };
        if (!Has("scaling"))
            shared.Add(new("preprocessing.scaling", "declared"));
        if (!Has("rows"))
            shared.Add(new("preprocessing.rows", "clip"));
        if (!Has("constant") && !off)
        {
            shared.Add(new("preprocessing.constant", "true"));
            constant = true;
        }

        if (shared.Count > 0)
            notes.Add($"The job leaves these keys out, and every row has the private default: {string.Join(", ", shared.Select(s => $"{s.Key} {s.Text}"))}.");
        if (constant)
            notes.Add("Rows without noise keep one free, unpenalised intercept at the active party beside the constant columns, as mode none has it.");
        return (shared, notes);
    }

    private async Task RunAsync(CompareResult result, Table rows, CompareProgress progress)
    {
        if (result.Error is not null || IsInterrupted)
        {
            // A later turn of a row that was refused in an earlier one, or of all of them.
            progress.Skip();
            return;
        }

        progress.Begin(result.Case, result.Reports.Count + 1, result.Case.Repeats ? request.Repeats : 1);
        try
        {
            JsonObject report = result.Case.Mode == "guest-only" ? await CompareAlone.TrainAsync(result.Run!, rows, progress, cancellationToken).ConfigureAwait(false)
                : PartyDocument.Merge(await SessionRunner.RunAsync(new SessionOrder(result.Run!, GrpcRelay.Train) { RunIds = RunIds(result), Aligned = _aligned }, inProcess, progress, terminal.Log, cancellationToken)
                    .ConfigureAwait(false), 0);
            result.Reports.Add(ReportParts.ReadBack(report));
        }
        catch (Exception e) when (e is FedLearnException or OperationCanceledException && cancellationToken.IsCancellationRequested)
        {
            IsInterrupted = true;
        }
        catch (FedLearnException e)
        {
            result.Refuse(e);
        }
    }

    private Dictionary<string, string> RunIds(CompareResult result)
    {
        if (result.Case.Epsilon is null)
            return [];
        Dictionary<string, string> ids = result.Run!.Parties.ToDictionary(p => p.Name, _ => PrivacyCharge.NewRunId());
        foreach ((string party, string id) in ids)
            (_runIds.TryGetValue(party, out List<string>? all) ? all : _runIds[party] = []).Add(id);
        return ids;
    }

    /// <summary>What the runs together cost each party, as its ledger has it. A private run that was refused, or was not begun, has cost nothing.</summary>
    private JsonObject Ledger(GlmRunFile run, double delta)
    {
        JsonArray charges = [.. run.Parties.OrderBy(p => p.Role).Where(p => _runIds.ContainsKey(p.Name) && File.Exists(p.Ledger.Path)).Select(p =>
        {
            GlmTuningCost cost = GlmTuningCost.Of(new SqliteLedger(p.Ledger.Path), p.Name, _runIds[p.Name], delta);
            return (JsonNode)new JsonObject { ["party"] = p.Name, ["epsilon"] = cost.Epsilon is { } e && double.IsFinite(e) ? e : null, ["delta"] = delta, ["runs"] = cost.Runs };
        })];
        return new() { ["note"] = charges.Any(c => (int)c!["runs"]! > 0) ? Ledgers : "Nothing was charged.", ["charges"] = charges };
    }

    /// <summary>Digest of the job as the file has it; null where it is no job by itself, without epsilon for instance.</summary>
    private string? DigestAlone()
    {
        try
        {
            return RunFile.Load(path).Digest(GrpcRelay.Train);
        }
        catch (FedLearnException)
        {
            return null;
        }
    }
}
