using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Evaluation;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Running;

/// <summary>What a party of a generalised linear model does.</summary>
internal static class GlmTasks
{
    /// <summary>Rows, and bytes of a file, that take longer than a moment.</summary>
    private const int ManyRows = 1_000_000, LargeFile = 500_000_000;

    private const string Disclosed = "the passive parties' scores of these rows were disclosed to the active party";

    /// <summary>What one party does to train.</summary>
    /// <param name="order">What all parties do.</param>
    /// <param name="run">The job.</param>
    /// <param name="party">The party.</param>
    /// <param name="progress">Told how far it is; null for nobody.</param>
    /// <param name="table">The party's rows; null: they are read.</param>
    public static PartyTask Train(SessionOrder order, GlmRunFile run, string party, IProgress<JobProgress>? progress, Table? table = null)
    {
        bool fresh = order.Fresh;
        return new PartyTask(party, GlmJobTerms.Of(run.Job), stop =>
        {
            GlmRunFileParty self = run.Party(party);
            GlmTrainer trainer = Trainer(order with { Fresh = fresh }, run, self, stop, progress, table);
            fresh = false; // a run that this process began is not forgotten when it loses a peer
            return new ReadyParty(trainer.JoinRequest, async (agreement, channels, cancel) =>
            {
                GlmPartyResult result = await trainer.TrainAsync(agreement, channels, Rounds(progress), cancel).ConfigureAwait(false);
                return PartyDocument.Of(run, self, result);
            });
        })
        {
            KeepsRuns = order.KeepsRuns && run.Job.Training.CheckpointRounds > 0 && !JointRules.Covers(run.Job.Privacy.Mode),
        };
    }

    /// <summary>What one party does to predict.</summary>
    /// <param name="order">What all parties do.</param>
    /// <param name="run">The job.</param>
    /// <param name="party">The party.</param>
    /// <param name="progress">Told how far it is; null for nobody.</param>
    public static PartyTask Predict(SessionOrder order, GlmRunFile run, string party, IProgress<JobProgress>? progress) => new(party, GlmJobTerms.Of(run.Job, GrpcRelay.Predict), stop =>
    {
        GlmRunFileParty self = run.Party(party);
        GlmPartyInput input = Input(run, self, needLabel: false, stop, progress) with { Alignment = Alignments.Of(order, self), AlignmentProgress = Alignments.Progress(progress) };
        var model = GlmModel.Load(order.ModelDirectory!, party);
        var predictor = new GlmPredictor(run.Job, input, model);
        // Columns of the same names can be scored, but other ranges or categories may be a mistake.
        string? note = model.HasSchemaOf(input.Table) ? null
            : $"{party}: the schema is not the one the model was trained with: the columns are the same, their order, types or declared ranges are not.";
        return new ReadyParty(predictor.JoinRequest, async (agreement, channels, cancel) =>
        {
            GlmPredictionResult result = await predictor.PredictAsync(agreement, channels, cancel).ConfigureAwait(false);
            if (result.Prediction is not null && order.Output is { } output)
                OutputFile.WriteCsv(output, Scores(input.Table, result.Prediction));
            string[] notes = [.. new[] { note, result.Prediction is null ? null : BeyondNumbers(result.Prediction) }.OfType<string>()];
            return new JsonObject
            {
                ["party"] = party,
                ["rows"] = result.Prediction?.Rows.Count,
                ["ownRows"] = result.Prediction is null ? null : result.OwnRows,
                ["note"] = notes.Length == 0 ? null : string.Join(" ", notes),
                ["alignment"] = ReportParts.Alignment(run.Job.Alignment, result.CommonRows, result.AlignmentLeaks, result.AlignmentWarnings),
                ["warnings"] = ReportParts.Texts([.. run.Job.Parties.Any(p => p.Party.Role == PartyRole.Passive) ? [Disclosed + OutsideClaims(run)] : (string[])[], .. result.Warnings]),
            };
        });
    });

    /// <summary>How scores that are disclosed stand to the claims of a private job; nothing of other jobs.</summary>
    internal static string OutsideClaims(GlmRunFile run) => !run.IsPrivate ? ""
        : run.Job.Privacy.Evaluation == EvaluationDisclosure.Charged ? "; no privacy claim covers what they tell of the rows that are scored" : "; no privacy claim covers them";

