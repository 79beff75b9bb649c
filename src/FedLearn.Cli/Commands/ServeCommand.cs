using System.CommandLine;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Services;
using FedLearn.Cli.Serving;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn serve: online prediction at the active party.</summary>
internal static class ServeCommand
{
    public static Verb Create() => new("serve", """
            Answer predictions for single ids over REST, by asking the passive parties for their scores. Run this at the active
            party. Each passive party runs `fedlearn party --serve --model DIR` and connects to this party's listen address; it may
            come and go.

            REST, on this machine only (party.json: "serve": { "rest": "127.0.0.1:8080", "timeoutMilliseconds": 500, "fallback": "refuse" }):
              GET  /score/ID          { "id", "score", "prediction", "degraded": [] }
              POST /score             { "ids": ["a", "b"] }
              GET  /openapi/v1.json   the interface, for tools that generate clients
              GET  /health/live, /health/ready, /metrics
            With "fallback": { "clinic": 0.12 } that constant replaces the clinic's score while the clinic is away or too slow, and the answer
            names the clinic under degraded. Otherwise the answer is status 503. Ctrl-C finishes the requests in progress.

            The passive parties learn which of their rows are asked for. No privacy claim of the training covers the scores that they send. A
            private or encrypted job whose privacy.evaluation is none is refused (FL5120).

            Examples:
              fedlearn serve --config bank.party.json --model models
              curl http://127.0.0.1:8080/score/c0042
            """, static command =>
    {
        Option<string> config = Options.Config("Party file of the active party: job, party, data, listen, serve.");
        var model = new Option<string>("--model") { Description = "Directory with this party's part of the model.", Required = true, HelpName = "DIR" };
        command.Has(config, model);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            Terminal terminal = Terminal.Of(parsed);
            PartyFile file = PartyFile.Load(parsed.GetRequiredValue(config), settings: FileOverrides.Here([]));
            // Requests in progress may need all of their time after Ctrl-C; the usual limit is for verbs that do not react to it.
            parsed.InvocationConfiguration.ProcessTerminationTimeout = file.Serve.Timeout + ActiveServer.EndTime;
            await ActiveServer.RunAsync(file, parsed.GetRequiredValue(model), terminal.Log, cancellationToken).ConfigureAwait(false);
            return 0;
        });
    });
}
