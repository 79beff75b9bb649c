using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Cli.Running;

/// <summary>The part <c>tuning</c> of a report.</summary>
internal static class TuningDocument
{
    /// <summary>Writes the part.</summary>
    /// <param name="tuning">The tuning.</param>
    /// <param name="grid">Settings of each candidate.</param>
    /// <param name="complete">Whether no run is missing but those of candidates that failed by themselves.</param>
    public static JsonObject Of(GlmTuning tuning, IReadOnlyList<IReadOnlyList<RunFileSetting>> grid, bool complete) => new()
    {
        ["folds"] = tuning.Folds,
        ["metric"] = tuning.Metric,
        ["complete"] = complete,
        ["candidates"] = new JsonArray([.. tuning.Candidates.Select((c, i) => (JsonNode)new JsonObject
        {
            ["settings"] = new JsonObject(grid[i].Select(s => new KeyValuePair<string, JsonNode?>(s.Key, JsonValue.Create(s.Value)))),
            ["metric"] = tuning.Metric,
            ["mean"] = c.Mean,
            ["deviation"] = c.Deviation,
            ["scores"] = new JsonArray([.. c.Scores.Select(s => double.IsNaN(s) ? null : (JsonNode)s)]),
            ["status"] = c.IsInterrupted ? "interrupted" : c.Error is null ? "ok" : c.Error.Id == GlmErrors.MetricUndefined ? "undefined" : "refused",
            ["error"] = c.Error is { } error ? new JsonObject { ["id"] = error.Id, ["message"] = error.Message } : null,
        })]),
        ["chosen"] = tuning.Chosen,
        ["cost"] = new JsonArray([.. tuning.Costs.Select(c => (JsonNode)new JsonObject { ["party"] = c.Party, ["epsilon"] = c.Epsilon, ["delta"] = c.Delta, ["runs"] = c.Runs })]),
    };
}

/// <summary>What all runs of a tuning that ended sent and took, as one report without a model.</summary>
/// <param name="first">Report of the first run that ended; <see cref="PartyDocument.OfNone"/> where none did.</param>
internal sealed class TuningTotals(JsonObject first)
{
    // Noise and bounds are each candidate's own.
    private static readonly string[] OfAllRuns = ["mode", "calibration", "adjacency", "unit", "epsilon", "delta", "secureNoise", "noise", "ledger", "claims", "warnings"];
    private static readonly string[] Traffic = ["bytesSent", "bytesReceived", "messagesSent"], Seconds = ["totalSeconds", "trainingSeconds", "epochs", "computeSeconds", "waitSeconds", "noiseSeconds", "syncSeconds"];

    /// <summary>Adds a later run.</summary>
    public void Add(JsonObject run)
    {
        Add(first["timing"]!, run["timing"]!, Seconds);
        foreach ((JsonNode? sum, JsonNode? party) in first["parties"]!.AsArray().Zip(run["parties"]!.AsArray()))
        {
            Add(sum!, party!, Traffic);
            Add(sum!["timing"]!, party!["timing"]!, Seconds);
            sum["peakMemoryBytes"] = Math.Max((long)sum["peakMemoryBytes"]!, (long)party["peakMemoryBytes"]!);
            // What the ledger says after the last run covers all of them.
            sum["privacy"]!["ledger"] = party["privacy"]!["ledger"]?.DeepClone();
            JsonArray releases = sum["releases"]!.AsArray();
            foreach (JsonNode? release in party["releases"]!.AsArray())
                if (releases.FirstOrDefault(r => Key(r!) == Key(release!)) is { } same)
                    Add(same, release!, "count", "bytes");
                else
                    releases.Add(release!.DeepClone());
        }
    }

