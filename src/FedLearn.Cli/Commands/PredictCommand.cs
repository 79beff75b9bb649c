using System.CommandLine;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn predict: federated batch prediction, all parties on this machine.</summary>
internal static class PredictCommand
{
    public static Verb Create() => new("predict", """
            Score the rows that all parties have. score is the sum of the parties' linear predictors. prediction is the mean of the
            label: a probability (binomial), a count (Poisson) or an amount (the others). For classes (multinomial) each class has
            a probability, and prediction is the likeliest class. For a recommendation job, the file has the lists of 10 items for
            every user, as recommend topk makes them.

            The active party sees the passive parties' scores of these rows. No privacy claim of the training covers them. A private
            or encrypted job whose privacy.evaluation is none is refused (FL5120).

            Example:
              fedlearn predict --config job.json --model models --out scores.csv
            """, static command =>
    {
        Option<string> config = Options.Config("Run file of the training, its data paths naming the rows to score.");
        var model = new Option<string>("--model") { Description = "Directory with every party's part of the model.", Required = true, HelpName = "DIR" };
        var output = new Option<string>("--out") { Description = "CSV to write: id,score,prediction (multinomial: id,p_0,p_1,...,prediction) for every common row, in the active party's file order.", Required = true, HelpName = "FILE" };
        Option<bool> inProcess = Options.InProcess(), json = Options.Json();
        Option<string?> report = Options.Report();
        command.Has(config, model, output, inProcess, report, json);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var order = new SessionOrder(RunFile.Load(parsed.GetRequiredValue(config)), GrpcRelay.Predict)
            {
                ModelDirectory = parsed.GetRequiredValue(model),
                Output = Path.GetFullPath(parsed.GetRequiredValue(output)),
            };
            return await RunAsync(parsed, order, parsed.GetValue(inProcess), ReportPlaces.Of(parsed, json, report), cancellationToken).ConfigureAwait(false);
        });
    });

    /// <summary>Runs a prediction of all parties on this machine, and says what came of it.</summary>
    internal static async Task<int> RunAsync(ParseResult parsed, SessionOrder order, bool inProcess, ReportPlaces places, CancellationToken cancellationToken)
    {
        Terminal terminal = Terminal.Of(parsed);
        if (order.Output is { } place && OutputFile.IsOwn(place) && !inProcess && order.Run.Transport.Kind == TransportKind.Grpc)
            throw new ConfigurationException(CliErrors.OptionsDisagree, place, "the active party's process writes the rows, and its standard output is not this one's.", "Write to a file or a named pipe, or give --in-process.");
        OutputFile.CheckApart([.. order.Run.Inputs, .. order.Run.ModelFiles(order.ModelDirectory), .. order.TopK.Inputs], null, [order.Output, places.Report, .. order.TopK.Exports]);
        IReadOnlyList<JsonObject> documents = await SessionRunner.RunAsync(order, inProcess, null, terminal.Log, cancellationToken).ConfigureAwait(false);
        string[] notes = [.. documents.Select(d => (string?)d["note"]).OfType<string>()];
        var document = new JsonObject
        {
            ["job"] = order.Run.Name,
            ["rows"] = (int)documents[0]["rows"]!,
            ["out"] = order.Output,
            ["notes"] = ReportParts.Texts(notes),
        };
        // First the keys that only one kind of job has, then what the other parties add.
        foreach ((string key, JsonNode? value) in documents[0].Where(p => !document.ContainsKey(p.Key) && p.Key is not ("party" or "note")))
            document[key] = value?.DeepClone();
        foreach (JsonObject other in documents.Skip(1))
        {
            ReportParts.AddAlignment(document, other);
            ReportParts.Union(document["warnings"]!.AsArray(), other["warnings"]!.AsArray());
            document["parties"]?.AsArray().Add(other["parties"]![0]!.DeepClone());
        }

        ReportWriter.Document(document, places);
        Tell(terminal, order, documents);
        return 0;
    }

    /// <summary>Says what came of a prediction: notes, how many rows of how many, where they are, and what was disclosed.</summary>
    /// <param name="terminal">Where it is said.</param>
    /// <param name="order">What was asked for.</param>
    /// <param name="documents">What the parties that are known here did; the active party's has the rows.</param>
    internal static void Tell(Terminal terminal, SessionOrder order, IReadOnlyList<JsonObject> documents)
    {
        foreach (string note in documents.Select(d => (string?)d["note"]).OfType<string>())
            terminal.Log($"note: {note}");
        JsonObject? active = documents.FirstOrDefault(d => d["rows"] is not null);
        // Rows that only the active party has are in no file, and whoever looks for them should learn why.
        string of = (int?)active?["ownRows"] is { } own ? $" of the {own} of '{(string)active!["party"]!}'" : "";
        int rows = (int?)active?["rows"] ?? 0;
        terminal.Log(active is null ? "done: the active party has the predictions" : $"{rows} {(order.Run is DssmRunFile ? $"{Counted.Noun(rows, "list")} written" : $"{Counted.Noun(rows, "row")} scored{of}")}: {order.Output}");
        foreach (string warning in documents.SelectMany(d => ReportParts.Strings(d["alignment"]!["warnings"]).Concat(ReportParts.Strings(d["warnings"]))).Distinct())
            terminal.Log($"warning: {warning}");
    }
}
