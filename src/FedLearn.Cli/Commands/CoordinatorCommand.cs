using System.CommandLine;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Services;
using FedLearn.Cli.Serving;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn coordinator: connects parties of which neither can open a port.</summary>
internal static class CoordinatorCommand
{
    public static Verb Create() => new("coordinator", """
            Connect parties of which neither can open a port. Every party calls this process, which joins two calls into one connection and passes
            its bytes on. Run it at either party or at a neutral place. It keeps nothing: killed and started again, it serves as before.

            It needs the job files and none of the data. It checks each caller: name of the job, digest of its terms, name of the party. The parties'
            ordinary session runs through it. If they encrypt that from end to end (tls in their party files), this process sees names of jobs and
            parties, digests, sizes and times, and nothing else. Without tls it could read everything, so a party refuses a coordinator on another
            machine then, unless plaintext is allowed.

            coordinator.json, with every key; all values except the first two are defaults:
              {
                "listen": "127.0.0.1:5300",
                "jobs": ["job.json"],
                "tls": null,
                "allowPlaintext": false,
                "quotas": { "connections": 64, "connectionsPerParty": 8, "bytesPerParty": null, "joinsPerMinute": 60,
                            "connectionsPerAddress": 2048, "streams": 2048, "allConnections": 8192 },
                "health": null,
                "stopSeconds": 30
              }
            Quotas hold for each job by itself: connections at a time of the job, and of one of its parties; bytes that a party may send within a day;
            calls of a party within a minute. The last three hold for the process: connections of one address, calls of one peer, connections of all.
            In the party files, "relay": "HOST:5300" takes the place of listen and of peers.

            "tls" (certificate, key, peers: as in a party file, see fedlearn keys --help) encrypts the calls to this process, and holds each party to
            its name. Calls from other machines need it, or allowPlaintext. The party files then say
            "relay": { "address": "HOST:5300", "pins": ["sha256:..."] }.

            FEDLEARN_COORDINATOR__LISTEN in the environment overrides "listen" in the file, and so on: __ goes into an object, an array is JSON. --set
            overrides both. OTEL_EXPORTER_OTLP_ENDPOINT sends counts to a collector. docs/deploy.md has a unit for systemd and a container file.

            The log names jobs, parties and numbers of bytes, with the time in UTC. grpc.health.v1.Health answers at the same port;
            "health": "127.0.0.1:9090" answers GET /healthz and GET /readyz at another. After Ctrl-C or SIGTERM it connects nobody any more and lets
            connections end within stopSeconds. Then it cuts and names the rest, and ends with exit code 0.

            Examples:
              fedlearn coordinator --config coordinator.json
              fedlearn party --config bank.party.json           with "relay": "127.0.0.1:5300"
              fedlearn party --config telco.party.json          with "relay": "127.0.0.1:5300"
            """, static command =>
    {
        Option<string> config = Options.Config("Coordinator file (JSON with comments): listen, jobs, quotas.");
        var set = new Option<string[]>("--set") { Description = "Set a key of the coordinator file, such as stopSeconds=10 or quotas.connections=128. Overrides FEDLEARN_COORDINATOR__STOPSECONDS, which overrides the file.", HelpName = "KEY=VALUE" };
        command.Has([config, set]);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            Terminal terminal = Terminal.Of(parsed);
            CoordinatorFile file = CoordinatorFile.Load(parsed.GetRequiredValue(config), FileOverrides.Here(parsed.GetValue(set) ?? [], OverridableFile.Coordinator));
            // Connections in progress may need all of their time after Ctrl-C; the usual limit is for verbs that do not react to it.
            parsed.InvocationConfiguration.ProcessTerminationTimeout = file.StopTime + Coordinator.EndTime;
            await Coordinator.RunAsync(file, terminal.Log, cancellationToken).ConfigureAwait(false);
            return 0;
        });
    });
}
