using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;
using Polly;
using Polly.Retry;

namespace FedLearn.Cli.Services;

/// <summary>What a job of a service is doing.</summary>
internal enum JobState
{
    /// <summary>It can take part in a session, and none runs.</summary>
    Ready,

    /// <summary>It cannot take part now, and tries again: its data cannot be read, say, or it has taken part in as many sessions as it may.</summary>
    Waiting,

    /// <summary>A session runs.</summary>
    Running,

    /// <summary>The active party's one session has succeeded.</summary>
    Done,

    /// <summary>The active party's one session has failed, or its file cannot be used.</summary>
    Failed,
}

/// <summary>A job as health checks show it.</summary>
/// <param name="Job">Name of the job; null where the file cannot be used.</param>
/// <param name="Party">Name of the party; null likewise.</param>
/// <param name="Role">active, passive or arbiter; null likewise.</param>
/// <param name="State">ready, waiting, running, done or failed.</param>
/// <param name="Sessions">Sessions that have succeeded since the start.</param>
/// <param name="LastError">Id of the last error; null for none since a session succeeded.</param>
internal sealed record JobStatus(string? Job, string? Party, string? Role, string State, int Sessions, string? LastError)
{
    /// <summary>Whether the job can do its part.</summary>
    internal bool IsAble => State is "ready" or "running" or "done";
}

/// <summary>One party of one job in a service: session after session. Nothing that happens in it reaches another job.</summary>
internal sealed class ServiceJob
{
    private const int FolderDigits = 12, SessionDigits = 8;

    private const string Unfinished = ".unfinished", Models = "models", Report = "report.json";

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(200), ProbeTime = TimeSpan.FromSeconds(5);

    // Errors that stay until somebody changes something. The job is tried again nevertheless, since the other side may mend its file.
    private static readonly HashSet<string> Refusals =
        [ProtocolErrors.DifferentJob, ProtocolErrors.DifferentVersion, ProtocolErrors.UnknownParty, GrpcErrors.NotGrpc, GrpcErrors.PlaintextRefused,
        GrpcErrors.PeerExpired, GrpcErrors.PeerWrongName, GrpcErrors.PeerUnknown, GrpcErrors.PeerRevoked, GrpcErrors.PeerWithoutCertificate, GrpcErrors.PeerNotCheckable, GrpcErrors.RefusedByPeer,
        GrpcErrors.NotTls, GrpcErrors.BindingMismatch, GrpcErrors.ProxyWantsCredentials, GrpcErrors.ProxyRefuses, GrpcErrors.NotAProxy];

    private readonly Lock _gate = new();
    private readonly string _results;
    private readonly Action<string> _log;
    private readonly TimeProvider _clock;
    private readonly SessionCount _count;
    private readonly HashSet<string> _warned = new(StringComparer.Ordinal);
    private JobState _state = JobState.Ready;
    private int _sessions;
    private bool _refused, _unable;
    private string? _lastError, _session, _said;

    /// <param name="file">The party file.</param>
    /// <param name="results">Folder of all results of the service.</param>
    /// <param name="log">Told what happens.</param>
    /// <param name="clock">Clock of the sessions' count, of pauses, and of the names of results.</param>
    public ServiceJob(PartyFile file, string results, Action<string> log, TimeProvider clock)
    {
        File = file;
        _results = Path.Combine(results, FolderOf(file.Run.Name), FolderOf(file.Self.Name));
        _log = log;
        _clock = clock;
        _count = new SessionCount(SessionCount.PathOf(file.Self.Ledger.Path), file.Run.Name, file.Service.SessionsPerDay, clock);
    }

    /// <summary>The party file.</summary>
    public PartyFile File { get; }

    /// <summary>Name of the job and the party in the log.</summary>
    public string Name => $"{File.Run.Name}/{File.Self.Name}";

