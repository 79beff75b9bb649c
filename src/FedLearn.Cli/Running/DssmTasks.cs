using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using FedLearn.Cli.Recommend;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Evaluation;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Running;

/// <summary>What a party of a recommendation model does.</summary>
internal static class DssmTasks
{
    /// <summary>What one party does.</summary>
    /// <param name="order">What all parties do.</param>
    /// <param name="run">The job.</param>
    /// <param name="party">The party.</param>
    /// <param name="progress">Told how far it is; null for nobody.</param>
    public static PartyTask Of(SessionOrder order, DssmRunFile run, string party, IProgress<JobProgress>? progress) => order.Verb switch
    {
        GrpcRelay.Train => Train(order, run, party, progress),
        GrpcRelay.Evaluate => Evaluate(order, run, party),
        _ => Recommend(order, run, party),
    };

    private static PartyTask Train(SessionOrder order, DssmRunFile run, string party, IProgress<JobProgress>? progress)
    {
        bool keepsRuns = order.KeepsRuns && run.Parties.Count > 1, fresh = order.Fresh;
        return new PartyTask(party, DssmJobTerms.Of(run.Job), stop =>
        {
            DssmRunFileParty self = run.Party(party);
            DssmPartyInput input = Input(order, run, self, stop) with
            {
                Ledger = PartyState.Ledger(run, self),
                RunId = order.RunIds.GetValueOrDefault(party),
                Runs = keepsRuns ? PartyState.Runs(run, self, progress) : null,
                Fresh = fresh,
                // Before the others are let go: once one of them has ended, every model is on its disk.
                SaveModel = order.ModelDirectory is { } directory ? model => Save(model, directory, party) : null,
                AlignmentProgress = Alignments.Progress(progress),
            };
            fresh = false; // a run that this process began is not forgotten when it loses a peer
            var trainer = new DssmTrainer(run.Job, input, TowerFactories.Default(run.Threads));
            return new ReadyParty(trainer.JoinRequest, async (agreement, channels, cancel) =>
            {
                DssmPartyResult result = await trainer.TrainAsync(agreement, channels, Epochs(progress, run.Job.Training.Epochs), cancel).ConfigureAwait(false);
                return DssmDocument.Of(run, self, result, DssmBaselineFigures.Of(input, result.Metrics, run.Job.Training.Seed, cancel));
            });
        })
        {
            KeepsRuns = keepsRuns && run.Job.Training.CheckpointRounds > 0,
        };
    }

    private static PartyTask Evaluate(SessionOrder order, DssmRunFile run, string party) => new(party, DssmJobTerms.Of(run.Job, "evaluate"), stop =>
    {
        DssmRunFileParty self = run.Party(party);
        DssmPartyInput input = Input(order, run, self, stop) with { Model = Load(order, party) };
        var inference = new DssmInference(run.Job, input, TowerFactories.Default(run.Threads), DssmPurpose.Evaluate);
        return new ReadyParty(inference.JoinRequest, async (agreement, channels, cancel) =>
        {
            DssmInferenceResult result = await inference.RunAsync(agreement, channels, cancel).ConfigureAwait(false);
            return DssmDocument.Of(run, self, input, result, DssmBaselineFigures.Of(input, result.Metrics, run.Job.Training.Seed, cancel));
        });
    });

    private static PartyTask Recommend(SessionOrder order, DssmRunFile run, string party) => new(party, TermsOf(run, order.TopK), stop =>
    {
        TopKRequest request = order.TopK;
        DssmRunFileParty self = run.Party(party);
        DssmPartyInput all = Input(order, run, self, stop) with { Model = Load(order, party) };
        DssmPartyInput input = all with { Interactions = all.Interactions is { } table && request.Users is { } users ? Of(table, ReadUsers(users)) : all.Interactions };
        var inference = new DssmInference(run.Job, input, TowerFactories.Default(run.Threads), DssmPurpose.Recommend, request.NewUsers);
        return new ReadyParty(inference.JoinRequest, async (agreement, channels, cancel) =>
        {
            DssmInferenceResult result = await inference.RunAsync(agreement, channels, cancel).ConfigureAwait(false);
            var document = new JsonObject { ["party"] = party, ["rows"] = null, ["note"] = null };
            if (result is { Items: { } items, Users: { } users })
                Write(document, run, items, users, (all.Interactions!, input.Interactions!), order.Output, request, cancel);
            document["alignment"] = DssmDocument.Alignment(run, result.SharedUsers);
            document["parties"] = new JsonArray(new JsonObject { ["name"] = party, ["role"] = Words.Of(self.Role), ["releases"] = DssmDocument.Releases(result.Sent) });
            document["warnings"] = ReportParts.Texts(Warnings(run, self, request));
            return document;
        });
    });

