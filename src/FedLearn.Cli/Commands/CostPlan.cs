using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Storage.Sqlite;
using static System.FormattableString;

namespace FedLearn.Cli.Commands;

/// <summary>Predicted seconds and bytes of a job, and beside a private one of the same job in mode none.</summary>
internal static class CostPlan
{
    private static readonly JsonSerializerOptions Camel = new() { PropertyNamingPolicy = JsonNamingPolicy.CamelCase };

    /// <summary>How the parties are connected.</summary>
    /// <param name="Link">The line.</param>
    /// <param name="OneMachine">Whether they share a machine.</param>
    public sealed record Setting(GlmCostLink Link, bool OneMachine)
    {
        /// <summary>A line given means machines of their own, unless said otherwise.</summary>
        public static Setting Of(string? bandwidth, string? latency, bool? oneMachine)
        {
            double bits = bandwidth is null ? double.PositiveInfinity : Quantity("--bandwidth", bandwidth, "100Mbit/s", ("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3), ("bit/s", 1));
            double seconds = latency is null ? 0 : Quantity("--latency", latency, "20ms", ("ms", 1e-3), ("us", 1e-6), ("s", 1));
            if (!(bits > 0))
                throw new ConfigurationException(CliErrors.Usage, "--bandwidth", "it is not above 0.", "Give what the line carries, such as 100Mbit/s.");
            return new(new GlmCostLink(seconds, bits / 8), oneMachine ?? (bandwidth is null && latency is null));
        }

        private static double Quantity(string option, string text, string example, params (string Unit, double Size)[] units)
        {
            foreach ((string unit, double size) in units)
                if (text.EndsWith(unit, StringComparison.OrdinalIgnoreCase) && double.TryParse(text[..^unit.Length].Trim(), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value))
                    return value * size;
            throw new ConfigurationException(CliErrors.Usage, option, $"'{text}' is no number with one of the units {string.Join(", ", units.Select(u => u.Unit))}.", $"Write it like {example}.");
        }
    }

    /// <summary>Why the messages of a job are not known before it runs; null when they are.</summary>
    public static string? Unknown(GlmJob job) => GlmTraffic.Covers(job) ? null
        : job.Privacy.Mode is not (PrivacyMode.None or PrivacyMode.HdpVfl) ? "seconds and bytes are predicted for the modes none and hdp-vfl."
        : GlmPlan.OptimizerOf(job) != GlmOptimizer.Sgd ? "the number of iterations of this optimiser depends on the data; seconds and bytes are predicted for training.optimizer sgd."
        : job.Model.Family is MultinomialFamily { Classes: null } ? "the number of classes, model.classes, is not declared."
        : "early stopping and standard errors send messages whose number or size depends on the data.";

    /// <summary>The cost of a job.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="sizes">Its sizes.</param>
    /// <param name="rates">What the parts cost.</param>
    /// <param name="setting">How the parties are connected.</param>
    /// <param name="testRows">What kind of estimate the number of test rows is, as the end of a sentence; null where it is none.</param>
    /// <param name="note">What there is to know of the rates, as a sentence; null for nothing.</param>
    public static PrivacyPlan Of(GlmPlan plan, GlmCostSizes sizes, GlmCostRates rates, Setting setting, string? testRows, string? note = null)
    {
        var modes = new JsonArray();
        var document = new JsonObject
        {
            ["link"] = new JsonObject { ["latencySeconds"] = setting.Link.LatencySeconds, ["bytesPerSecond"] = double.IsFinite(setting.Link.BytesPerSecond) ? setting.Link.BytesPerSecond : null },
            ["machines"] = setting.OneMachine ? "one" : "each",
            ["rates"] = JsonSerializer.SerializeToNode(rates, Camel),
            ["note"] = note,
            ["outsideIsAnEstimate"] = testRows is not null,
            ["modes"] = modes,
        };
        List<string> lines =
        [
            "",
            Invariant($"cost of the training rounds, predicted from rates {rates.Source}; {(setting.OneMachine ? "all parties on one machine" : "each party on a machine of its own")}, {Line(setting.Link)}"),
            "  mode           seconds   an epoch    kernels     family      noise       sync   messages       line      start  processor",
        ];
        if (note is not null)
            lines.Insert(2, $"note: {note}");
        List<string> files = [], bytes = ["  mode       party              messages  message bytes    in frames  before and after, in frames"];
        foreach (GlmJob job in plan.Private ? (GlmJob[])[plan.Job, Plain(plan)] : [plan.Job])
        {
            string mode = job.Privacy.Mode == PrivacyMode.None ? "none" : "hdp-vfl";
            GlmCost cost;
            try
            {
                cost = GlmCost.Predict(job, sizes, rates, setting.Link, setting.OneMachine);
            }
            catch (PrivacyRefusedException refusal)
            {
                // Without noise there is no size either: the bits of a message follow from its noise.
                modes.Add(new JsonObject { ["mode"] = mode, ["refused"] = refusal.Id });
                lines.Add($"  {mode,-10} refused: {refusal.Id}, see docs/errors/{refusal.Id}.md");
                continue;
            }

            long[] outboxes = [.. cost.Traffic.Select(t => mode == "none" ? 0 : OutboxBytes(plan, t, cost.Rounds))];
            modes.Add(Describe(mode, cost, outboxes));
            GlmCostSeconds s = cost.Training;
            lines.Add($"  {mode,-10}" + string.Concat(((double[])[s.Total, cost.SecondsPerEpoch, s.Kernels, s.Family, s.Noise, s.Sync, s.Messages, s.Link, s.Start, cost.ProcessorSeconds]).Select(v => $"{Number(v),11}")));
            foreach (GlmPartyTraffic party in cost.Traffic)
                bytes.Add(Invariant($"  {mode,-10} {party.Party.Name,-16} {party.Rounds.Messages,10} {party.Rounds.MessageBytes,14} {party.Rounds.FrameBytes,12}  {(party.Preparation + party.Evaluation).FrameBytes,12}"));
            if (outboxes.Any(size => size > 0))
                files.Add($"outboxes beside the ledgers, while the job runs: at most {string.Join(", ", cost.Traffic.Zip(outboxes).Where(o => o.Second > 0).Select(o => $"{o.First.Party.Name} {Number(o.Second / 1e6)} MB"))}");
            if (cost.OutsideSeconds > 0.01)
                lines.Add(Invariant($"  {"",-10} and {Number(cost.OutsideSeconds)} s of messages before and after the rounds"));
        }

        lines.AddRange(bytes);
        lines.AddRange(files);
        string tables = sizes.TableRows is null ? " and tables without other rows" : "";
        lines.Add((testRows is not null ? Invariant($"bytes of the rounds are exact for these numbers of rows and columns, those before and after them for {sizes.TestRows} test {Counted.Noun(sizes.TestRows, "row")}, {testRows},{tables} an estimate; seconds")
            : Invariant($"bytes are exact for these numbers of rows and columns, with {sizes.TestRows} test {Counted.Noun(sizes.TestRows, "row")}{tables}; seconds")) + " are an estimate for machines that have nothing else to do. --measure takes the rates of this one.");
        return new(document, lines);
    }

    /// <summary>The same work without privacy.</summary>
    private static GlmJob Plain(GlmPlan plan) => plan.Job with
    {
        Privacy = new(),
        Training = plan.Job.Training with { Optimizer = GlmOptimizer.Sgd },
        Preprocessing = plan.PreprocessingOptions with { Constant = plan.Constant },
    };

    /// <summary>Most bytes of the file with the newest messages of a party that adds noise, in records of whole pages; 0 for another. As GlmTrainer bounds it: so many messages as a run that goes on may ask for.</summary>
    private static long OutboxBytes(GlmPlan plan, GlmPartyTraffic party, long rounds)
    {
        const int Page = 4096, Head = 64, Note = 512;
        if (!plan.Noises(party.Party.Role) || party.Rounds.Messages == 0)
            return 0;
        int interval = plan.Job.Training.CheckpointRounds;
        long messages = Math.Min(rounds, interval > 0 ? GlmTrainer.Reach(interval) : new SqliteLedgerOptions().OutboxMessages);
        long record = (party.Rounds.PayloadBytes / party.Rounds.Messages + Head + Note + Page - 1) / Page * Page;
        return Page + record * (messages + 1);
    }

    private static JsonObject Describe(string mode, GlmCost cost, long[] outboxes) => new()
    {
        ["mode"] = mode,
        ["rounds"] = cost.Rounds,
        ["trainingSeconds"] = cost.Training.Total,
        ["secondsPerEpoch"] = cost.SecondsPerEpoch,
        ["parts"] = new JsonObject
        {
            ["kernels"] = cost.Training.Kernels,
            ["family"] = cost.Training.Family,
            ["noise"] = cost.Training.Noise,
            ["sync"] = cost.Training.Sync,
            ["messages"] = cost.Training.Messages,
            ["line"] = cost.Training.Link,
            ["start"] = cost.Training.Start,
        },
        ["processorSeconds"] = cost.ProcessorSeconds,
        ["outsideSeconds"] = cost.OutsideSeconds,
        ["parties"] = new JsonArray([.. cost.Traffic.Select((t, i) => (JsonNode)new JsonObject
        {
            ["name"] = t.Party.Name,
            ["role"] = Words.Of(t.Party.Role),
            // The same as these keys are in the report of a run over gRPC.
            ["messagesSent"] = t.Total.Messages,
            ["bytesSent"] = t.Total.MessageBytes,
            ["rounds"] = Count(t.Rounds),
            ["outside"] = Count(t.Preparation + t.Evaluation),
            ["outboxBytes"] = outboxes[i],
        })]),
    };

    private static JsonObject Count(GlmTrafficCount count) => new()
    {
        ["messages"] = count.Messages,
        ["payloadBytes"] = count.PayloadBytes,
        ["messageBytes"] = count.MessageBytes,
        ["frameBytes"] = count.FrameBytes,
    };

    private static string Line(GlmCostLink link) => link == GlmCostLink.Loopback ? "no line between them"
        : Invariant($"a line of {(double.IsFinite(link.BytesPerSecond) ? Number(link.BytesPerSecond * 8e-6) + " Mbit/s" : "no limit")} and {Number(link.LatencySeconds * 1e3)} ms one way");

    private static string Number(double value) => value.ToString("G4", CultureInfo.InvariantCulture);
}
