using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Evaluation;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Transport.Grpc;
using static FedLearn.Cli.Running.ReportParts;

namespace FedLearn.Cli.Running;

/// <summary>The report of a training as one party can write it, and the report of all parties put together.</summary>
internal static class PartyDocument
{
    /// <summary>Report of one party: its own figures, and what every party knows of the job.</summary>
    /// <param name="run">The job.</param>
    /// <param name="self">The party.</param>
    /// <param name="result">What it achieved.</param>
    public static JsonObject Of(GlmRunFile run, GlmRunFileParty self, GlmPartyResult result)
    {
        GlmJob job = run.Job;
        JsonObject report = Begin(run.Notice);
        report["job"] = Job(run, result.JobDigest, Camel(result.StopReason.ToString()));
        if (result.Resumed.Count > 0)
            report["resumed"] = Resumed(result.Resumed);
        report["metrics"] = new JsonObject { ["train"] = Metrics(result.Train), ["test"] = Metrics(result.Test) };
        if (result.GuestOnly is { } alone)
            report["metrics"]!["guestOnly"] = new JsonObject { ["train"] = Metrics(alone.Train), ["test"] = Metrics(alone.Test) };
        report["intervals"] = new JsonObject { ["train"] = EvaluationDocument.Intervals(result.TrainEvaluation), ["test"] = EvaluationDocument.Intervals(result.TestEvaluation) };
        report["evaluation"] = EvaluationDocument.Of(result.TrainEvaluation, result.TestEvaluation);
        report["objective"] = Finite(result.Objective);
        if (job.Inference)
            report["inference"] = result.Inference is { } inference
                ? new JsonObject { ["dispersion"] = inference.Dispersion, ["degreesOfFreedom"] = inference.DegreesOfFreedom, ["penalised"] = inference.Penalised } : null;
        report["history"] = new JsonArray([.. result.History.Select(h => (JsonNode)new JsonObject
        {
            ["round"] = h.Round,
            ["loss"] = Finite(h.Loss),
            ["validation"] = Finite(h.Validation),
            ["epsilon"] = Finite(h.Epsilon),
            ["seconds"] = h.Seconds,
        })]);
        report["rows"] = new JsonObject { ["train"] = result.TrainRows, ["test"] = result.TestRows };
        report["timing"] = Timing(result.Timing);
        report["alignment"] = ReportParts.Alignment(result.Alignment, result.CommonRows, result.AlignmentLeaks, result.AlignmentWarnings);
        End(report, Party(result, job, self.Ledger, run.Transport), run.Active.Name, run.Ignored, [.. run.Warnings, .. result.Warnings]);
        return report;
    }

    /// <summary>The report of runs of which none ended, so that nothing is known but the job: no figure, nothing sent, no time.</summary>
    public static JsonObject OfNone(GlmRunFile run)
    {
        JsonObject report = Begin(run.Notice);
        report["job"] = Job(run, digest: null, stopReason: null);
        report["metrics"] = new JsonObject { ["train"] = null, ["test"] = null };
        report["history"] = new JsonArray();
        report["rows"] = new JsonObject { ["train"] = null, ["test"] = null };
        report["timing"] = Timing(new GlmTiming(0, 0, 0, 0, 0));
        report["alignment"] = ReportParts.Alignment(run.Job.Alignment, null, [], []);
        GlmRunFileParty[] parties = [.. run.Parties.OrderBy(p => p.Role)];
        End(report, Nothing(parties[0]), parties[0].Name, run.Ignored, run.Warnings);
        foreach (GlmRunFileParty party in parties.Skip(1))
            report["parties"]!.AsArray().Add((JsonNode)Nothing(party));
        return report;

        JsonObject Nothing(GlmRunFileParty self)
        {
            JsonObject party = ReportParts.Party(self.Name, self.Role, default, run.Transport);
            GlmPrivacyOptions options = run.Job.Privacy;
            party["timing"] = Timing(new GlmTiming(0, 0, 0, 0, 0));
            party["privacy"] = new JsonObject
            {
                ["mode"] = Words.Of(options.Mode),
                ["unit"] = Words.Of(options.Mode == PrivacyMode.LabelDp ? PrivacyUnit.Label : options.Unit),
                ["secureNoise"] = options.TestNoiseSeed is null,
                ["claims"] = Texts(options.TestNoiseSeed is null ? [] : [GlmClaims.TestNoiseNotice]),
                ["warnings"] = Texts(options.TestNoiseSeed is null ? [GlmClaims.ReportItself] : [GlmClaims.TestNoiseNotice, GlmClaims.ReportItself]),
            };
            party["model"] = new JsonObject { ["weightsSha256"] = null, ["features"] = null };
            party["releases"] = new JsonArray();
            party["fold"] = new JsonObject { ["notes"] = new JsonArray(), ["caveats"] = new JsonArray() };
            return party;
        }
    }

