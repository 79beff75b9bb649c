using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Protocol;

namespace FedLearn.Cli.Running;

/// <summary>A party that has read its data and is ready to join.</summary>
internal sealed record ReadyParty(JoinRequest Request, Func<SessionAgreement, IReadOnlyList<IPartyChannel>, CancellationToken, Task<JsonObject>> Run)
{
    /// <summary>The same party, which says before which round a run goes on that was cut off.</summary>
    /// <param name="log">Told one line, once the parties have met.</param>
    public ReadyParty Telling(Action<string> log) => this with
    {
        Run = (agreement, channels, stop) =>
        {
            if (agreement.Resume is { } point)
                log($"the run goes on before round {point.Round.ToString(CultureInfo.InvariantCulture)}");
            return Run(agreement, channels, stop);
        },
    };
}

/// <summary>What one party does in a session, wherever it runs: in this process, in a child process, or at another company.</summary>
internal sealed class PartyTask(string name, SessionTerms terms, Func<CancellationToken, ReadyParty> prepare)
{
    public string Name { get; } = name;

    public SessionTerms Terms { get; } = terms;

    /// <summary>Whether the party keeps its state between rounds: a peer that it loses is then worth waiting for, also before there is a state.</summary>
    public bool KeepsRuns { get; init; }

    public bool IsActive => Terms.Parties[0].Name == Name;

    /// <summary>Reads the party's data; throws its errors before anything is sent. The report of the party then says how long all of it took.</summary>
    public ReadyParty Prepare(CancellationToken cancellationToken)
    {
        long start = Stopwatch.GetTimestamp();
        ReadyParty ready = prepare(cancellationToken);
        return ready with
        {
            Run = async (agreement, channels, stop) =>
            {
                JsonObject document = await ready.Run(agreement, channels, stop).ConfigureAwait(false);
                ReportParts.SetTotal(document, Stopwatch.GetElapsedTime(start));
                return document;
            },
        };
    }

    /// <summary>The same task, see <see cref="ReadyParty.Telling"/>.</summary>
    public PartyTask Telling(Action<string> log) => new(Name, Terms, stop => Prepare(stop).Telling(log)) { KeepsRuns = KeepsRuns };
}
