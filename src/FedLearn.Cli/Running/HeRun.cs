using System.Text.Json.Nodes;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.HomomorphicEncryption.Paillier;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Running;

/// <summary>A party's way to the arbiter: joins its session, wherever that runs.</summary>
/// <param name="request">With what the party joins.</param>
/// <param name="cancellationToken">Stops.</param>
/// <returns>The channel, and what to dispose of after it; null where somebody else does.</returns>
internal delegate Task<(IPartyChannel Channel, IAsyncDisposable? Session)> ArbiterDoor(JoinRequest request, CancellationToken cancellationToken);

/// <summary>What homomorphic encryption adds to running a job.</summary>
internal static class HeRun
{
    /// <summary>Name of the arbiter that a run has, which trains in mode he or he+dp; null of every other.</summary>
    public static string? ArbiterOf(RunFile run, string verb) =>
        verb == GrpcRelay.Train && run is GlmRunFile { Job.Privacy: { Mode: PrivacyMode.He or PrivacyMode.HeDp } privacy } ? privacy.He.Arbiter : null;

    /// <summary>Whether this machine has SEAL's own library.</summary>
    public static bool HasNative => CkksScheme.OnNative() is not null;

    /// <summary>What does the arithmetic of CKKS here: never <see cref="SealEngine.Auto"/>; null for other schemes and without encryption.</summary>
    public static SealEngine? EngineOf(GlmRunFile run) => run.Job.Privacy is not { Mode: PrivacyMode.He or PrivacyMode.HeDp, He.Scheme: HeScheme.Ckks } ? null
        : run.HeEngine.Engine != SealEngine.Auto ? run.HeEngine.Engine : HasNative ? SealEngine.Native : SealEngine.Node;

    /// <summary>The scheme that a job names, on the engine that this machine's part of the file names.</summary>
    public static IAdditiveScheme SchemeOf(GlmRunFile run)
    {
        GlmHeOptions he = run.Job.Privacy.He;
        // One engine a core: all of them at a party that has its machine to itself, a share of them where parties and arbiter run on one.
        int workers = run.HeEngine.Workers ?? Math.Max(1, Environment.ProcessorCount / (run.Parties.Count + 1));
        // In he+dp the noise must cover the rounding of encoded columns. Eight more bits make the rounding 2^8 smaller, and the bound on rows leaves room for them.
        int columnBits = run.Job.Privacy.Mode == PrivacyMode.HeDp ? 34 : 26;
        return he.Scheme switch
        {
            HeScheme.Ckks => EngineOf(run) switch
            {
                SealEngine.Node => CkksScheme.OnNode(workers, columnBits),
                _ => CkksScheme.OnNative(workers, columnBits) ?? throw new InternalFailureException(HeErrors.SealMissing, "privacy.he.engine", "there is no libsealc on this machine.", "Set FEDLEARN_SEALC to the file, or write \"engine\": \"node\"."),
            },
            HeScheme.PaillierFate => new PaillierScheme(he.KeyBits, PaillierVariant.FateLike, workers),
            HeScheme.PaillierTextbook => new PaillierScheme(he.KeyBits, PaillierVariant.Textbook, workers),
            _ => new PaillierScheme(he.KeyBits, PaillierVariant.Fast, workers),
        };
    }

    /// <summary>How a party opens its side of the encrypted protocol; null where a job has none.</summary>
    public static JointGradientsFactory? Gradients(GlmRunFile run, string party, ArbiterDoor? door, Func<JoinRequest> request)
    {
        if (ArbiterOf(run, GrpcRelay.Train) is null)
            return null;
        if (door is null)
            throw new InternalFailureException(CliErrors.Unexpected, $"party '{party}'", "it was given no way to the arbiter.", "Report this as a defect.");
        IAdditiveScheme scheme = SchemeOf(run);
        return async stop =>
        {
            (IPartyChannel channel, IAsyncDisposable? session) = await door(EncryptionArbiter.PartyRequest(run.Job, request()), stop).ConfigureAwait(false);
            return new EncryptedGradients(run.Job, party, scheme, channel, session);
        };
    }

    /// <summary>What the arbiter does.</summary>
    public static PartyTask Arbiter(GlmRunFile run, IProgress<JobProgress>? progress)
    {
        string name = run.Job.Privacy.He.Arbiter;
        return new PartyTask(name, GlmJobTerms.OfArbiter(run.Job), _ =>
        {
            var arbiter = new EncryptionArbiter(run.Job, SchemeOf(run));
            return new ReadyParty(arbiter.JoinRequest, async (agreement, channels, stop) =>
            {
                ArbiterResult result = await arbiter.RunAsync(channels, progress is null ? null : new SynchronousProgress<(int Rounds, int Of)>(p => progress.Report(new JobProgress(name, "round", p.Rounds, p.Of, null))), stop).ConfigureAwait(false);
                return PartyDocument.OfArbiter(run, agreement, result);
            });
        });
    }

    /// <summary>The way to an arbiter that serves gRPC.</summary>
    public static ArbiterDoor OverGrpc(Uri address, string name, TransportSettings settings) => async (request, stop) =>
    {
        GrpcSession session = await GrpcParty.OpenAsync(address, name, request, settings, stop).ConfigureAwait(false);
        return (session.Channels[0], session);
    };
}

/// <summary>An arbiter in this process, over channels in memory.</summary>
internal sealed class LocalArbiter
{
    private readonly Dictionary<string, TaskCompletionSource<IPartyChannel>> _channels;

    /// <summary>Starts the arbiter's session.</summary>
    /// <param name="task">What the arbiter does.</param>
    /// <param name="requests">With what the parties join it, in the job's order, the active one first.</param>
    /// <param name="options">Settings of the channels.</param>
    /// <param name="cancellationToken">Stops.</param>
    public LocalArbiter(PartyTask task, IReadOnlyList<JoinRequest> requests, ChannelOptions options, CancellationToken cancellationToken)
    {
        _channels = requests.ToDictionary(r => r.Party.Name, _ => new TaskCompletionSource<IPartyChannel>(TaskCreationOptions.RunContinuationsAsynchronously));
        ReadyParty ready = task.Prepare(cancellationToken);
        Result = ServeAsync();

        async Task<JsonObject> ServeAsync()
        {
            try
            {
                // A party's side only hands its channel over; the session lasts as long as the arbiter does.
                IReadOnlyList<JsonObject?> results = await LocalSession.RunAsync<JsonObject?>(task.Terms, [ready.Request, .. requests], options, async (i, agreement, channels, stop) =>
                {
                    if (i == 0)
                        return await ready.Run(agreement, channels, stop).ConfigureAwait(false);
                    _channels[requests[i - 1].Party.Name].TrySetResult(channels[0]);
                    return null;
                }, cancellationToken).ConfigureAwait(false);
                return results[0]!;
            }
            finally
            {
                foreach (TaskCompletionSource<IPartyChannel> channel in _channels.Values)
                    channel.TrySetCanceled(CancellationToken.None);
            }
        }
    }

    /// <summary>The arbiter's document, once all is done.</summary>
    public Task<JsonObject> Result { get; }

    /// <summary>The way to it.</summary>
    public async Task<(IPartyChannel Channel, IAsyncDisposable? Session)> JoinAsync(JoinRequest request, CancellationToken cancellationToken) =>
        (await _channels[request.Party.Name].Task.WaitAsync(cancellationToken).ConfigureAwait(false), null);
}