    /// <summary>The job and how its training ended.</summary>
    /// <param name="run">The job.</param>
    /// <param name="digest">Digest that every party's schema is part of; null where no session is the job's own.</param>
    /// <param name="stopReason">Why training ended; null where there was none.</param>
    internal static JsonObject Job(GlmRunFile run, string? digest, string? stopReason) => new()
    {
        ["name"] = run.Job.Name,
        ["digest"] = digest,
        ["termsDigest"] = run.Digest(GrpcRelay.Train),
        ["model"] = "glm",
        ["family"] = run.Job.Model.Family.Name,
        ["l2"] = run.Job.Model.L2,
        ["l1"] = run.Job.Model.L1,
        ["optimizer"] = run.Job.Privacy.Mode == PrivacyMode.OneRound ? "newton" : GlmPlan.OptimizerOf(run.Job).ToString().ToLowerInvariant(),
        ["epochs"] = GlmPlan.EpochsOf(run.Job),
        ["stepSize"] = GlmPlan.OptimizerOf(run.Job) == GlmOptimizer.Sgd && run.Job.Privacy.Mode != PrivacyMode.OneRound ? GlmPlan.StepSizeOf(run.Job) : null,
        ["stopReason"] = stopReason,
        ["transport"] = Word(run.Transport.Kind),
    };

    /// <summary>Report of the arbiter, which knows sizes and times alone.</summary>
    public static JsonObject OfArbiter(GlmRunFile run, SessionAgreement agreement, ArbiterResult result)
    {
        JsonObject report = Begin(run.Notice);
        report["job"] = new JsonObject { ["name"] = run.Job.Name, ["digest"] = Convert.ToHexStringLower(agreement.JobDigest.Span), ["termsDigest"] = run.Digest(GrpcRelay.Train) };
        report["arbiter"] = new JsonObject
        {
            ["role"] = "arbiter",
            ["hostedBy"] = result.Name,
            ["scheme"] = result.Scheme,
            ["engine"] = result.Engine,
            ["rounds"] = result.Rounds,
            ["computeSeconds"] = result.ComputeSeconds,
            ["engineSeconds"] = result.EngineSeconds,
            ["bytesSent"] = result.Traffic.BytesSent,
            ["bytesReceived"] = result.Traffic.BytesReceived,
            ["messagesSent"] = result.Traffic.MessagesSent,
            ["peakMemoryBytes"] = PeakMemory(),
            ["enginePeakMemoryBytes"] = EngineMemory.PeakBytes,
            ["sigma"] = result.Calibration?.Sigma,
            ["secureNoise"] = result.Calibration is null ? null : result.SecureNoise,
            ["transport"] = PartyTransport.Document(run.Transport),
            ["releases"] = Releases(result.Sent),
        };
        if (run.Transport.Party?.Warnings(result.Name).ToArray() is { Length: > 0 } warnings)
            report["warnings"] = Texts(warnings);
        return report;
    }