    /// <summary>What the parties must agree on before there are lists.</summary>
    internal static SessionTerms TermsOf(DssmRunFile run, TopKRequest request) => DssmJobTerms.Of(run.Job, "recommend", request.NewUsers);

    private static IEnumerable<string> Warnings(DssmRunFile run, DssmRunFileParty self, TopKRequest request)
    {
        if (self.Role != PartyRole.Active)
            yield return $"'{self.Name}' disclosed its vectors of these users to the active party{(request.NewUsers ? ", which may have no events of them" : "")}; no privacy claim covers them";
        else if (request.Vectors is not null && run.Job.Privacy is { IsPrivate: true, Claim: not EmbeddingClaim.Full })
            yield return "the items' vectors were exported: a disclosure that the claim of this job does not cover, since they were trained on events without claim full";
    }

    /// <summary>Reads what a party brings.</summary>
    private static DssmPartyInput Input(SessionOrder order, DssmRunFile run, DssmRunFileParty self, CancellationToken cancellationToken)
    {
        DssmData data = self.Data ?? throw new ConfigurationException(RunFileErrors.MissingKey, $"{run.Path}: parties, '{self.Name}'",
            "the party has no data.", "Give data in the run file, or in the party file of that party.");
        ITowerFactory? view = TowerFactories.OfModule(self.Tower), itemTower = TowerFactories.OfModule(self.ItemTower);
        TowerFactories.Try(TowerFactories.Default(run.Threads));
        DssmSchema? viewSchema = Schema(data.View), itemSchema = Schema(data.Items);
        ItemTable? items = data.Items is { } itemFile ? DssmFiles.ReadItems(itemFile.Path, itemSchema!, itemFile.DecimalMark, run.Job.Model.Precision, cancellationToken) : null;
        return new DssmPartyInput
        {
            Party = self.Name,
            Alignment = Alignments.Of(order, self),
            View = data.View is { } viewFile ? DssmFiles.ReadView(viewFile.Path, viewSchema!, viewFile.DecimalMark, run.Job.Model.Precision, cancellationToken) : null,
            Items = items,
            Interactions = data.Interactions is { } events && items is not null ? DssmFiles.ReadInteractions(events, items, cancellationToken) : null,
            SchemaFingerprint = SHA256.HashData([.. Fingerprint(viewSchema), .. Fingerprint(itemSchema)]),
            ViewTower = view,
            ItemTower = itemTower,
            Evaluation = new EvaluationOptions(),
        };
    }

    private static ReadOnlySpan<byte> Fingerprint(DssmSchema? schema) => schema is null ? default : schema.Fingerprint().Span;

    private static DssmSchema? Schema(DssmTableFile? table) => table?.Schema is { } schema ? DssmSchema.Load(schema) : null;

    // Beside one another, models of all kinds have the same names.
    private static string PathOf(string modelDirectory, string party) => Path.Combine(modelDirectory, GlmModel.FileName(party));

    private static DssmModel Load(SessionOrder order, string party) => DssmModel.Load(PathOf(order.ModelDirectory!, party));

    private static void Save(DssmModel model, string modelDirectory, string party) => OutputFile.Guard(modelDirectory, () =>
    {
        DurableFile.CreateFolder(modelDirectory);
        model.Save(PathOf(modelDirectory, party));
    });

    /// <summary>Ids of a file, one a line, within quotes where a CSV file needs them; empty lines and repetitions are left out.</summary>
    private static string[] ReadUsers(string path)
    {
        try
        {
            string[] users = [.. IdFile.Read(path, rows: null).Select(Unquoted).Where(id => id.Length > 0).Distinct(StringComparer.Ordinal)];
            return users.Length > 0 ? users : throw new ConfigurationException(RecommendErrors.Users, path, "the file names no user.", "Write one user id a line.");
        }
        catch (BadInputException e) when (e.Id == DataErrors.FileUnreadable)
        {
            throw new ConfigurationException(RecommendErrors.Users, path, "the file cannot be read.", "Check the path and its permissions.", e);
        }
        catch (BadInputException e) when (e.Id == DataErrors.NoRows)
        {
            throw new ConfigurationException(RecommendErrors.Users, path, "the file is empty, or is no file but a pipe or a device.", "Write one user id a line, to a file.", e);
        }
    }

