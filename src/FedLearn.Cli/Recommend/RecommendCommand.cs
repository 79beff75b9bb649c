using System.CommandLine;
using FedLearn.Cli.Commands;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Recommend;

/// <summary>fedlearn recommend: recommendation models over several parties' views of the same users.</summary>
internal static class RecommendCommand
{
    public static Verb Create() => new("recommend", """
        Train, evaluate and use recommendation models (FL-MV-DSSM): one party has the events and the items, every other one a view of
        the same users, and no column leaves its party. The run file says "model": { "type": "dssm", ... }.

        Examples:
          fedlearn recommend train --config movielens/job.json --model models --report report.json --html report.html
          fedlearn recommend evaluate --config movielens/job.json --model models
          fedlearn recommend topk --config movielens/job.json --model models --k 10 --out lists.csv
        """, static command =>
        command.Has(PrepareEventsCommand.Create(), PrepareMovieLensCommand.Create(), PrepareSyntheticCommand.Create(), Train(), Evaluate(), TopK()));

    private static Command Train()
    {
        Option<string> config = Options.Config("Run file (JSON with comments), model.type dssm.");
        Option<bool> inProcess = Options.InProcess(), json = Options.Json();
        var model = new Option<string?>("--model") { Description = "Save each party's part of the model in DIR.", HelpName = "DIR" };
        Option<string?> report = Options.Report(), html = Options.Html();
        Option<bool> fresh = Options.Fresh();
        var command = new Command("train", """
            Train one recommendation model, all parties of the job on this machine; fedlearn train does the same. The report holds the
            figures of the test events (99 sampled negatives, and full ranking) beside popularity, ItemKNN and iALS.

            Examples:
              fedlearn recommend train --config job.json
              fedlearn recommend train --config job.json --model models --report report.json --html report.html
              fedlearn recommend train --config job.json --in-process --json
            """) { config, inProcess, model, fresh, report, html, json };
        command.SetAction((parsed, cancellationToken) =>
        {
            DssmRunFile run = RunFile.Load(parsed.GetRequiredValue(config)).As<DssmRunFile>("recommend train");
            var order = new SessionOrder(run, GrpcRelay.Train) { ModelDirectory = parsed.GetValue(model), KeepsRuns = true, Fresh = parsed.GetValue(fresh) };
            return SessionVerb.RunAsync(parsed, run, parsed.GetValue(model), ReportPlaces.Of(parsed, json, report, html),
                terminal => SessionVerb.SessionAsync(order, parsed.GetValue(inProcess), terminal, cancellationToken));
        });
        return command;
    }

    private static Command Evaluate()
    {
        Option<string> config = Options.Config("Run file of the training. Its data paths name the events to evaluate on.");
        Option<bool> inProcess = Options.InProcess(), json = Options.Json();
        var model = new Option<string>("--model") { Description = "Directory with every party's part of the model.", Required = true, HelpName = "DIR" };
        Option<string?> report = Options.Report(), html = Options.Html();
        var command = new Command("evaluate", """
            Evaluate a trained recommendation model without training: warm users, cold users and cold items, beside the baselines. The
            passive parties send their vectors of the evaluation events; the report lists them by name, and no privacy claim covers them.
            A private job whose privacy.evaluation is not disclosed is refused (FL5187).

            Example:
              fedlearn recommend evaluate --config job.json --model models --report evaluation.json
            """) { config, model, inProcess, report, html, json };
        command.SetAction((parsed, cancellationToken) =>
        {
            DssmRunFile run = RunFile.Load(parsed.GetRequiredValue(config)).As<DssmRunFile>("recommend evaluate");
            var order = new SessionOrder(run, GrpcRelay.Evaluate) { ModelDirectory = parsed.GetRequiredValue(model) };
            return SessionVerb.RunAsync(parsed, run, null, ReportPlaces.Of(parsed, json, report, html),
                terminal => SessionVerb.SessionAsync(order, parsed.GetValue(inProcess), terminal, cancellationToken), order.ModelDirectory);
        });
        return command;
    }

    private static Command TopK()
    {
        Option<string> config = Options.Config("Run file of the training.");
        Option<bool> inProcess = Options.InProcess(), json = Options.Json();
        var model = new Option<string>("--model") { Description = "Directory with every party's part of the model.", Required = true, HelpName = "DIR" };
        var output = new Option<string>("--out") { Description = "CSV to write: user,rank,item,score,source, best first.", Required = true, HelpName = "FILE" };
        var lists = new TopKOptions();
        Option<string?> report = Options.Report();
        var command = new Command("topk", """
            Write the best items of every user, as of the user's latest moment, by exact ranking of all items. Items that the user has
            met are left out. The passive parties send their vectors of these users, which no privacy claim covers. A private job whose
            privacy.evaluation is not disclosed is refused (FL5187).

            Examples:
              fedlearn recommend topk --config job.json --model models --k 10 --out lists.csv
              fedlearn recommend topk --config job.json --model models --users some.txt --include-met --out lists.csv
              fedlearn recommend topk --config job.json --model models --out lists.csv --vectors export/items
            """) { config, model, output };
        foreach (Option option in (Option[])[.. lists.All, inProcess, report, json])
            command.Add(option);
        command.SetAction((parsed, cancellationToken) =>
        {
            DssmRunFile run = RunFile.Load(parsed.GetRequiredValue(config)).As<DssmRunFile>("recommend topk");
            var order = new SessionOrder(run, GrpcRelay.Predict)
            {
                ModelDirectory = parsed.GetRequiredValue(model),
                Output = Path.GetFullPath(parsed.GetRequiredValue(output)),
                TopK = lists.Read(parsed, newUsers: null),
            };
            return PredictCommand.RunAsync(parsed, order, parsed.GetValue(inProcess), ReportPlaces.Of(parsed, json, report), cancellationToken);
        });
        return command;
    }
}
