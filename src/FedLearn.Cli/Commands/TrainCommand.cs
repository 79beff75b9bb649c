using System.CommandLine;
using System.Runtime.ExceptionServices;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn train: all parties of a job on this machine.</summary>
internal static class TrainCommand
{
    public static Verb Create() => new("train", """
            Train one model, all parties of the job on this machine: each in a process of its own, with gRPC over loopback, or all
            in memory if the run file says transport.kind "in-memory". privacy.mode of the run file is none, hdp-vfl, one-round,
            label-dp, he or he+dp. he and he+dp encrypt; an arbiter, who holds the key, runs in one more process.

            To resume a run that was cut off, give the same command again; --fresh begins again instead. A cross-validation keeps no
            states and always begins again. In a private mode its earlier runs then stay charged, and every run is paid for again.

            Examples:
              fedlearn train --config job.json
              fedlearn train --config job.json --model models --report report.json --html report.html
              fedlearn train --config job.json --in-process --json
              fedlearn train --config job.json --cross-validate 5 --grid "model.l2=0.1,0.01,0.001;model.l1=0,0.001" --html tuning.html
            """, static command =>
    {
        Option<string> config = Options.Config("Run file (JSON with comments).");
        Option<bool> inProcess = Options.InProcess(), json = Options.Json();
        var model = new Option<string?>("--model") { Description = "Save each party's part of the model as DIR/PARTY.model.json.", HelpName = "DIR" };
        Option<string?> report = Options.Report(), html = Options.Html();
        Option<int> folds = Options.Whole("--cross-validate", "Train on k - 1 of k parts of the training rows and measure on the part left out, for each part in turn (k-fold cross-validation); 2 to 1000.", required: false);
        var grid = new Option<string?>("--grid")
        {
            Description = "With --cross-validate: settings to compare, every combination of them, at most 100. In mode none the best is trained on all training rows; a private job reports the table and what it cost, and trains none.",
            HelpName = "KEY=VALUE,...;...",
        };
        Option<bool> fresh = Options.Fresh();
        var metric = new Option<string?>("--metric")
        {
            Description = "With --cross-validate: the figure to compare by, as reports call it. Default auc for binomial, logLoss for multinomial, deviance for other families.",
            HelpName = "auc|deviance|logLoss|...",
        };
        command.Has(config, inProcess, model, folds, grid, metric, fresh, report, html, json);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            RunFile run = RunFile.Load(parsed.GetRequiredValue(config));
            bool validates = parsed.GetResult(folds) is { Implicit: false };
            if (!validates && (parsed.GetValue(grid) is not null || parsed.GetValue(metric) is not null))
                throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn train", "--grid and --metric are about a cross-validation.", "Give --cross-validate 5 as well.");
            if (validates && parsed.GetValue(fresh))
                throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn train", "--fresh forgets a run that was cut off, and a cross-validation keeps none: it begins anew by itself.", "Leave --fresh out.");
            var places = ReportPlaces.Of(parsed, json, report, html);
            TuningRunner? tuning = null;
            if (validates)
                parsed.InvocationConfiguration.ProcessTerminationTimeout = TuningRunner.EndTime;
            int code = await SessionVerb.RunAsync(parsed, run, parsed.GetValue(model), places, terminal => validates
                ? (tuning = new TuningRunner(run.As<GlmRunFile>("--cross-validate"), new TuningRequest(parsed.GetValue(folds), parsed.GetValue(metric), parsed.GetValue(grid)), parsed.GetValue(inProcess), terminal, cancellationToken))
                    .RunAsync(parsed.GetValue(model))
                : SessionVerb.SessionAsync(new SessionOrder(run, GrpcRelay.Train) { ModelDirectory = parsed.GetValue(model), KeepsRuns = true, Fresh = parsed.GetValue(fresh) }, parsed.GetValue(inProcess), terminal, cancellationToken)).ConfigureAwait(false);
            // The table is written all the same; a script that goes on with it, or with the model, must not.
            if (tuning?.Failure is { } failure)
                ExceptionDispatchInfo.Throw(failure);
            return code;
        });
    });
}
