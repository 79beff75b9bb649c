using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Dssm;
using FedLearn.Evaluation;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;
using static FedLearn.Cli.Running.ReportParts;

namespace FedLearn.Cli.Running;

/// <summary>The report of a recommendation job as one party can write it.</summary>
internal static class DssmDocument
{
    private static readonly (string Name, Func<DssmMetrics, RankingReport?> Of)[] Sets = [("test", m => m.Test), ("coldUsers", m => m.ColdUsers), ("coldItems", m => m.ColdItems)];

    private const string Samples = "every view learns of each training and evaluation sample that it exists, of which user and, unless the view is static, when; never of which item";

    /// <summary>Report of a training.</summary>
    /// <param name="run">The job.</param>
    /// <param name="self">The party.</param>
    /// <param name="result">What it achieved.</param>
    /// <param name="baselines">Figures of other recommenders on the same events.</param>
    public static JsonObject Of(DssmRunFile run, DssmRunFileParty self, DssmPartyResult result, IReadOnlyList<(string, DssmMetrics)> baselines)
    {
        JsonObject report = Begin(run, result.Model.Version);
        DssmHistoryPoint? kept = result.History.FirstOrDefault(h => h.Epoch == result.BestEpoch);
        report["job"]!["epochs"] = result.Timing.Epochs;
        report["job"]!["bestEpoch"] = result.BestEpoch;
        if (result.Resumed.Count > 0)
            report["resumed"] = Resumed(result.Resumed);
        Measure(report, result.Metrics, baselines, kept?.Loss, run.Job.Training.Seed);
        report["history"] = new JsonArray([.. result.History.Select(h => (JsonNode)new JsonObject
        {
            ["round"] = h.Epoch,
            ["epoch"] = h.Epoch,
            ["loss"] = Finite(h.Loss),
            ["validationNdcg10"] = Finite(h.Validation),
            ["seconds"] = h.Seconds,
        })]);
        DssmCounts counts = result.Counts;
        report["rows"] = new JsonObject
        {
            ["train"] = counts.Train,
            ["validation"] = counts.Validation,
            ["test"] = counts.Test,
            ["coldUsers"] = counts.ColdUsers,
            ["coldItems"] = counts.ColdItems,
            ["users"] = counts.Users,
            ["items"] = counts.Items,
        };
        report["timing"] = Timing(result.Timing);
        report["alignment"] = Alignment(run, result.SharedUsers, Samples);
        JsonObject party = Party(run, self, result.Traffic, result.Sent);
        AddRows(party, result.SharedUsers.Own, result.SharedUsers.Common);
        party["timing"] = Timing(result.Timing);
        party["privacy"] = Privacy(self, result.Privacy, run.Job.Privacy.IsPrivate);
        party["model"] = Model(result.Model);
        End(report, run, party, result.Warnings);
        return report;
    }

    /// <summary>Report of an evaluation.</summary>
    /// <param name="run">The job.</param>
    /// <param name="self">The party.</param>
    /// <param name="input">What it brought.</param>
    /// <param name="result">What came of it.</param>
    /// <param name="baselines">Figures of other recommenders on the same events.</param>
    public static JsonObject Of(DssmRunFile run, DssmRunFileParty self, DssmPartyInput input, DssmInferenceResult result, IReadOnlyList<(string, DssmMetrics)> baselines)
    {
        DssmModel model = input.Model!;
        JsonObject report = Begin(run, model.Version);
        Measure(report, result.Metrics, baselines, null, run.Job.Training.Seed);
        int? Events(EventRole role) => input.Interactions?.Events.Count(e => e.Role == role);
        report["rows"] = new JsonObject
        {
            ["train"] = Events(EventRole.Train),
            ["validation"] = Events(EventRole.Validation),
            ["test"] = Events(EventRole.Test),
            ["coldUsers"] = Events(EventRole.ColdUser),
            ["coldItems"] = Events(EventRole.ColdItem),
            ["users"] = input.Interactions?.Users.Count ?? input.View?.Users.Count,
            ["items"] = input.Items?.Ids.Count,
        };
        report["timing"] = Timing(new DssmTiming(0, 0, 0, 0, 0));
        report["alignment"] = Alignment(run, result.SharedUsers, Samples);
        JsonObject party = Party(run, self, result.Traffic, result.Sent);
        AddRows(party, result.SharedUsers.Own, result.SharedUsers.Common);
        party["privacy"] = new JsonObject
        {
            ["mode"] = run.Job.Privacy.IsPrivate ? "dp" : "none",
            ["epsilon"] = null,
            ["delta"] = null,
            ["claims"] = new JsonArray(),
            ["warnings"] = Texts(!run.Job.Privacy.IsPrivate ? [] : self.Role == PartyRole.Active ? [DssmClaims.ReportItself]
                : (string[])["this evaluation disclosed the party's vectors of the evaluated events once more; no claim of the training covers them"]),
        };
        party["model"] = Model(model);
        End(report, run, party, result.Warnings);
        return report;
    }

