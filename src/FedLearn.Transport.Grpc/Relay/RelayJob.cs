using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;
using Microsoft.AspNetCore.Http;

namespace FedLearn.Transport.Grpc;

/// <summary>A job whose parties a coordinator connects: names, roles and digests, and nothing of data.</summary>
/// <param name="Name">Name of the job, unique at the coordinator.</param>
/// <param name="Purposes">The terms of each purpose that a session of the job may have; the first party of the terms is the one that hosts.</param>
public sealed record RelayJob(string Name, IReadOnlyDictionary<string, SessionTerms> Purposes);

/// <summary>Who calls, as the call's metadata say.</summary>
internal sealed record RelayCaller(string Job, string Purpose, ReadOnlyMemory<byte> Terms, IReadOnlyDictionary<string, string> Sections, string Party, string Host, bool Hosts)
{
    private const int LongestName = 200, MostSections = 64;

    /// <exception cref="RpcException">INVALID_ARGUMENT, FL4005: something is missing or has a wrong form.</exception>
    public static RelayCaller Read(IHeaderDictionary headers, bool hosts)
    {
        string party = Text(HeaderText.Party);
        string terms = headers[HeaderText.Terms].ToString();
        byte[] digest = new byte[32];
        if (terms.Length != 2 * digest.Length || Convert.FromHexString(terms, digest, out _, out _) != System.Buffers.OperationStatus.Done)
            throw Malformed($"{HeaderText.Terms} is no digest");
        return new RelayCaller(Text(HeaderText.Job), Text(HeaderText.Purpose), digest, SectionsOf(HeaderText.Decode(headers[HeaderText.Sections].ToString())), party,
            hosts ? party : Text(HeaderText.Host), hosts);

        string Text(string name)
        {
            string text = HeaderText.Decode(headers[name].ToString());
            return text.Length is > 0 and <= LongestName && !text.Any(char.IsControl) ? text : throw Malformed($"{name} is missing, too long, or has control characters");
        }
    }

    private static Dictionary<string, string> SectionsOf(string text)
    {
        var sections = new Dictionary<string, string>();
        foreach (string[] pair in text.Split(';', MostSections).Select(section => section.Split('=')))
            if (pair.Length == 2)
                sections[pair[0]] = pair[1];
        return sections;
    }

    private static RpcException Malformed(string what) => new(StatusCode.InvalidArgument, $"calling the coordinator: {what}.", ProtocolErrors.Malformed);
}

/// <summary>One side of a connection that is to be: a call that waits for the other.</summary>
internal sealed class RelayEnd(RelayCaller caller, HttpContext context, UseWindow bytes)
{
    public RelayCaller Caller { get; } = caller;

    public HttpContext Context { get; } = context;

    /// <summary>What the party may still send.</summary>
    public UseWindow Bytes { get; } = bytes;