    /// <summary>One report from those of all parties: the active party's, with everybody's figures.</summary>
    /// <param name="documents">One report a party, the active party's first.</param>
    /// <param name="totalSeconds">Wall-clock seconds from reading the run file to the last result.</param>
    public static JsonObject Merge(IReadOnlyList<JsonObject> documents, double totalSeconds)
    {
        JsonObject merged = documents[0].DeepClone().AsObject();
        JsonArray parties = merged["parties"]!.AsArray(), warnings = merged["warnings"]!.AsArray();
        foreach (JsonObject other in documents.Skip(1))
        {
            if (other["arbiter"] is { } arbiter)
            {
                merged["roles"]!.AsArray().Add(arbiter.DeepClone());
                continue;
            }

            parties.Add(other["parties"]![0]!.DeepClone());
            ReportParts.AddAlignment(merged, other);
            Union(warnings, other["warnings"]!.AsArray());
        }

        if (DssmDocument.Combined(merged) is { } combined)
            merged["combinedPrivacy"] = combined;
        merged["timing"]!["totalSeconds"] = totalSeconds;
        return merged;
    }

    /// <summary>The report of one party, or of the arbiter, where no other is known.</summary>
    /// <param name="document">What the party says.</param>
    /// <param name="totalSeconds">As in <see cref="Merge"/>.</param>
    public static JsonObject Alone(JsonObject document, double totalSeconds)
    {
        if (document["arbiter"] is null)
            return Merge([document], totalSeconds);
        document["timing"] = new JsonObject { ["totalSeconds"] = totalSeconds };
        return document;
    }

    private static JsonObject Party(GlmPartyResult result, GlmJob job, RunFileLedger ledger, TransportSettings transport)
    {
        JsonObject party = ReportParts.Party(result.Party.Name, result.Party.Role, result.Traffic, transport);
        AddRows(party, result.OwnRows, result.CommonRows);
        party["timing"] = Timing(result.Timing);
        JsonObject privacy = Privacy(result.Privacy, job, result.Party.Name, ledger);
        // Every key in every mode, so that nobody who reads reports has to ask which there are.
        foreach (string key in PrivacyKeys)
            privacy.TryAdd(key, null);
        party["privacy"] = privacy;
        party["model"] = new JsonObject { ["weightsSha256"] = result.Model.WeightsSha256, ["features"] = result.Model.Features.FeatureNames.Count };
        party["encryption"] = result.Joint is not { } joint ? null : new JsonObject
        {
            ["engine"] = joint.Engine,
            ["setupSeconds"] = joint.SetupSeconds,
            ["engineSeconds"] = joint.EngineSeconds,
            ["enginePeakMemoryBytes"] = EngineMemory.PeakBytes,
        };
        party["releases"] = Releases(result.Sent);
        // Put into the report of all runs, and taken out of it before it is shown.
        if (job.Fold is not null)
            party["fold"] = new JsonObject { ["notes"] = Texts(result.FoldNotes), ["caveats"] = Texts(result.LedgerCaveats) };
        return party;
    }

    private static JsonArray Releases(IEnumerable<GlmSentMessages> sent) => ReportParts.Releases(sent.Select(r => (r.Name, r.Protection, r.To, r.Messages, r.Bytes, r.TellsOfColumnsOrWeights)));

    /// <summary>What <c>privacy</c> of a party holds in some mode, and is null in others.</summary>
    private static readonly string[] PrivacyKeys =
    [
        "deltaAsked", "actualDelta", "sigma", "sigmaCharged", "latticeSlack", "arithmeticSlack", "solverSlack", "schemeSlack", "gradientSigma", "gradientSigmaCharged", "evaluationSigma",
        "residualBound", "flipProbability", "labelSigma", "labelsReused", "labelCenter", "targetScale", "targetBound", "lambda", "scoreClip", "gradientClip",
    ];