    /// <summary>How it goes.</summary>
    public JobStatus Status
    {
        get
        {
            lock (_gate)
            {
                bool full = IsCounted && _state == JobState.Ready && _clock.GetUtcNow() < _count.FullUntil;
                JobState state = full ? JobState.Waiting : _state;
                return new JobStatus(File.Run.Name, File.Self.Name, File.Self.Role.ToString().ToLowerInvariant(), state.ToString().ToLowerInvariant(), _sessions,
                    full ? ServiceErrors.TooManySessions : _lastError);
            }
        }
    }

    // The sessions of an active party are begun by itself, those of all others by the active party.
    private bool IsCounted => File.Self.Role != PartyRole.Active;

    /// <summary>Takes part until stopped; an active party once.</summary>
    /// <param name="cancellationToken">Stops: a session in progress is ended, and its peers are told.</param>
    /// <returns>Null for success; or the error of an active party's session.</returns>
    public async Task<FedLearnException?> RunAsync(CancellationToken cancellationToken)
    {
        Log(File.Run.Notice);
        Warn(File.Notes);
        SetLeftoversAside();
        if (!IsCounted)
            return await AttemptAsync(cancellationToken).ConfigureAwait(false);
        LookAtCount();
        ResiliencePipeline<FedLearnException?> attempts = new ResiliencePipelineBuilder<FedLearnException?> { TimeProvider = _clock }.AddRetry(new RetryStrategyOptions<FedLearnException?>
        {
            MaxRetryAttempts = int.MaxValue,
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            Delay = FirstPause,
            MaxDelay = File.Service.LongestPause,
            ShouldHandle = static args => ValueTask.FromResult(args.Outcome.Result is not null),
        }).Build();
        while (true) // a session that succeeded is followed by the next at once
            await attempts.ExecuteAsync(async stop => await AttemptAsync(stop).ConfigureAwait(false), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Each warning once: a service may run for longer than its certificate.</summary>
    private void Warn(IEnumerable<string> notes)
    {
        foreach (string note in notes.Where(_warned.Add))
            Log($"warning: {note}");
    }

    /// <summary>One session, or the attempt at one.</summary>
    private async Task<FedLearnException?> AttemptAsync(CancellationToken stop)
    {
        long start = Stopwatch.GetTimestamp();
        string unfinished = Path.Combine(_results, $"{Unfinished}-{Guid.NewGuid().ToString("N")[..SessionDigits]}");
        bool over = false;
        try
        {
            bool wasUnable = _unable;
            _unable = true;
            PartyFile file = File.WithIdentityOfNow();
            Warn(file.Notes);
            // Before a peer is met: a session without room for its results would be paid for in vain.
            OutputFile.Probe(_results);
            _unable = false;
            lock (_gate)
                if (wasUnable && !_refused)
                    _state = JobState.Ready; // what hindered this party itself is mended
            if (File is { Relay: null, ActiveParty: { } address })
                await ProbeAsync(file, address, stop).ConfigureAwait(false);
            OutputFile.Guard(unfinished, () => DurableFile.CreateFolder(unfinished));
            SessionOrder order = SessionOrder.OfParty(file, GrpcRelay.Train) with { ModelDirectory = Path.Combine(unfinished, Models), KeepsRuns = true, Log = Log };
            JsonObject document = await PartySupervisor.RunAsync(file, order, Watched(order.TaskOf(file.Self.Name, progress: null)), Log, stop).ConfigureAwait(false);
            over = true;
            string place = Keep(document, unfinished, Stopwatch.GetElapsedTime(start).TotalSeconds);
            lock (_gate)
                (_state, _sessions, _lastError) = (IsCounted ? JobState.Ready : JobState.Done, _sessions + 1, null);
            Log($"session finished; results in {place}");
            _said = null;
            return null;
        }
        catch (Exception e) when (stop.IsCancellationRequested)
        {
            // A party that is stopped tells its peers, and their errors may arrive before it sees that it was stopped.
            throw new OperationCanceledException("The service was stopped.", e, stop);
        }
        catch (FedLearnException e)
        {
            return Failed(e, over);
        }
#pragma warning disable CA1031 // the outermost frame of a job: what goes wrong in it must not reach the others
        catch (Exception e)
#pragma warning restore CA1031
        {
            FedLearnException failure = Tool.Unexpected($"job '{File.Run.Name}', party '{File.Self.Name}'", e);
            Log(e.StackTrace);
            return Failed(failure);
        }
        finally
        {
            SetAside(unfinished);
            _session = null;
        }
    }

    // A count that cannot be read makes a session fail when it begins; it is reported at the start already.
    private void LookAtCount()
    {
        try
        {
            _count.Look();
        }
        catch (ConfigurationException e)
        {
            Failed(e);
        }
    }

    /// <summary>A party's task that tells this job how far it is, and counts the session before anything of it leaves.</summary>
    private PartyTask Watched(PartyTask task) => new(task.Name, task.Terms, cancel =>
    {
        ReadyParty ready = task.Prepare(cancel);
        lock (_gate)
            if (!_refused)
                _state = JobState.Ready; // its data and its files are as they have to be
        return ready with
        {
            Run = async (agreement, channels, stop) =>
            {
                _session = (agreement.Resume?.SessionId ?? agreement.SessionId)[..SessionDigits];
                try
                {
                    // A session that goes on with one that was cut off is counted already, and spends nothing more.
                    if (IsCounted && agreement.Resume is null)
                        _count.Take();
                }
                catch (FedLearnException e)
                {
                    foreach (IPartyChannel channel in channels)
                        await channel.AbortAsync(e.Id, CancellationToken.None).ConfigureAwait(false);
                    throw;
                }

                lock (_gate)
                    (_state, _refused) = (JobState.Running, false);
                _said = null;
                Log(agreement.Resume is null ? "session begins" : "session goes on");
                return await ready.Run(agreement, channels, stop).ConfigureAwait(false);
            },
        };
    })
    {
        KeepsRuns = task.KeepsRuns,
    };

    // Asks whether the active party is there before the data are read, which can take long.
    private static async Task ProbeAsync(PartyFile file, Uri address, CancellationToken stop)
    {
        if (file.Transport.Party?.Proxy is not null)
        {
            // Only a whole call tells who is behind a proxy.
            GrpcClientOptions client = PartyTransport.Client(file.Transport, address, file.Run.Active.Name);
            try
            {
                await GrpcHealthClient.CheckAsync(address, options: client with { ConnectTimeout = ProbeTime }, cancellationToken: stop).ConfigureAwait(false);
            }
            catch (PeerException e) when (e.Id == GrpcErrors.CallFailed)
            {
                // A host without that service is there all the same.
            }

            return;
        }

        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop);
        either.CancelAfter(ProbeTime);
        Exception? last = null;
        try
        {
            // All at once: packets to one of them may be dropped on the way.
            Task<Exception?>[] calls = [.. (await Dns.GetHostAddressesAsync(address.IdnHost, either.Token).ConfigureAwait(false)).Select(one => CallAsync(one))];
            await foreach (Task<Exception?> call in Task.WhenEach(calls).ConfigureAwait(false))
                if ((last = await call.ConfigureAwait(false)) is null)
                    return;
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            last = e;
        }
        finally
        {
            await either.CancelAsync().ConfigureAwait(false);
        }

        stop.ThrowIfCancellationRequested();
        throw new PeerException(ProtocolErrors.CannotConnect, $"address {address.GetLeftPart(UriPartial.Authority)}", "nobody listens there at present.",
            "The active party listens once its service or its session is started.", last);

        async Task<Exception?> CallAsync(IPAddress one)
        {
            try
            {
                using var socket = new TcpClient(one.AddressFamily);
                await socket.ConnectAsync(one, address.Port, either.Token).ConfigureAwait(false);
                return null;
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                return e;
            }
        }
    }

    private bool IsIdle(FedLearnException e) => IsCounted && _session is null && e.Id is (ProtocolErrors.CannotConnect or GrpcErrors.ProxyCannotReach or ProtocolErrors.PartyMissing or ProtocolErrors.PeerGone or RunningErrors.NotBack);

    private FedLearnException Failed(FedLearnException e, bool over = false)
    {
        lock (_gate)
        {
            // A peer that is away, or was lost, leaves this party as able as it was.
            bool mayPass = e is PeerException && !Refusals.Contains(e.Id);
            _refused = e is PeerException && (!mayPass || _refused);
            _state = !IsCounted ? JobState.Failed : !mayPass ? JobState.Waiting : _state == JobState.Running ? JobState.Ready : _state;
            // An active party that has not started a session yet is no error of this party.
            if (!IsIdle(e))
                _lastError = e.Id;
        }

        // An active party that stays away is said once, not at every attempt.
        string text = _session is null && IsCounted ? $"waits for the next session: {e.Message}" : over ? $"session finished, but not its results: {e.Message}" : $"session failed: {e.Message}";
        if (text != _said)
            Log(text);
        _said = text;
        return e;
    }

    /// <summary>Puts what a session made into a folder of its own, whole or not at all.</summary>
    private string Keep(JsonObject document, string unfinished, double seconds)
    {
        string report = ReportWriter.Text(ReportParts.ReadBack(PartyDocument.Alone(document, seconds)));
        string place = PlaceOf(_session!);
        try
        {
            OutputFile.Write(Path.Combine(unfinished, Report), file => System.IO.File.WriteAllText(file, report), ownerOnly: true);
            OutputFile.Guard(place, () => Directory.Move(unfinished, place));
        }
        catch (ConfigurationException e)
        {
            throw new ConfigurationException(e.Id, e.Place, "the session is over and charged, and its results cannot be written here.", "Make room, or mend the permissions. Nothing has to run again.", e.InnerException);
        }

        return place;
    }

    private string PlaceOf(string session) => Path.Combine(_results, string.Create(CultureInfo.InvariantCulture, $"{_clock.GetUtcNow():yyyyMMdd'T'HHmmss'Z'}-{session}"));

    /// <summary>Deletes what an attempt left, unless there is a model: that was paid for, and may be the only one.</summary>
    private void SetAside(string folder)
    {
        try
        {
            if (!Directory.Exists(folder))
                return;
            bool hasReport = System.IO.File.Exists(Path.Combine(folder, Report));
            if (!hasReport && !System.IO.File.Exists(Path.Combine(folder, Models, GlmModel.FileName(File.Self.Name))))
            {
                Directory.Delete(folder, recursive: true);
                return;
            }

            string place = PlaceOf(_session ?? folder[^SessionDigits..]) + (hasReport ? "" : ".incomplete");
            Directory.Move(folder, place);
            Log(hasReport ? $"the results of a session that finished are in {place}" : $"the model that was saved is kept in {place}; there is no report beside it");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next session says so when it cannot write there; the next start tries again.
            Log($"warning: {folder} cannot be moved away; a model may be in it");
        }
    }

    // Folders that a process left when it was killed.
    private void SetLeftoversAside()
    {
        try
        {
            if (Directory.Exists(_results))
                foreach (string folder in Directory.GetDirectories(_results, Unfinished + "*"))
                    SetAside(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The probe before a session reports it.
        }
    }

    private void Log(string? text)
    {
        if (text is not null)
            _log(_session is { } session ? $"[{Name} {session}] {text}" : $"[{Name}] {text}");
    }

    /// <summary>A folder's name for that of a job or a party: the same where it can be, else with digits of its hash, since names that differ must not meet in one folder.</summary>
    internal static string FolderOf(string name)
    {
        string plain = string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' ? c : '_'));
        return plain == name ? name : $"{plain}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)))[..FolderDigits]}";
    }
}