    /// <summary>Reads a party's data, unless its rows are given, and checks it against the job.</summary>
    internal static GlmTrainer Trainer(SessionOrder order, GlmRunFile run, GlmRunFileParty self, CancellationToken cancellationToken, IProgress<JobProgress>? progress = null, Table? table = null)
    {
        GlmTrainer? trainer = null;
        return trainer = new(run.Job, (table is null ? Input(run, self, needLabel: self.Role == PartyRole.Active, cancellationToken, progress)
            : new GlmPartyInput { Party = self.Name, Table = table, SplitFile = self.SplitPath ?? run.SplitPath }) with
        {
            Ledger = PartyState.Ledger(run, self),
            Alignment = Alignments.Of(order, self),
            AlignmentProgress = Alignments.Progress(progress),
            Stages = LongStages(progress),
            RunId = order.RunIds.GetValueOrDefault(self.Name),
            Runs = order.KeepsRuns ? PartyState.Runs(run, self, progress) : null,
            Fresh = order.Fresh,
            SaveModel = order.ModelDirectory is { } models ? model => OutputFile.Guard(models, () => model.Save(models)) : null,
            // A fold needs its figures, and no intervals of them.
            Evaluation = run.Job.Fold is null ? new EvaluationOptions() : new EvaluationOptions { Resamples = 0 },
            WarmStart = run.WarmStart is { } directory ? GlmModel.Load(directory, self.Name) : null,
            JointGradients = HeRun.Gradients(run, self.Name, order.Door, () => trainer!.JoinRequest),
        });
    }

    /// <summary>Reads what a party brings, and tells of files that take longer than a moment.</summary>
    internal static GlmPartyInput Input(GlmRunFile run, GlmRunFileParty self, bool needLabel, CancellationToken cancellationToken, IProgress<JobProgress>? progress = null)
    {
        TableSource data = run.DataOf(self);
        if (new FileInfo(data.Path) is { Exists: true, Length: >= LargeFile } file)
            progress?.Report(JobProgress.Stage(self.Name, string.Create(CultureInfo.InvariantCulture, $"reading {file.Name}, {file.Length / 1e6:N0} MB")));
        return new GlmPartyInput { Party = self.Name, Table = Table.Load(data, needLabel, cancellationToken), SplitFile = self.SplitPath ?? run.SplitPath };
    }

    /// <summary>Says how many predictions are no finite number; null where all are.</summary>
    private static string? BeyondNumbers(GlmPrediction prediction)
    {
        int n = prediction.Rows.Count, beyond = Enumerable.Range(0, n).Count(i => Enumerable.Range(0, prediction.Outputs).Any(m => !double.IsFinite(prediction.Means[m * n + i])));
        return beyond == 0 ? null : string.Create(CultureInfo.InvariantCulture,
            $"{beyond:N0} of {n:N0} predictions {Counted.Noun(beyond, "is", "are")} beyond what a number holds: look for cells of {Counted.Noun(beyond, "this row", "these rows")} that are far from those the model was trained on, and read {Counted.Noun(beyond, "its score", "their scores")} instead.");
    }

    /// <summary>Id, score and mean of each row; of several classes their probabilities, and the likeliest class.</summary>
    private static IEnumerable<string[]> Scores(Table table, GlmPrediction prediction)
    {
        int n = prediction.Rows.Count, classes = prediction.Outputs;
        string[] id = table.Schema.IdColumns.Count > 1 ? [.. table.Schema.IdColumns] : ["id"];
        yield return classes == 1 ? [.. id, "score", "prediction"] : [.. id, .. Enumerable.Range(0, classes).Select(m => $"p_{m}"), "prediction"];
        for (int i = 0; i < n; i++)
        {
            string[] own = table.Ids[prediction.Rows[i]].Split(RowIds.ColumnSeparator);
            double[] means = [.. Enumerable.Range(0, classes).Select(m => prediction.Means[m * n + i])];
            yield return classes == 1 ? [.. own, Text(prediction.Scores[i]), Text(means[0])]
                : [.. own, .. means.Select(Text), Array.IndexOf(means, means.Max()).ToString(CultureInfo.InvariantCulture)];
        }

        static string Text(double value) => value.ToString("R", CultureInfo.InvariantCulture);
    }

    /// <summary>Tells stages that take longer than a moment.</summary>
    internal static IProgress<GlmStageBegun>? LongStages(IProgress<JobProgress>? progress) => progress is null ? null : new SynchronousProgress<GlmStageBegun>(stage =>
    {
        if ((long)stage.Rows * stage.Outputs < ManyRows)
            return;
        string what = stage.Stage switch
        {
            GlmStage.Aligning => "finding the common rows among",
            GlmStage.Preparing => "preparing",
            _ => "measuring",
        };
        progress.Report(JobProgress.Stage(stage.Party, string.Create(CultureInfo.InvariantCulture,
            $"{what} {stage.Rows:N0} {Counted.Noun(stage.Rows, "row")}{(stage.Outputs > 1 ? string.Create(CultureInfo.InvariantCulture, $" of {stage.Outputs:N0} classes") : "")}")));
    });

    private static SynchronousProgress<GlmProgress>? Rounds(IProgress<JobProgress>? progress) => progress is null ? null : new SynchronousProgress<GlmProgress>(p => progress.Report(new JobProgress(p.Party, "round", p.Round, p.Rounds, p.Loss)
    {
        Figures = p.Epsilon is { } epsilon ? [new("epsilon", epsilon)] : [],
    }));
}