    /// <summary>The report: no figure of a model, and claims about all runs together.</summary>
    /// <param name="run">The job.</param>
    /// <param name="tuning">What came of it.</param>
    /// <param name="caveats">What the ledger of a party does not tell of the runs before the tuning; null where no run of the tuning is in it.</param>
    public JsonObject Document(GlmRunFile run, GlmTuning tuning, Func<string, IReadOnlyList<string>?> caveats)
    {
        JsonObject document = first.DeepClone().AsObject();
        document["metrics"] = new JsonObject { ["train"] = null, ["test"] = null };
        document["intervals"] = document["evaluation"] = document["objective"] = null;
        document["history"] = new JsonArray();
        // What the first run had in place of the file's values is one candidate's own, and so is its digest.
        document["job"] = PartyDocument.Job(run, digest: null, stopReason: null);
        // Each training row of the job was trained on in some runs and tested on in the others.
        document["rows"] = new JsonObject { ["train"] = (int?)first["rows"]!["train"] + (int?)first["rows"]!["test"], ["test"] = null };
        PerEpoch(document["timing"]!);
        foreach (JsonNode? party in document["parties"]!.AsArray())
        {
            PerEpoch(party!["timing"]!);
            party["model"]!["weightsSha256"] = null;
            JsonObject privacy = party["privacy"]!.AsObject();
            foreach (string key in privacy.Select(p => p.Key).Except(OfAllRuns).ToArray())
                privacy.Remove(key);
            string name = (string)party["name"]!;
            IEnumerable<string> warnings = ReportParts.Strings(privacy["warnings"]);
            // To the ledger of the first run that ended, a candidate that failed before it is an earlier run.
            if (caveats(name) is { } before)
                warnings = [.. warnings.Except(ReportParts.Strings(party["fold"]!["caveats"])), .. before];
            party.AsObject().Remove("fold");
            // A party that was charged nothing is promised nothing: its sentences stay.
            if (tuning.Costs.FirstOrDefault(c => c.Party == name) is { } cost && cost.Total != PrivacyTotal.Zero)
            {
                double mu = Math.Sqrt(cost.Total.MuSquared);
                warnings = [.. warnings.Except(LargeEpsilon.Warnings((double?)privacy["epsilon"] ?? 0, MuOf(name))).Except([GlmClaims.ZeroOut]),
                    .. mu > 0 ? LargeEpsilon.Warnings(cost.Total.Epsilon(cost.Delta), mu) : []];
                // What a ledger adds up is for replacing a row: a charge of zero-out counts twice.
                (privacy["epsilon"], privacy["delta"], privacy["adjacency"]) = (cost.Epsilon, cost.Delta, ReportParts.Kebab(Adjacency.ReplaceOne));
                if (cost.Epsilon is not null)
                    privacy["claims"] = new JsonArray(Claim(run.Job, tuning, cost));
            }

            privacy["warnings"] = ReportParts.Texts(warnings.Distinct());
        }

        return document;
    }

    private static string Claim(GlmJob job, GlmTuning tuning, GlmTuningCost cost)
    {
        string scope = tuning.Warnings.Contains(GlmTuner.ScoresDisclosed) ? "training messages only; scores disclosed for every training row where it was tested on are outside this claim" : "training messages only";
        bool active = job.Parties.First(p => p.Party.Name == cost.Party).Party.Role == PartyRole.Active;
        string what = job.Privacy.Mode == PrivacyMode.LabelDp || job.Privacy.Unit == PrivacyUnit.Label ? "changing the label of one row, the features of every party being unprotected"
            : active && job.Privacy.Mode == PrivacyMode.OneRound ? "replacing one row of its table, of which only the label is ever sent"
            : "replacing one row of its table";
        string condition = job.Preprocessing!.Scaling is Scaling.Rounded or Scaling.Standardize ? "; conditional on scaling constants taken from the data" : "";
        // Labels are released once, by the first run that needs them.
        string plain = active && cost.Total.PureEpsilon > 0 ? OneRoundClaims.NearlyPlain(LabelRelease.ResponseOf(job)) : "";
        return string.Create(CultureInfo.InvariantCulture,
            $"{scope}: all messages of '{cost.Party}' in all runs of this tuning together are ({cost.Epsilon:R}, {cost.Delta:R})-differentially private for {what}, against all other parties together, the ids and the schedule being public{condition}{plain}");
    }

    private double MuOf(string party) => (double?)first["parties"]!.AsArray().First(p => (string)p!["name"]! == party)!["privacy"]!["mu"] ?? 0;

    private static void PerEpoch(JsonNode timing) => timing["secondsPerEpoch"] = (double)timing["epochs"]! == 0 ? 0 : (double)timing["trainingSeconds"]! / (double)timing["epochs"]!;

    private static string Key(JsonNode release) => $"{(string)release["name"]!}|{(string)release["protection"]!}|{(string)release["to"]!}";

    private static void Add(JsonNode sum, JsonNode more, params string[] keys)
    {
        foreach (string key in keys)
            sum[key] = (double)sum[key]! + (double)more[key]!;
    }
}