    private static JsonObject Privacy(GlmPrivacyStatement statement, GlmJob job, string party, RunFileLedger ledger)
    {
        GlmPrivacyOptions options = job.Privacy;
        if (statement.OneRound is { } oneRound)
            return OneRound(statement, oneRound, ledger, (job.Parties.First(p => p.Party.Name == party).Budget ?? options.Budget)?.Delta ?? 0);
        if (statement.Joint is { } joint)
            return Joint(statement, joint, options, ledger);
        PartyCalibration? c = statement.Calibration;
        // The classical formula of calibration paper does not reach the delta asked for at large epsilon; delta is what the claim says.
        double? asked = statement.Budget?.Delta, delta = c?.ActualDelta > asked ? c.ActualDelta : asked;
        return new JsonObject
        {
            ["mode"] = Words.Of(statement.Mode),
            ["calibration"] = c is null ? null : Words.Of(options.Calibration),
            ["adjacency"] = c is null ? null : Words.Of(options.Adjacency),
            ["unit"] = c is null ? null : Words.Of(options.Unit),
            ["epsilon"] = statement.Budget?.Epsilon,
            ["delta"] = delta,
            ["mu"] = c?.Mu,
            ["sigma"] = c?.Sigma,
            ["sensitivity"] = c?.Sensitivity,
            ["ownTerm"] = c?.OwnTerm,
            ["driftTerm"] = c?.DriftTerm,
            ["latticeSlack"] = c?.LatticeSlack,
            ["sigmaCharged"] = c?.SigmaCharged,
            ["gradientSigma"] = c?.GradientSigma,
            ["gradientSigmaCharged"] = c?.GradientSigmaCharged,
            ["evaluationSigma"] = c?.EvaluationNoise?.Sigma,
            ["deltaAsked"] = c?.ActualDelta is null ? null : asked,
            ["actualDelta"] = c?.ActualDelta,
            ["secureNoise"] = c is null ? null : statement.SecureNoise,
            ["noise"] = c is null ? null : statement.SecureNoise ? CsprngNoise.AccuracyStatement : GlmClaims.TestNoiseNotice,
            ["ledger"] = statement.Spent is { } spent ? Ledger(spent, ledger, statement.Budget!.Delta) : null,
            ["claims"] = Texts(statement.Claims),
            ["warnings"] = Texts(statement.Warnings),
        };
    }

    private static JsonObject Joint(GlmPrivacyStatement statement, JointGradientCalibration c, GlmPrivacyOptions options, RunFileLedger ledger) => new()
    {
        ["mode"] = Words.Of(statement.Mode),
        ["calibration"] = null,
        ["adjacency"] = Words.Of(options.Adjacency),
        ["unit"] = "person",
        ["epsilon"] = statement.Budget?.Epsilon,
        ["delta"] = statement.Budget?.Delta,
        ["mu"] = c.Mu,
        ["sigma"] = c.Sigma,
        ["sensitivity"] = c.SensitivityCharged,
        ["ownTerm"] = c.Sensitivity,
        ["driftTerm"] = 0,
        ["schemeSlack"] = c.SchemeSlack,
        ["arithmeticSlack"] = c.ArithmeticSlack,
        ["latticeSlack"] = c.GridSlack,
        ["sigmaCharged"] = c.Sigma,
        ["residualBound"] = c.ResidualBound,
        ["secureNoise"] = statement.SecureNoise,
        ["noise"] = statement.SecureNoise ? "The arbiter adds it. " + CsprngNoise.AccuracyStatement : GlmClaims.TestNoiseNotice,
        ["ledger"] = statement.Spent is { } spent ? Ledger(spent, ledger, statement.Budget!.Delta) : null,
        ["claims"] = Texts(statement.Claims),
        ["warnings"] = Texts(statement.Warnings),
    };

