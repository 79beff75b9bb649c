using System.CommandLine;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn predict: federated batch prediction, all parties on this machine.</summary>
internal static class PredictCommand
{
    public static Command Create()
    {
        Option<string> config = CommonOptions.Config("Run file of the training, its data paths naming the rows to score.");
        var model = new Option<string>("--model") { Description = "Directory with every party's part of the model.", Required = true, HelpName = "DIR" };
        var output = new Option<string>("--out") { Description = "CSV to write: id,score,prediction (multinomial: id,p_0,p_1,...,prediction) for every common row, in the active party's file order.", Required = true, HelpName = "FILE" };
        Option<bool> inProcess = CommonOptions.InProcess(), json = Options.Json();
        Option<string?> report = CommonOptions.Report();
        var command = new Command("predict", """
            Score the rows that all parties have. score is the sum of the parties' linear predictors, prediction the mean of the label:
            a probability (binomial), a count (Poisson) or an amount (the others); for classes (multinomial) there is a probability
            for each, and prediction is the likeliest. The active party sees the passive parties' scores of these rows; no privacy
            claim of the training covers them.

            Example:
              fedlearn predict --config job.json --model models --out scores.csv
            """) { config, model, output, inProcess, report, json };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            Terminal terminal = Terminal.Of(parsed);
            RunFile run = RunFile.Load(parsed.GetRequiredValue(config));
            OutputFile.Check(null, parsed.GetRequiredValue(output), parsed.GetValue(report));
            string path = Path.GetFullPath(parsed.GetRequiredValue(output));
            var order = new SessionOrder(run, "predict", parsed.GetRequiredValue(model), path);
            IReadOnlyList<JsonObject> documents = await SessionRunner.RunAsync(order, parsed.GetValue(inProcess), null, terminal.Log, cancellationToken).ConfigureAwait(false);
            string[] notes = [.. documents.Select(d => (string?)d["note"]).OfType<string>()];
            var document = new JsonObject
            {
                ["job"] = run.Job.Name,
                ["rows"] = (int)documents[0]["rows"]!,
                ["out"] = path,
                ["notes"] = new JsonArray([.. notes.Select(n => (JsonNode)n)]),
            };
            if (parsed.GetValue(report) is { } file)
                OutputFile.Write(file, ReportWriter.Text(document));
            if (parsed.GetValue(json))
                parsed.InvocationConfiguration.Output.Write(ReportWriter.Text(document));
            foreach (string note in notes)
                terminal.Log($"note: {note}");
            terminal.Log($"{(int)documents[0]["rows"]!} rows scored: {path}");
            terminal.Log("warning: the passive parties' scores of these rows were disclosed to the active party; no privacy claim covers them, but for scores of training rows under evaluation charged");
            return 0;
        });
        return command;
    }
}