    private static string Unquoted(string id) => id.Length > 1 && id[0] == '"' && id[^1] == '"' && id[1..^1].Replace("\"\"", "", StringComparison.Ordinal) is var rest && !rest.Contains('"', StringComparison.Ordinal)
        ? RowIds.Normalize(id[1..^1].Replace("\"\"", "\"", StringComparison.Ordinal)) : id;

    // A user without events stays: a view may know somebody whom the active party does not.
    private static InteractionTable Of(InteractionTable table, string[] users)
    {
        Dictionary<string, int> place = users.Select((id, i) => (id, i)).ToDictionary(u => u.id, u => u.i, StringComparer.Ordinal);
        int[] of = [.. table.Users.Select(id => place.GetValueOrDefault(id, -1))];
        return new InteractionTable(users, [.. table.Events.Where(e => of[e.User] >= 0).Select(e => e with { User = of[e.User] }).OrderBy(e => e.User).ThenBy(e => e.Moment)]);
    }

    private static void Write(JsonObject document, DssmRunFile run, ItemIndex items, UserVectors users, (InteractionTable All, InteractionTable Asked) tables, string? output,
        TopKRequest request, CancellationToken cancellationToken)
    {
        bool[] known = users.Known ?? [.. Enumerable.Repeat(true, users.Count)];
        HashSet<int>[] met = [.. tables.Asked.Users.Select(_ => new HashSet<int>())];
        if (!request.WithMet)
            foreach (Interaction e in tables.Asked.Events)
                met[e.User].Add(e.Item);
        // Counts of events are private: where events are protected, a user that no view knows gets no list rather than theirs.
        double[]? popularity = run.Job.Privacy.IsPrivate ? null : new double[items.Ids.Count];
        if (popularity is not null)
            foreach (Interaction e in tables.All.Events.Where(e => e.Role == EventRole.Train))
                popularity[e.Item]++;
        RankedItem[][] lists = items.TopK(users, request.K, met, popularity, cancellationToken);
        int unknown = known.Count(k => !k);
        if (output is not null)
            OutputFile.WriteCsv(output, Lines(tables.Asked.Users, items.Ids, lists, known));
        if (request.Vectors is { } prefix)
            OutputFile.Guard(prefix, () =>
            {
                Directory.CreateDirectory(Path.GetDirectoryName(prefix)!);
                ItemIndexFiles.Save(items, prefix);
            });
        document["rows"] = lists.Count(list => list.Length > 0);
        document["k"] = request.K;
        document["items"] = items.Ids.Count;
        document["modelVersion"] = items.ModelVersion;
        document["vectors"] = request.Vectors is null ? null : ReportParts.Texts(request.Exports);
        if (unknown > 0)
            document["note"] = popularity is null ? $"{unknown} of {lists.Length} {Counted.Noun(lists.Length, "user")} {Counted.Noun(unknown, "is", "are")} known to no view and got no list: in a private job the popularity of items is a release of its own"
                : $"{unknown} of {lists.Length} {Counted.Noun(lists.Length, "user")} {Counted.Noun(unknown, "is known to no view; the list has", "are known to no view; their lists are")} the most popular items";
    }

    private static IEnumerable<string[]> Lines(IReadOnlyList<string> users, IReadOnlyList<string> items, RankedItem[][] lists, bool[] known)
    {
        yield return ["user", "rank", "item", "score", "source"];
        for (int user = 0; user < lists.Length; user++)
            foreach ((int rank, RankedItem item) in lists[user].Index())
                yield return [users[user], (rank + 1).ToString(CultureInfo.InvariantCulture), items[item.Item], item.Score.ToString("R", CultureInfo.InvariantCulture), known[user] ? "model" : "popularity"];
    }

    private static SynchronousProgress<DssmProgress>? Epochs(IProgress<JobProgress>? progress, int epochs) => progress is null ? null : new SynchronousProgress<DssmProgress>(p => progress.Report(new JobProgress(p.Party, "epoch", p.Epoch, epochs, p.Loss)
    {
        Figures = p.Validation is { } validation ? [new("validation NDCG@10", validation)] : [],
    }));
}