    private static JsonObject OneRound(GlmPrivacyStatement statement, OneRoundStatement released, RunFileLedger ledger, double jobDelta)
    {
        OneRoundCalibration? c = released.Calibration;
        return new JsonObject
        {
            ["mode"] = Words.Of(statement.Mode),
            ["calibration"] = null,
            ["adjacency"] = Words.Of(Adjacency.ReplaceOne),
            ["unit"] = Words.Of(statement.Mode == PrivacyMode.LabelDp ? PrivacyUnit.Label : PrivacyUnit.Record),
            ["epsilon"] = statement.Budget?.Epsilon,
            ["delta"] = statement.Budget?.Delta,
            ["mu"] = c?.Mu ?? released.LabelMu,
            ["flipProbability"] = released.FlipProbability,
            ["labelSigma"] = released.LabelSigma,
            ["labelsReused"] = released.LabelsReused,
            ["labelCenter"] = Of(c?.Parameters, (p, m) => p.Columns[m].Center),
            ["targetScale"] = Of(c?.Parameters, (p, m) => p.Columns[m].Scale),
            ["targetBound"] = Of(c?.Parameters, (p, m) => p.Columns[m].TargetBound),
            ["lambda"] = Of(c?.Parameters, (p, m) => p.L2(m)),
            ["scoreClip"] = c?.Parameters.ScoreClip,
            ["gradientClip"] = c?.Parameters.GradientClip,
            ["sigma"] = c?.Sigma ?? released.LabelSensitivity / released.LabelMu,
            ["sensitivity"] = c?.Parameters.Sensitivity ?? released.LabelSensitivity,
            ["ownTerm"] = c?.Parameters.OwnTerm ?? released.LabelSensitivity,
            ["driftTerm"] = c?.Parameters.DriftTerm ?? (released.LabelSensitivity is null ? null : 0),
            ["solverSlack"] = c?.Parameters.SolverSlack,
            ["arithmeticSlack"] = c?.Parameters.ArithmeticSlack,
            ["latticeSlack"] = c?.LatticeSlack,
            ["sigmaCharged"] = c?.SigmaCharged ?? (released.LabelsReused is null ? null : released.LabelSigma),
            ["evaluationSigma"] = c?.WeightNoise?.Sigma,
            ["secureNoise"] = statement.SecureNoise,
            ["noise"] = !statement.SecureNoise ? GlmClaims.TestNoiseNotice : c is null && released.LabelSigma is null
                ? "Labels are randomised by comparing 64-bit words of the operating system's cryptographic random numbers with an exact threshold." : CsprngNoise.AccuracyStatement,
            // Randomised labels are pure. The sum of a ledger that also has Gaussian charges needs a delta, and the job has one.
            ["ledger"] = statement.Spent is { } spent ? Ledger(spent, ledger, spent.MuSquared > 0 ? Math.Max(statement.Budget!.Delta, jobDelta) : statement.Budget!.Delta) : null,
            ["claims"] = Texts(statement.Claims),
            ["warnings"] = Texts(statement.Warnings),
        };
    }

    /// <summary>A number of the only column of targets, or a list of one for each class.</summary>
    private static JsonNode? Of(OneRoundParameters? parameters, Func<OneRoundParameters, int, double> number) => parameters is null ? null
        : parameters.Columns.Count == 1 ? number(parameters, 0) : new JsonArray([.. parameters.Columns.Select((_, m) => (JsonNode)number(parameters, m))]);

    private static JsonObject Timing(GlmTiming timing) => new()
    {
        // Measured around all of the party's work, see SetTotal and Merge.
        ["totalSeconds"] = null,
        ["trainingSeconds"] = timing.Training,
        ["epochs"] = timing.Epochs,
        ["secondsPerEpoch"] = timing.PerEpoch,
        ["computeSeconds"] = timing.Compute,
        ["waitSeconds"] = timing.Wait,
        ["noiseSeconds"] = timing.Noise,
        ["syncSeconds"] = timing.Sync,
    };

    private static JsonObject? Metrics(MetricSet? metrics) => metrics is null ? null : ReportParts.Metrics(metrics.Named());

    private static string Camel(string name) => JsonNamingPolicy.CamelCase.ConvertName(name);
}