    private static JsonObject Begin(DssmRunFile run, string version)
    {
        DssmJob job = run.Job;
        JsonObject report = ReportParts.Begin(run.Notice);
        report["job"] = new JsonObject
        {
            ["name"] = job.Name,
            ["digest"] = run.Digest(GrpcRelay.Train),
            ["model"] = "dssm",
            ["modelVersion"] = version,
            ["fusion"] = Kebab(job.Model.Fusion),
            ["layers"] = string.Join('-', job.Model.Layers),
            ["gamma"] = job.Model.Gamma,
            ["loss"] = Words.Of(job.Model.Loss),
            ["negatives"] = job.Model.Loss == DssmLossKind.Sampled ? job.Model.Negatives : null,
            ["viewDropout"] = job.Model.ViewDropout,
            ["optimizer"] = Kebab(job.Training.Optimizer.Kind),
            ["epochs"] = job.Training.Epochs,
            ["transport"] = Word(run.Transport.Kind),
        };
        return report;
    }

    private static void Measure(JsonObject report, DssmMetrics? metrics, IReadOnlyList<(string Name, DssmMetrics Figures)> baselines, double? loss, long seed)
    {
        var figures = new JsonObject { ["train"] = loss is null ? null : new JsonObject { ["loss"] = Finite(loss) } };
        var intervals = new JsonObject { ["train"] = null };
        foreach ((string name, Func<DssmMetrics, RankingReport?> of) in Sets)
        {
            RankingReport? set = metrics is null ? null : of(metrics);
            figures[name] = Figures(set);
            intervals[name] = Intervals(set);
        }

        report["metrics"] = figures;
        report["intervals"] = intervals;
        report["baselines"] = new JsonObject(baselines.Select(b => KeyValuePair.Create(b.Name,
            (JsonNode?)new JsonObject(Sets.Select(set => KeyValuePair.Create(set.Name, (JsonNode?)Figures(set.Of(b.Figures))))))));
        var defaults = new EvaluationOptions();
        report["evaluation"] = metrics is null ? null : new JsonObject { ["level"] = defaults.Level, ["resamples"] = defaults.Resamples, ["seed"] = seed, ["train"] = null, ["test"] = null };
    }

    private static JsonObject? Figures(RankingReport? set)
    {
        if (set is null || set.Events == 0)
            return null;
        JsonObject figures = Metrics(set.Named());
        figures["events"] = set.Events;
        figures["users"] = set.Users;
        return figures;
    }

    private static JsonObject? Intervals(RankingReport? set) => set is null || set.Events == 0 || set.NamedIntervals() is not { Count: > 0 } ends ? null
        : new JsonObject(ends.Select(i => KeyValuePair.Create(i.Key, (JsonNode?)Interval(i.Value.Low, i.Value.High))));

    /// <summary>How the users that parties share were found, and what that told whom.</summary>
    /// <param name="run">The job.</param>
    /// <param name="users">Those users.</param>
    /// <param name="more">What else the session told.</param>
    internal static JsonObject Alignment(DssmRunFile run, SharedUsers users, params IEnumerable<string> more) => ReportParts.Alignment(run.Job.Alignment, users.Common,
        [.. users.Leaks, "every view learns which of its users the active party has, and the active party which of its users each view has", .. more], users.Warnings);

    /// <summary>What a party sent, by name and protection.</summary>
    internal static JsonArray Releases(IEnumerable<DssmSentMessages> sent) => ReportParts.Releases(sent.Select(r => (r.Name, r.Protection, r.To, r.Messages, r.Bytes, false)));

    private static JsonObject Party(DssmRunFile run, DssmRunFileParty self, ChannelStatistics traffic, IReadOnlyList<DssmSentMessages> releases)
    {
        JsonObject party = ReportParts.Party(self.Name, self.Role, traffic, run.Transport);
        party["releases"] = Releases(releases);
        return party;
    }

    private static JsonObject Model(DssmModel model) => new()
    {
        ["weightsSha256"] = model.WeightsSha256,
        ["features"] = model.View?.Spec.Inputs.Width,
        ["itemFeatures"] = model.Items?.Spec.Inputs.Width,
    };