    /// <summary>The connection, once the other side is there.</summary>
    public TaskCompletionSource<RelayPair> Met { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>Two calls that make one connection.</summary>
internal sealed class RelayPair(RelayEnd host, RelayEnd party)
{
    public RelayEnd Host { get; } = host;

    public RelayEnd Party { get; } = party;

    /// <summary>How it ended, once nobody touches its calls any more.</summary>
    public TaskCompletionSource<Status> Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>What a coordinator keeps of one job while it runs: who waits, and what each party uses. Thread-safe; nothing of it is shared with another job.</summary>
internal sealed class RelayedJob(RelayJob job, RelayQuotas quotas, TimeProvider clock)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Use> _uses = [];
    private readonly Dictionary<(string Purpose, bool Hosts), LinkedList<RelayEnd>> _waiting = [];
    private int _connections;

    /// <summary>Admits a call.</summary>
    /// <param name="caller">Who calls.</param>
    /// <param name="context">Its call.</param>
    /// <returns>Its end of a connection. <see cref="Leave"/> is due once the call is over.</returns>
    /// <exception cref="PeerException">FL4162 to FL4165: it is refused.</exception>
    public RelayEnd Enter(RelayCaller caller, HttpContext context)
    {
        SessionTerms terms = Check(caller);
        int others = terms.Parties.Count - 1;
        lock (_gate)
        {
            if (!_uses.TryGetValue(caller.Party, out Use? use))
                _uses[caller.Party] = use = new Use(new UseWindow(clock, TimeSpan.FromDays(1), quotas.BytesPerParty ?? long.MaxValue));
            if (!use.Joins(caller.Hosts, () => new UseWindow(clock, TimeSpan.FromMinutes(1), (long)quotas.JoinsPerMinute * (caller.Hosts ? Math.Max(1, others) : 1))).TryUse(1))
                throw new PeerException(RelayErrors.TooManyCalls, Place(caller), $"the party called more than {quotas.JoinsPerMinute} times in a minute.",
                    "Wait a minute, find what makes it join so often, or raise quotas.joinsPerMinute at the coordinator.");
            // A hosting party has as many connections as the others make. What it has by itself is calls that wait.
            int open = caller.Hosts ? _waiting.Where(w => w.Key.Hosts).SelectMany(w => w.Value).Count(end => end.Caller.Party == caller.Party) : use.Reaching;
            if (open >= quotas.ConnectionsPerParty)
                throw new PeerException(RelayErrors.TooManyConnections, Place(caller), $"the party has {open} connections or waiting calls open, and may have {quotas.ConnectionsPerParty}.",
                    "End others of its sessions, or raise quotas.connectionsPerParty at the coordinator.");
            if (!caller.Hosts && _connections >= quotas.Connections)
                throw new PeerException(RelayErrors.TooManyConnections, Place(caller), $"the job has {_connections} connections open, and may have {quotas.Connections}.",
                    "End other sessions of the job, or raise quotas.connections at the coordinator.");
            if (!caller.Hosts)
            {
                use.Reaching++;
                _connections++;
            }

            return new RelayEnd(caller, context, use.Bytes);
        }
    }

    /// <summary>Gives back what an admitted call took.</summary>
    public void Leave(RelayEnd end)
    {
        lock (_gate)
        {
            if (end.Caller.Hosts)
                return;
            _uses[end.Caller.Party].Reaching--;
            _connections--;
        }
    }

    /// <summary>Connects an end with one that waits, or lets it wait.</summary>
    /// <returns>The connection when the other side was there: the caller sees to it. Null: <see cref="RelayEnd.Met"/> tells.</returns>
    public RelayPair? Meet(RelayEnd end)
    {
        lock (_gate)
        {
            if (!_waiting.TryGetValue((end.Caller.Purpose, !end.Caller.Hosts), out LinkedList<RelayEnd>? others) || others.Count == 0)
            {
                if (!_waiting.TryGetValue((end.Caller.Purpose, end.Caller.Hosts), out LinkedList<RelayEnd>? waiting))
                    _waiting[(end.Caller.Purpose, end.Caller.Hosts)] = waiting = [];
                waiting.AddLast(end);
                return null;
            }

            // Of the host's waiting calls the latest, since an earlier one may be left over from a process that vanished; of the joining parties' calls the first.
            RelayEnd other = (end.Caller.Hosts ? others.First : others.Last)!.Value;
            others.Remove(other);
            RelayPair pair = end.Caller.Hosts ? new RelayPair(end, other) : new RelayPair(other, end);
            other.Met.SetResult(pair);
            return pair;
        }
    }

    /// <summary>Stops waiting.</summary>
    /// <returns>Whether it waited; else it is part of a connection.</returns>
    public bool GiveUp(RelayEnd end)
    {
        lock (_gate)
            return _waiting[(end.Caller.Purpose, end.Caller.Hosts)].Remove(end);
    }

    private SessionTerms Check(RelayCaller caller)
    {
        if (!job.Purposes.TryGetValue(caller.Purpose, out SessionTerms? terms))
            throw new PeerException(RelayErrors.UnknownParty, Place(caller), $"sessions of the job have no purpose '{caller.Purpose}'.",
                $"The coordinator knows {string.Join(", ", job.Purposes.Keys)}; check that both run the same release of the software.");
        string host = terms.Parties[0].Name;
        if (terms.Parties.All(p => p.Name != caller.Party) || (caller.Party == host) != caller.Hosts)
            throw new PeerException(RelayErrors.UnknownParty, Place(caller), caller.Hosts ? "the job has no party of that name that hosts such a session." : "the job has no party of that name that joins such a session.",
                "Use a name and role that the job lists.");
        if (caller.Host != host)
            throw new PeerException(RelayErrors.UnknownParty, Place(caller), "the party it asks for does not host such a session.", "Use the same job file at every party and at the coordinator.");
        if (!caller.Terms.Span.SequenceEqual(terms.TermsDigest.Span))
        {
            string[] different = [.. terms.Sections.Where(s => caller.Sections.TryGetValue(s.Key, out string? theirs)
                && !string.Equals(theirs, Convert.ToHexString(s.Value.Span), StringComparison.OrdinalIgnoreCase)).Select(s => s.Key)];
            throw new PeerException(RelayErrors.DifferentJob, Place(caller),
                different.Length > 0 ? $"its job differs from the coordinator's in: {string.Join(", ", different)}." : "its job differs from the coordinator's.",
                "Use the same job file at every party and at the coordinator.");
        }

        return terms;
    }

    private static string Place(RelayCaller caller) => $"party '{caller.Party}' at the coordinator, job '{caller.Job}'";

    /// <summary>What one party uses.</summary>
    private sealed class Use(UseWindow bytes)
    {
        private readonly UseWindow?[] _joins = new UseWindow?[2];

        public UseWindow Bytes { get; } = bytes;

        public int Reaching { get; set; }

        public UseWindow Joins(bool hosts, Func<UseWindow> create) => _joins[hosts ? 1 : 0] ??= create();
    }
}
