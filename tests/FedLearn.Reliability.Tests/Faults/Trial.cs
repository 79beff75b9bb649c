using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;

namespace FedLearn.Reliability.Tests.Faults;

/// <summary>How one party's side of a session ended.</summary>
/// <param name="Model">SHA-256 of its weights, when it ended with a model.</param>
/// <param name="Failure">What ended it, when it did not.</param>
internal sealed record PartyEnd(string? Model, Exception? Failure)
{
    /// <summary>Id of the error; null for a model, and for an error that has none.</summary>
    public string? ErrorId => (Failure as FedLearnException)?.Id;
}

/// <summary>A small job of two parties over made-up rows, and what it gives when nothing goes wrong.</summary>
internal sealed class Trial
{
    private readonly GlmPartyInput[] _inputs;

    private Trial(GlmJob job, GlmPartyInput[] inputs, string[] expected) => (Job, _inputs, Expected) = (job, inputs, expected);

    /// <summary>The job.</summary>
    public GlmJob Job { get; }

    /// <summary>SHA-256 of the weights of each party, the active one's first, trained over channels in memory.</summary>
    public IReadOnlyList<string> Expected { get; }

    /// <summary>Makes a job and trains it in memory.</summary>
    /// <param name="seed">Decides the rows.</param>
    /// <param name="rows">Rows of each party; three in four are common.</param>
    /// <param name="columns">Columns of each party.</param>
    /// <param name="optimizer">How it is trained.</param>
    /// <param name="epochs">Epochs or most iterations.</param>
    /// <param name="noisy">Whether messages carry the noise of HDP-VFL, drawn from a seed.</param>
    public static async Task<Trial> CreateAsync(int seed, int rows = 60, int columns = 3, GlmOptimizer optimizer = GlmOptimizer.Sgd, int epochs = 6, bool noisy = false)
    {
        var job = new GlmJob
        {
            Name = $"trial{seed}",
            Model = new() { Family = GlmFamilies.Gaussian },
            Training = new() { Optimizer = optimizer, Epochs = epochs, BatchesPerEpoch = optimizer == GlmOptimizer.Sgd ? 3 : null, Seed = seed },
            Parties = [new() { Party = new("bank", PartyRole.Active) }, new() { Party = new("telco", PartyRole.Passive) }],
        };
        if (noisy)
            job = job with
            {
                Training = job.Training with { WeightNorm = 1, ResidualClip = 1 },
                Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(2, 0.004), TestNoiseSeed = seed },
                Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
                Parties = [job.Parties[0] with { LabelRange = (-0.5, 0.5) }, job.Parties[1]],
            };
        GlmPartyInput[] inputs = [Input(0), Input(1)];
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, inputs);
        return new Trial(job, inputs, [.. results.Select(r => r.Model.WeightsSha256)]);

        GlmPartyInput Input(int party)
        {
            var random = new Random(unchecked((seed * 2) + party));
            double[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextDouble() - 0.5)];
            string[] ids = [.. Enumerable.Range(party * rows / 4, rows).Select(i => $"row{i}")];
            random.Shuffle(ids);
            return new()
            {
                Party = party == 0 ? "bank" : "telco",
                Table = Table.FromMatrix(ids, [.. Enumerable.Range(0, columns).Select(c => $"p{party}c{c}")], new DenseMatrix(rows, columns, Numbers(rows * columns)), party == 0 ? Numbers(rows) : null),
            };
        }
    }

    /// <summary>A party of the job: 0 is the active one.</summary>
    public GlmTrainer Trainer(int party) => new(Job, _inputs[party]);

    /// <summary>Runs the active party with a host.</summary>
    /// <param name="options">Settings of the host.</param>
    /// <param name="listening">Told the address once it can be joined.</param>
    /// <param name="progress">Told after epochs.</param>
    public Task<PartyEnd> RunActiveAsync(GrpcHostOptions options, Action<Uri> listening, IProgress<GlmProgress>? progress = null) => EndAsync(async () =>
    {
        GlmTrainer trainer = Trainer(0);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(options, trainer.Terms);
        listening(host.Address);
        await using GrpcSession session = await host.JoinAsync(trainer.JoinRequest);
        return await trainer.TrainAsync(session.Agreement, session.Channels, progress);
    });

    /// <summary>Runs the passive party.</summary>
    /// <param name="host">Address of the active one, or of what stands before it.</param>
    /// <param name="options">Settings.</param>
    /// <param name="joined">Done when the exchange of messages is open, before the first.</param>
    /// <param name="progress">Told after epochs.</param>
    public Task<PartyEnd> RunPassiveAsync(Uri host, GrpcClientOptions options, Func<Task>? joined = null, IProgress<GlmProgress>? progress = null) => EndAsync(async () =>
    {
        GlmTrainer trainer = Trainer(1);
        await using GrpcSession session = await GrpcFederationClient.JoinAsync(host, trainer.JoinRequest, options);
        if (joined is not null)
            await joined();
        return await trainer.TrainAsync(session.Agreement, session.Channels, progress);
    });

    /// <summary>Runs both parties over a pair of channels.</summary>
    public async Task<PartyEnd[]> RunAsync(IPartyChannel active, IPartyChannel passive)
    {
        GlmTrainer[] trainers = [Trainer(0), Trainer(1)];
        JoinRequest[] requests = [.. trainers.Select(t => t.JoinRequest)];
        var desk = new SessionDesk(trainers[0].Terms, TimeSpan.FromMinutes(1));
        SessionAgreement[] agreed = await Task.WhenAll(requests.Select(r => desk.JoinAsync(r)));
        IPartyChannel[] channels = [active, passive];
        return await Task.WhenAll(trainers.Select((trainer, party) => EndAsync(async () =>
        {
            await using IPartyChannel channel = channels[party];
            return await trainer.TrainAsync(agreed[party], [channel]);
        })));
    }

    /// <summary>What is wrong with the end of a session on a faulty network: a wrong model, or an error that is none of a network. Null when nothing is.</summary>
    public string? FaultOf(IReadOnlyList<PartyEnd> ends)
    {
        for (int party = 0; party < ends.Count; party++)
        {
            PartyEnd end = ends[party];
            if (end.Model is not null && end.Model != Expected[party])
                return $"party {party} ended with a wrong model";
            // A list of ids that was cut short may leave too few rows in common, which the other side then hears of.
            if (end.Failure is not null && !(end.Failure is PeerException && end.ErrorId?.StartsWith("FL4", StringComparison.Ordinal) == true) && end.ErrorId is not (GlmErrors.NoCommonRows or GlmErrors.TooFewTrainingRows))
                return $"party {party} ended with {end.Failure}";
        }

        return null;
    }

    /// <summary>Whether both parties have the right model.</summary>
    public bool IsRight(IReadOnlyList<PartyEnd> ends) => ends.Select(e => e.Model).SequenceEqual(Expected);

    /// <summary>The ends of a session for a person to read.</summary>
    public string Describe(IReadOnlyList<PartyEnd> ends) => FaultOf(ends) ?? string.Join("; ", ends.Select(e => e.Failure?.Message ?? "a model"));

    private static async Task<PartyEnd> EndAsync(Func<Task<GlmPartyResult>> party)
    {
        try
        {
            return new PartyEnd((await Task.Run(party)).Model.WeightsSha256, null);
        }
#pragma warning disable CA1031 // whatever ended the party is what the test looks at
        catch (Exception e)
#pragma warning restore CA1031
        {
            return new PartyEnd(null, e);
        }
    }
}