    /// <summary>Unit and claim stand beside every epsilon: without them it says nothing.</summary>
    private static JsonObject Privacy(DssmRunFileParty self, DssmPrivacyStatement statement, bool isPrivate)
    {
        EmbeddingCalibration? c = statement.Calibration;
        string? claim = isPrivate ? Kebab(statement.Claim) : null;
        return new JsonObject
        {
            ["mode"] = isPrivate ? "dp" : "none",
            ["noisedMessages"] = isPrivate ? Kebab(statement.Noise) : null,
            ["claim"] = claim,
            ["unit"] = c is null ? null : Kebab(statement.Unit),
            ["adjacency"] = c is null ? null : Words.Of(Adjacency.ReplaceOne),
            ["epsilon"] = statement.Budget?.Epsilon,
            ["delta"] = statement.Budget?.Delta,
            ["mu"] = c?.Mu,
            ["rows"] = c?.Rows,
            ["clip"] = c?.Parameters.Clip,
            ["sensitivity"] = c is null ? null : 2 * c.Parameters.Clip,
            ["sigma"] = c?.Sigma,
            ["sigmaCharged"] = c?.SigmaCharged,
            ["evaluationSigma"] = c?.Parameters.ChargedEvaluation is null ? null : c.SigmaCharged,
            ["width"] = c?.Parameters.Width,
            ["epochs"] = c?.Parameters.Epochs,
            ["batchSize"] = c?.Parameters.BatchSize,
            ["historyEvents"] = c?.Parameters.HistoryEvents,
            ["maxSamplesPerUser"] = c?.Parameters.MaxSamplesPerUser,
            ["figures"] = new JsonArray([.. statement.Figures.Select(f => (JsonNode)new JsonObject
            {
                ["unit"] = Kebab(f.Unit),
                ["claim"] = claim,
                ["rows"] = f.Rows,
                ["mu"] = f.Mu,
                ["epsilon"] = Finite(f.Epsilon),
                ["delta"] = f.Delta,
            })]),
            ["parameterNoise"] = new JsonArray([.. (c?.GradientNoise ?? []).Select(g => (JsonNode)new JsonObject
            {
                ["group"] = g.Group.Name,
                ["clip"] = g.Group.Clip,
                ["coordinates"] = g.Group.Coordinates,
                ["tau"] = g.Tau,
                ["tauCharged"] = g.TauCharged,
            })]),
            ["secureNoise"] = c is null ? null : statement.SecureNoise,
            ["noise"] = c is null ? null : statement.SecureNoise ? CsprngNoise.AccuracyStatement : DssmRunFile.TestNoiseNotice,
            ["ledger"] = statement.Spent is { } spent && statement.Budget is { } budget ? Ledger(spent, self.Ledger, budget.Delta) : null,
            ["claims"] = Texts(statement.Claims),
            ["disclosures"] = Texts(statement.Disclosures),
            ["warnings"] = Texts(statement.Warnings),
        };
    }

    /// <summary>What the noise of several parties costs together for somebody whom all of them know: squares of mu add up. Null for fewer than two parties with noise.</summary>
    /// <param name="document">The report of all parties.</param>
    public static JsonArray? Combined(JsonObject document)
    {
        JsonObject[] noising = [.. ReportParts.Parties(document).Where(p => p["privacy"]!["figures"] is JsonArray { Count: > 0 })];
        if (noising.Length < 2)
            return null;
        EmbeddingFigure? Of(JsonObject party, EmbeddingUnit unit) => party["privacy"]!["figures"]!.AsArray().FirstOrDefault(f => (string)f!["unit"]! == Kebab(unit)) is { } f
            ? new(unit, (int?)f["rows"], (double?)f["mu"], (double?)f["epsilon"], (double)f["delta"]!) : null;
        var combined = new JsonArray();
        foreach (EmbeddingUnit unit in Enum.GetValues<EmbeddingUnit>())
        {
            (string Name, EmbeddingFigure Figure)[] figures = [.. noising.Select(p => ((string)p["name"]!, Of(p, unit)!)).Where(p => p.Item2?.Mu is not null)];
            if (figures.Length < 2)
                continue;
            EmbeddingFigure sum = EmbeddingFigure.Combined([.. figures.Select(f => f.Figure)], figures.Min(f => f.Figure.Delta));
            combined.Add(new JsonObject
            {
                ["unit"] = Kebab(unit),
                ["claim"] = (string?)noising[0]["privacy"]!["claim"],
                ["parties"] = Texts(figures.Select(f => f.Name)),
                ["mu"] = sum.Mu,
                ["epsilon"] = Finite(sum.Epsilon),
                ["delta"] = sum.Delta,
            });
        }

        return combined.Count > 0 ? combined : null;
    }

    private static JsonObject Timing(DssmTiming timing) => new()
    {
        // Measured around all of the party's work, see ReportParts.SetTotal and Merge.
        ["totalSeconds"] = null,
        ["trainingSeconds"] = timing.Training,
        ["epochs"] = timing.Epochs,
        ["secondsPerEpoch"] = timing.PerEpoch,
        ["computeSeconds"] = timing.Compute,
        ["waitSeconds"] = timing.Wait,
        ["noiseSeconds"] = timing.Noise,
    };

    private static void End(JsonObject report, DssmRunFile run, JsonObject party, IEnumerable<string> warnings) =>
        ReportParts.End(report, party, run.Active.Name, run.Ignored, [.. run.Warnings, .. warnings]);
}
